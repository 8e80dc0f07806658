#include "agents/compute/console_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace reprise::compute {
namespace {

std::string tail(int fd, std::size_t bytes) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return {};
  const auto size = static_cast<std::size_t>(info.st_size);
  std::string text(std::min(size, bytes == 0 ? console_bytes_kept : std::min(bytes, console_bytes_kept)),
                   '\0');
  const auto got = pread(fd, text.data(), text.size(), static_cast<off_t>(size - text.size()));
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  // What was given back reads as zeros.
  return text.substr(std::min(text.find_first_not_of('\0'), text.size()));
}

}  // namespace

Result<std::string> read_console_log(const std::string& path, std::size_t bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::string();
  if (fd < 0) return Error{Errc::denied, fmt::format("cannot read {}: {}", path, std::strerror(errno))};
  auto text = tail(fd, bytes);
  close(fd);
  return text;
}

void trim_console_log(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return;
  const auto size = static_cast<std::size_t>(info.st_size);
  const auto on_disk = static_cast<std::size_t>(info.st_blocks) * 512;
  if (size <= console_bytes_kept || on_disk <= 2 * console_bytes_kept) return;
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  // Where holes are not supported the log stays whole: no reason to fail.
  (void)!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                   static_cast<off_t>(size - console_bytes_kept));
  close(fd);
}

}  // namespace reprise::compute
