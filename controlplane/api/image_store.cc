#include "controlplane/api/image_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace reprise::api {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view part_suffix = ".part";
constexpr std::uint64_t look_after_bytes = 8 << 20;  // at the free space, while bytes come in
constexpr std::size_t id_chars = 36;

Error system_error(std::string_view what, const std::string& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  return {full                                                  ? Errc::no_space
          : error == EACCES || error == EPERM || error == EROFS ? Errc::denied
                                                                : Errc::broken,
          fmt::format("{} {}: {}", what, path, std::strerror(error))};
}

std::string hex(const unsigned char* bytes, unsigned size) {
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

class Digest {
 public:
  explicit Digest(const EVP_MD* kind) : context_(EVP_MD_CTX_new()) {
    CHECK(context_ && EVP_DigestInit_ex(context_, kind, nullptr) == 1);
  }
  Digest(const Digest&) = delete;
  ~Digest() { EVP_MD_CTX_free(context_); }
  void add(std::string_view bytes) { CHECK(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1); }
  std::string take() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    CHECK(EVP_DigestFinal_ex(context_, bytes, &size) == 1);
    return hex(bytes, size);
  }

 private:
  EVP_MD_CTX* context_;
};

Status sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error("opening the folder", path, errno);
  const int failed = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return failed == 0 ? Status() : Status(system_error("syncing the folder", path, failed));
}

// The image that a file is of, whole or not; nothing: it is none of ours.
struct ImageFile {
  ImageKey key;  // born none: named by the id alone, as it once was
  bool part = false;
};
std::optional<ImageFile> image_file(std::string_view name) {
  ImageFile file;
  file.part = name.ends_with(part_suffix);
  if (file.part) name.remove_suffix(part_suffix.size());
  const auto id = ImageId::parse(name.substr(0, id_chars));
  if (!id) return std::nullopt;
  file.key.id = *id;
  if (name.size() > id_chars) {
    const auto born = name[id_chars] == '.' ? Born::parse(name.substr(id_chars + 1)) : std::nullopt;
    if (!born) return std::nullopt;
    file.key.born = *born;
  }
  const bool spelled = name == (file.key.born ? image_file_name(file.key) : id->str());
  return spelled ? std::optional(file) : std::nullopt;
}

// No image of that view or a later one has these bytes. What was born after the view is not known to it.
bool is_forgotten(const ImageKey& key, const View& view) {
  if (!key.born || view.seq() < key.born.seq) return false;
  const auto image = view.find<Image>(key.id);
  return view.status() && (!image || image->born != key.born);
}

bool being_written(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return false;
  const bool locked = ::flock(fd, LOCK_SH | LOCK_NB) != 0;
  ::close(fd);
  return locked;
}

}  // namespace

std::string image_file_name(const ImageKey& key) { return key.id.str() + "." + key.born.str(); }

struct ImageWriter::Digests {
  Digest md5{EVP_md5()};
  Digest sha512{EVP_sha512()};
};

ImageWriter::ImageWriter(ImageStore& store, const ImageKey& key, std::string_view format, int fd)
    : store_(store), key_(key), fd_(fd), check_(format), digests_(std::make_unique<Digests>()) {}

ImageWriter::~ImageWriter() {
  if (!named_) ::unlink(store_.part_path(key_).c_str());
  if (fd_ >= 0) ::close(fd_);
  if (named_ && !kept_) {
    ::unlink(store_.path(key_).c_str());
    (void)store_.sync_directory();
  }
  store_.ended(key_, until_ms_);
}

