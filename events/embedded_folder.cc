#include "events/embedded_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace reprise {
namespace {

namespace fs = std::filesystem;
constexpr const char* mark = "reprise-log";
constexpr const char* mark_begun = "reprise-log.new";
constexpr const char* holder = "holder";

Error io_error(int number, const std::string& doing) {
  const auto text = fmt::format("{}: {}", doing, std::strerror(number));
  switch (number) {
    case ENOSPC:
    case EDQUOT:
      return {Errc::no_space, text + "; free some space there and try again"};
    case EROFS:
      return {Errc::denied, text + "; mount that file system writable"};
    case EACCES:
    case EPERM:
      return {Errc::denied, text + "; run as the user that owns it"};
    case ENOTDIR:
      return {Errc::invalid, text + "; name a folder"};
    default:
      return {Errc::broken, text + "; look at the disk"};
  }
}

Status sync_folder(const std::string& dir) {
  const int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return io_error(errno, "open the folder " + dir);
  const int failed = ::fsync(fd) < 0 ? errno : 0;
  ::close(fd);
  return failed ? Status(io_error(failed, "sync the folder " + dir)) : Status();
}

std::string own_name() {
  std::string command;
  std::getline(std::ifstream("/proc/self/cmdline"), command, '\0');
  return command.empty() ? "?" : fs::path(command).filename().string();
}

}  // namespace

Result<FolderState> look_at_folder(const std::string& dir) {
  std::error_code failed;
  const auto status = fs::status(dir, failed);
  if (status.type() == fs::file_type::not_found) return FolderState::vacant;
  if (failed) return io_error(failed.value(), "look at " + dir);
  if (!fs::is_directory(status)) return Error{Errc::invalid, dir + " is not a folder; name one for the log"};
  bool vacant = true, begun = false;
  std::string stranger;
  for (fs::directory_iterator at(dir, failed), end; !failed && at != end; at.increment(failed)) {
    const auto name = at->path().filename().string();
    if (name == mark) return FolderState::log;
    if (name == mark_begun) begun = true;
    if (name != holder) vacant = false, stranger = name;
  }
  if (failed) return io_error(failed.value(), "list the folder " + dir);
  if (begun) return FolderState::half_made;
  if (vacant) return FolderState::vacant;
  return Error{Errc::invalid,
               fmt::format("{} holds something that is no log of reprise ('{}' is in it, '{}' is not); "
                           "name an empty folder, or one that does not exist yet",
                           dir, stranger, mark)};
}

Status make_folder(const std::string& dir) {
  std::error_code failed;
  const auto parent = fs::absolute(dir, failed).lexically_normal().parent_path();
  fs::create_directories(parent, failed);
  if (failed) return io_error(failed.value(), "make the folder " + parent.string());
  if (::mkdir(dir.c_str(), 0700) < 0 && errno != EEXIST) return io_error(errno, "make the folder " + dir);
  return sync_folder(parent);
}

Result<int> lock_folder(const std::string& dir) {
  const auto path = dir + "/" + holder;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return io_error(errno, "open " + path);
  if (::flock(fd, LOCK_EX | LOCK_NB) < 0) {
    const int number = errno;
    char text[200] = {};
    const auto size = ::pread(fd, text, sizeof text - 1, 0);
    ::close(fd);
    if (number != EWOULDBLOCK) return io_error(number, "lock " + path);
    const std::string who(text, size > 0 ? static_cast<std::size_t>(size) : 0);
    return Error{Errc::denied, fmt::format("the log in {} is in use by {}; stop that one first", dir,
                                           who.empty() ? "another process" : who)};
  }
  // Only a word to the next one who asks: a full disk is no reason to fail here.
  const auto who = fmt::format("process {} ({})", ::getpid(), own_name());
  if (::ftruncate(fd, 0) == 0) (void)!::pwrite(fd, who.data(), who.size(), 0);
  return fd;
}

Status begin_marking(const std::string& dir) {
  const auto path = dir + "/" + mark_begun;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return io_error(errno, "make " + path);
  constexpr std::string_view text = "This folder is a log of reprise. Everything the cloud knows is in it.\n";
  int failed = ::pwrite(fd, text.data(), text.size(), 0) < 0 ? errno : 0;
  if (!failed && ::fsync(fd) < 0) failed = errno;
  ::close(fd);
  return failed ? Status(io_error(failed, "write " + path)) : sync_folder(dir);
}

Status finish_marking(const std::string& dir) {
  const auto from = dir + "/" + mark_begun, to = dir + "/" + mark;
  if (::rename(from.c_str(), to.c_str()) < 0) return io_error(errno, "rename " + from);
  return sync_folder(dir);
}

}  // namespace reprise
