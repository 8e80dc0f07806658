#include "events/embedded_wal.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <iterator>

namespace reprise {
namespace {

constexpr std::size_t block_bytes = 32768;
constexpr std::size_t header_bytes = 7;
constexpr unsigned char first_recycled_type = 5, last_recycled_type = 8;

constexpr auto crc32c_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    table[i] = crc;
  }
  return table;
}();

std::uint32_t extend(std::uint32_t crc, unsigned char byte) {
  return crc32c_table[(crc ^ byte) & 0xff] ^ crc >> 8;
}

// Stored checksums are masked, so that a checksum of checksums is not degenerate.
std::uint32_t masked(std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

std::uint32_t little_endian(const unsigned char* bytes, int count) {
  std::uint32_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

// Some shorter length makes the checksum right.
bool another_length_fits(const unsigned char* header, const unsigned char* end) {
  const auto stored = little_endian(header, 4);
  auto crc = extend(0xffffffffu, header[6]);
  for (const auto* byte = header + header_bytes; byte != end; ++byte) {
    crc = extend(crc, *byte);
    if (masked(~crc) == stored) return true;
  }
  return false;
}

}  // namespace

long find_changed_header(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  for (std::size_t at = 0; at + header_bytes <= text.size();) {
    const auto left_in_block = block_bytes - at % block_bytes;
    if (left_in_block < header_bytes) {
      at += left_in_block;
      continue;
    }
    const auto type = bytes[at + 6];
    if (type >= first_recycled_type && type <= last_recycled_type) return static_cast<long>(at);
    const auto length = little_endian(bytes + at + 4, 2);
    const auto block_end = std::min(text.size(), at + left_in_block);
    if (at + header_bytes + length > block_end) {
      return another_length_fits(bytes + at, bytes + block_end) ? static_cast<long>(at) : -1;
    }
    at += header_bytes + length;
  }
  return -1;
}

}  // namespace reprise