Status ImageWriter::write(std::string_view bytes) {
  if (auto good = check_.feed(bytes); !good) return good;
  unchecked_ += bytes.size();
  if (unchecked_ >= look_after_bytes) {
    if (auto room = store_.room_for(bytes.size()); !room) return room;
    unchecked_ = 0;
  }
  digests_->md5.add(bytes);
  digests_->sha512.add(bytes);
  while (!bytes.empty()) {
    const auto count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("writing", store_.part_path(key_), errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Result<StoredImage> ImageWriter::finish() {
  const auto virtual_size = check_.finish();
  if (!virtual_size) return virtual_size.error();
  const auto part = store_.part_path(key_), path = store_.path(key_);
  if (::fsync(fd_) != 0) return system_error("syncing", part, errno);
  if (::close(std::exchange(fd_, -1)) != 0) return system_error("closing", part, errno);
  if (::chmod(part.c_str(), 0444) != 0) return system_error("protecting", part, errno);
  if (::rename(part.c_str(), path.c_str()) != 0) return system_error("naming", path, errno);
  named_ = true;
  if (auto synced = store_.sync_directory(); !synced) return synced.error();
  return StoredImage{check_.size(), *virtual_size, digests_->md5.take(), digests_->sha512.take()};
}

Status ImageStore::make_directory() const {
  std::error_code error;
  fs::create_directories(directory_, error);
  return error ? Status(system_error("making the folder", directory_, error.value())) : Status();
}

Status ImageStore::sync_directory() const { return sync_folder(directory_); }

Status ImageStore::room_for(std::uint64_t more) const {
  struct statvfs disk {};
  if (::statvfs(directory_.c_str(), &disk) != 0) return system_error("looking at", directory_, errno);
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  if (free > reserve_ && free - reserve_ >= more) return {};
  return {Errc::no_space, fmt::format("the image store has {} MiB left for images ({} MiB are kept free), and {} MiB are to come: "
                                      "delete images, or give it a larger file system",
                                      free > reserve_ ? (free - reserve_) >> 20 : 0, reserve_ >> 20, (more + (1 << 20) - 1) >> 20)};
}

namespace {
// Locked as long as it is open, so that no sweep takes it for what a crash left. Negative: errno says why not.
int open_part(const std::string& path) {
  for (;;) {
    ::unlink(path.c_str());  // of a process that was killed
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return fd;
    struct stat info {};
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::fstat(fd, &info) == 0 && info.st_nlink > 0) return fd;
    ::close(fd);  // a sweep was in between
  }
}
}  // namespace

Result<std::unique_ptr<ImageWriter>> ImageStore::begin(const ImageKey& key, std::string_view format,
                                                       std::optional<std::uint64_t> size,
                                                       std::int64_t at_ms) {
  if (auto made = make_directory(); !made) return made.error();
  if (auto room = room_for(size.value_or(0)); !room) return room.error();
  {
    std::lock_guard lock(mutex_);
    const auto [at, free] = busy_.try_emplace(key, 0);
    if (!free && (at->second == 0 || at_ms <= at->second))
      return Error{Errc::conflict, at->second == 0
                                       ? "another upload of this image is under way"
                                       : "it is not known yet what became of the last upload of this image"};
    at->second = 0;
  }
  const auto part = part_path(key);
  const int fd = open_part(part);
  if (fd < 0) {
    const int error = errno;
    ended(key, 0);
    return system_error("making", part, error);
  }
  return std::unique_ptr<ImageWriter>(new ImageWriter(*this, key, format, fd));
}

void ImageStore::ended(const ImageKey& key, std::int64_t until_ms) {
  std::lock_guard lock(mutex_);
  if (until_ms == 0) busy_.erase(key);
  else busy_[key] = until_ms;
}

Result<FilePart> ImageStore::open(const ImageKey& key) const {
  const int fd = ::open(path(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT)
    return Error{Errc::not_found, fmt::format("the bytes of image {} are not on this node", key.id.str())};
  if (fd < 0) return system_error("opening", path(key), errno);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    ::close(fd);
    return system_error("reading", path(key), error);
  }
  return FilePart(fd, 0, static_cast<std::uint64_t>(info.st_size));
}

void ImageStore::forget(ImageId id, const View& view) {
  std::error_code error;
  bool any = false;
  for (auto at = fs::directory_iterator(directory_, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    const auto file = image_file(at->path().filename().string());
    if (!file || file->part || file->key.id != id || !is_forgotten(file->key, view)) continue;
    any = ::unlink(at->path().c_str()) == 0 || any;
  }
  if (any) (void)sync_directory();
}

namespace {

// What becomes of one file that is there at the start. False: it could not be done, errno says why.
bool sweep_file(const std::string& path, const ImageFile& file, const View& view, std::int64_t window_ms) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return true;
  if (file.part) return being_written(path) || ::unlink(path.c_str()) == 0;
  const auto image = view.find<Image>(file.key.id);
  if (!is_forgotten(file.key, view)) {
    const bool active = image && image->status == ImageStatus::active;
    if (active && !file.key.born) {
      if (static_cast<std::uint64_t>(info.st_size) != image->size) return true;  // not this one's: for a person to look at
      const auto named = path.substr(0, path.rfind('/') + 1) + image_file_name(key_of(*image));
      if (::access(named.c_str(), F_OK) != 0) return ::rename(path.c_str(), named.c_str()) == 0;
      return ::unlink(path.c_str()) == 0;
    }
    if (active || view.seq() < file.key.born.seq) return true;
    const std::int64_t written_ms = std::int64_t{info.st_ctim.tv_sec} * 1000;
    if (view.at_ms() <= written_ms + window_ms + clocks_apart_ms_max) return true;  // it may still be decided
  }
  return !view.status() || ::unlink(path.c_str()) == 0;
}

}  // namespace

Status sweep_images(const std::string& directory, const View& view, std::int64_t window_ms) {
  std::error_code error;
  if (!fs::exists(directory, error)) return {};
  std::vector<std::string> names;  // first all: what is renamed on the way may be met again
  for (auto at = fs::directory_iterator(directory, error); !error && at != fs::directory_iterator();
       at.increment(error))
    names.push_back(at->path().filename().string());
  if (error) return system_error("reading the folder", directory, error.value());
  for (const auto& name : names) {
    const auto file = image_file(name);
    const auto path = directory + "/" + name;
    if (file && !sweep_file(path, *file, view, window_ms)) return system_error("sweeping", path, errno);
  }
  if (!view.status()) return view.status();
  return sync_folder(directory);
}

}  // namespace reprise::api
