#include "agents/storage/durable_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace reprise::storage {
namespace {

struct OwnedFd {
  int fd;
  explicit OwnedFd(int given) : fd(given) {}
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  ~OwnedFd() {
    if (fd >= 0) close(fd);
  }
};

bool write_all(int fd, const std::uint8_t* data, std::size_t size) {
  while (size > 0) {
    const auto done = write(fd, data, size);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    data += done;
    size -= static_cast<std::size_t>(done);
  }
  return true;
}

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

Result<std::string> copy_into(int from, int to, const std::string& from_name, const std::string& to_name) {
  std::vector<std::uint8_t> buffer(1 << 20);
  crypto_hash_sha512_state hash;
  crypto_hash_sha512_init(&hash);
  for (;;) {
    const auto got = read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("reading " + from_name, errno);
    if (got == 0) break;
    crypto_hash_sha512_update(&hash, buffer.data(), static_cast<unsigned long long>(got));
    if (!write_all(to, buffer.data(), static_cast<std::size_t>(got)))
      return system_error("writing " + to_name, errno);
  }
  if (fsync(to) != 0) return system_error("syncing " + to_name, errno);
  std::array<std::uint8_t, crypto_hash_sha512_BYTES> digest;
  crypto_hash_sha512_final(&hash, digest.data());
  std::string hex;
  for (const auto byte : digest) fmt::format_to(std::back_inserter(hex), "{:02x}", byte);
  return hex;
}

}  // namespace

Error system_error(const std::string& what, int number) {
  const auto text = fmt::format("{}: {}", what, std::strerror(number));
  switch (number) {
    case ENOSPC:
    case EDQUOT:
      return {Errc::no_space, text + "; free some space on that file system"};
    case ENOENT:
      return {Errc::not_found, text};
    case EACCES:
    case EPERM:
    case EROFS:
      return {Errc::denied, text};
    default:
      return {Errc::broken, text};
  }
}

Status sync_path(const std::string& path) {
  OwnedFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0 || fsync(file.fd) != 0) return system_error("syncing " + path, errno);
  return {};
}

Status publish(const std::string& from, const std::string& to) {
  if (auto synced = sync_path(from); !synced) return synced;
  if (rename(from.c_str(), to.c_str()) != 0)
    return system_error(fmt::format("naming {} {}", from, to), errno);
  return sync_path(folder_of(to));
}

Result<std::uint64_t> free_bytes(const std::string& directory) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0) return system_error("looking at " + directory, errno);
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

std::string human_bytes(std::uint64_t bytes) {
  if (bytes >= (1ull << 30)) return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1ull << 30));
  if (bytes >= (1ull << 20)) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1ull << 20));
  return fmt::format("{} KiB", (bytes + 1023) / 1024);
}

Status require_space(const std::string& directory, std::uint64_t needed, const std::string& what) {
  const auto free = free_bytes(directory);
  if (!free) return free.error();
  if (*free >= needed) return {};
  return {Errc::no_space,
          fmt::format("{} needs {} in {}, and {} is free there: free some space or add a disk", what,
                      human_bytes(needed), directory, human_bytes(*free))};
}

Result<std::string> copy_hashed(const std::string& from, const std::string& to) {
  OwnedFd source(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (source.fd < 0) return system_error("opening " + from, errno);
  OwnedFd target(open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (target.fd < 0) return system_error("making " + to, errno);
  auto hash = copy_into(source.fd, target.fd, from, to);
  if (hash && fchmod(target.fd, 0444) != 0) hash = system_error("making " + to + " read-only", errno);
  if (!hash) unlink(to.c_str());
  return hash;
}

}  // namespace reprise::storage
