#include "controlplane/cli/state_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace reprise::cli {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Error failed(const char* what, const std::string& path) {
  const int number = errno;
  const std::string text = fmt::format("cannot {} {}: {}", what, path, std::strerror(number));
  switch (number) {
    case ENOENT:
      return {Errc::not_found, text};
    case ENOSPC:
    case EDQUOT:
      return {Errc::no_space, text + "; free some space there and try again"};
    case EACCES:
    case EPERM:
    case EROFS:
      return {Errc::denied, text + "; run as the user that owns it, or name another folder with --state"};
    case ENOTDIR:
      return {Errc::invalid, text + "; name a folder with --state"};
    default:
      return {Errc::broken, text};
  }
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

Status sync_folder(const std::string& dir) {
  const Descriptor folder(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0) return failed("sync", dir);
  return {};
}

std::string holder_of(int fd) {
  char text[256];
  const ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
  return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : "another process";
}

struct flock whole_file() {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return whole;
}

}  // namespace

Status make_folders(const std::string& dir, unsigned mode) {
  for (std::size_t slash = dir.find('/', 1);; slash = dir.find('/', slash + 1)) {
    const std::string part = dir.substr(0, slash);
    const bool last = slash == std::string::npos;
    if (::mkdir(part.c_str(), last ? mode : 0755) != 0 && errno != EEXIST)
      return failed("make the folder", part);
    if (last) break;
  }
  struct stat about {};
  if (::stat(dir.c_str(), &about) != 0) return failed("look at", dir);
  if (!S_ISDIR(about.st_mode))
    return {Errc::invalid, dir + " is not a folder: name another one with --state"};
  return {};
}

bool file_exists(const std::string& path) {
  struct stat about {};
  return ::lstat(path.c_str(), &about) == 0;
}

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return failed("open", path);
  std::string text;
  char part[4096];
  while (true) {
    const ssize_t n = ::read(file.get(), part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("read", path);
    if (n == 0) return text;
    text.append(part, static_cast<std::size_t>(n));
    if (text.size() > bytes_max)
      return {Errc::invalid, fmt::format("{} has more than {} bytes", path, bytes_max)};
  }
}

Status write_file(const std::string& path, std::string_view text) {
  const std::string beside = path + ".new";
  ::unlink(beside.c_str());
  const Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) return failed("create", beside);
  while (!text.empty()) {
    const ssize_t n = ::write(file.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write", beside);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(file.get()) != 0) return failed("sync", beside);
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed("rename to", path);
  return sync_folder(folder_of(path));
}

Status remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path);
  return sync_folder(folder_of(path));
}

Result<NodeId> read_node_id(const StateFolder& state) {
  auto text = read_file(state.node(), 256);
  if (!text) return text.error();
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  const auto id = NodeId::parse(*text);
  if (!id)
    return {Errc::broken, fmt::format("{} holds no node id (a UUID): put its backup back", state.node())};
  return *id;
}

Result<FileLock> FileLock::take(const std::string& path, std::string_view purpose) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() < 0) return failed("open", path);
  struct flock whole = whole_file();
  if (::fcntl(file.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno != EAGAIN && errno != EACCES) return failed("lock", path);
    return {Errc::denied, fmt::format("{} is held by {}", path, holder_of(file.get()))};
  }
  const std::string text = fmt::format("{} (pid {})", purpose, ::getpid());
  if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), text.data(), text.size(), 0) < 0)
    return failed("write", path);
  return FileLock(file.release());
}

bool FileLock::is_held(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct flock whole = whole_file();
  return file.get() >= 0 && ::fcntl(file.get(), F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace reprise::cli
