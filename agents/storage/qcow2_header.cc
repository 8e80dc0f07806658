#include "agents/storage/qcow2_header.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace reprise::storage {
namespace {

std::uint64_t big_endian(const std::uint8_t* bytes, int count) {
  std::uint64_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

Result<Qcow2Header> parse(int fd, const std::string& path) {
  std::array<std::uint8_t, 80> raw{};
  const auto got = pread(fd, raw.data(), raw.size(), 0);
  if (got < 72 || big_endian(raw.data(), 4) != 0x514649fb)
    return Error{Errc::broken, fmt::format("{} is not a qcow2 file", path)};
  Qcow2Header header;
  const auto version = big_endian(&raw[4], 4);
  const auto backing_offset = big_endian(&raw[8], 8);
  const auto backing_length = big_endian(&raw[16], 4);
  header.virtual_bytes = big_endian(&raw[24], 8);
  if (version >= 3 && got >= 80) header.external_data = (big_endian(&raw[72], 8) & 4) != 0;
  if (backing_offset != 0) {
    if (backing_length > 1023)
      return Error{Errc::broken, fmt::format("{}: its backing file's name is too long", path)};
    header.backing_file.resize(backing_length);
    const auto length =
        pread(fd, header.backing_file.data(), backing_length, static_cast<off_t>(backing_offset));
    if (length != static_cast<ssize_t>(backing_length))
      return Error{Errc::broken, fmt::format("{} ends inside its header", path)};
  }
  return header;
}

}  // namespace

Result<Qcow2Header> read_qcow2_header(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return Error{errno == ENOENT ? Errc::not_found : Errc::denied,
                 fmt::format("cannot read {}: {}", path, std::strerror(errno))};
  auto header = parse(fd, path);
  close(fd);
  return header;
}

bool held_by_guest(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  // QEMU locks single bytes from 100 (permissions used) and from 200 (permissions not shared).
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 100;
  lock.l_len = 200;
  const bool held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  close(fd);
  return held;
}

}  // namespace reprise::storage
