#include "events/wal_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

namespace reprise {
namespace {

constexpr std::size_t block_bytes = 32768;
constexpr std::size_t header_bytes = 7;
constexpr unsigned char whole_type = 1, first_type = 2, last_type = 4;
constexpr unsigned char first_recycled_type = 5, last_recycled_type = 8;
constexpr std::size_t batch_header_bytes = 12;  // of a write: its first sequence number, and how many it takes

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

std::uint64_t little_endian(const unsigned char* bytes, int count) {
  std::uint64_t value = 0;
  for (int i = count - 1; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

// Some shorter length makes the checksum right.
bool another_length_fits(const unsigned char* header, const unsigned char* end) {
  const auto stored = static_cast<std::uint32_t>(little_endian(header, 4));
  auto crc = extend(0xffffffffu, header[6]);
  for (const auto* byte = header + header_bytes; byte != end; ++byte) {
    crc = extend(crc, *byte);
    if (masked(~crc) == stored) return true;
  }
  return false;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Calls piece(type, data, size) for each whole record of the file. Returns the offset of one whose length or
// type was changed, or -1.
template <class F>
long walk(const std::string& text, F&& piece) {
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
    if (at + header_bytes + length > block_end)
      return another_length_fits(bytes + at, bytes + block_end) ? static_cast<long>(at) : -1;
    piece(type, bytes + at + header_bytes, length);
    at += header_bytes + length;
  }
  return -1;
}

// The sequence numbers that the writes of a write-ahead log take: from the first up to `next`; 0: it has none.
struct Span {
  std::uint64_t first = 0, next = 0;
};

Span span_of(const std::string& text) {
  Span span;
  std::string batch;  // as much of its beginning as is wanted
  (void)walk(text, [&](unsigned char type, const unsigned char* data, std::size_t size) {
    if (type == whole_type || type == first_type) batch.clear();
    const auto wanted = batch_header_bytes - batch.size();
    batch.append(reinterpret_cast<const char*>(data), std::min(size, wanted));
    if ((type != whole_type && type != last_type) || batch.size() < batch_header_bytes) return;
    const auto* header = reinterpret_cast<const unsigned char*>(batch.data());
    const auto sequence = little_endian(header, 8);
    if (span.first == 0) span.first = sequence;
    span.next = sequence + little_endian(header + 8, 4);
  });
  return span;
}

template <class F>
void each_file(const std::string& dir, F&& f) {
  std::error_code failed;
  for (std::filesystem::directory_iterator file(dir, failed), end; !failed && file != end; file.increment(failed))
    f(file->path(), file->path().filename().string());
}

}  // namespace

std::string find_changed_header(const std::string& dir) {
  std::string found;
  each_file(dir, [&](const std::filesystem::path& path, const std::string& name) {
    if (!name.ends_with(".log") && !name.starts_with("MANIFEST-")) return;
    const auto at = walk(read_file(path), [](unsigned char, const unsigned char*, std::size_t) {});
    if (at >= 0) found = fmt::format("the record at byte {} of {} was changed", at, name);
  });
  return found;
}

std::string find_missing_end(const std::string& dir) {
  std::map<std::string, Span> spans;  // the names are numbers with leading zeros
  each_file(dir, [&](const std::filesystem::path& path, const std::string& name) {
    if (name.ends_with(".log"))
      if (const auto span = span_of(read_file(path)); span.first) spans[name] = span;
  });
  const std::pair<const std::string, Span>* before = nullptr;
  for (const auto& one : spans) {
    if (before && before->second.next != one.second.first)
      return fmt::format("{} goes up to {}, but {} begins with {}", before->first, before->second.next,
                         one.first, one.second.first);
    before = &one;
  }
  return "";
}

}  // namespace reprise
