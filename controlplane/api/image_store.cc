#include "controlplane/api/image_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
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

}  // namespace

struct ImageWriter::Digests {
  Digest md5{EVP_md5()};
  Digest sha512{EVP_sha512()};
};

ImageWriter::ImageWriter(ImageStore& store, ImageId id, std::string_view format, int fd)
    : store_(store), id_(id), fd_(fd), check_(format), digests_(std::make_unique<Digests>()) {}

ImageWriter::~ImageWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!named_) ::unlink(store_.part_path(id_).c_str());
  else if (!kept_) store_.remove(id_);
  store_.ended(id_, until_ms_);
}

Status ImageWriter::write(std::string_view bytes) {
  if (auto good = check_.feed(bytes); !good) return good;
  digests_->md5.add(bytes);
  digests_->sha512.add(bytes);
  while (!bytes.empty()) {
    const auto count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("writing", store_.part_path(id_), errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Result<StoredImage> ImageWriter::finish() {
  const auto virtual_size = check_.finish();
  if (!virtual_size) return virtual_size.error();
  const auto part = store_.part_path(id_), path = store_.path(id_);
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

Result<std::unique_ptr<ImageWriter>> ImageStore::begin(ImageId id, std::string_view format,
                                                       std::optional<std::uint64_t> size,
                                                       std::int64_t at_ms) {
  if (auto made = make_directory(); !made) return made.error();
  struct statvfs disk {};
  if (size && ::statvfs(directory_.c_str(), &disk) == 0 && *size / disk.f_frsize >= disk.f_bavail)
    return Error{Errc::no_space, fmt::format("{} has {} MiB left, the image has {}", directory_,
                                             (disk.f_bavail * disk.f_frsize) >> 20, *size >> 20)};
  {
    std::lock_guard lock(mutex_);
    const auto [at, free] = busy_.try_emplace(id, 0);
    if (!free && (at->second == 0 || at_ms <= at->second))
      return Error{Errc::conflict, at->second == 0
                                       ? "another upload of this image is under way"
                                       : "it is not known yet what became of the last upload of this image"};
    at->second = 0;
  }
  const auto part = part_path(id);
  ::unlink(part.c_str());  // of a process that was killed
  const int fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    const int error = errno;
    ended(id, 0);
    return system_error("making", part, error);
  }
  return std::unique_ptr<ImageWriter>(new ImageWriter(*this, id, format, fd));
}

void ImageStore::ended(ImageId id, std::int64_t until_ms) {
  std::lock_guard lock(mutex_);
  if (until_ms == 0) busy_.erase(id);
  else busy_[id] = until_ms;
}

Result<FilePart> ImageStore::open(ImageId id) const {
  const int fd = ::open(path(id).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT)
    return Error{Errc::not_found, fmt::format("the bytes of image {} are not on this node", id.str())};
  if (fd < 0) return system_error("opening", path(id), errno);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    ::close(fd);
    return system_error("reading", path(id), error);
  }
  return FilePart(fd, 0, static_cast<std::uint64_t>(info.st_size));
}

void ImageStore::remove(ImageId id) {
  ::unlink(path(id).c_str());
  (void)sync_directory();
}

Status sweep_images(const std::string& directory, const View& view, std::int64_t window_ms) {
  std::error_code error;
  if (!fs::exists(directory, error)) return {};
  for (auto at = fs::directory_iterator(directory, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    const auto name = at->path().filename().string();
    const bool part = name.ends_with(part_suffix);
    const auto id =
        ImageId::parse(std::string_view(name).substr(0, name.size() - (part ? part_suffix.size() : 0)));
    if (!id || name != id->str() + std::string(part ? part_suffix : "")) continue;  // not of ours
    struct stat info {};
    if (::lstat(at->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (!part) {
      const auto image = view.find<Image>(*id);
      if (image && image->status == ImageStatus::active) continue;
      const std::int64_t written_ms = std::int64_t{info.st_ctim.tv_sec} * 1000;
      if (view.at_ms() <= written_ms + window_ms + clocks_apart_ms_max) continue;  // it may still be decided
    }
    if (::unlink(at->path().c_str()) != 0) return system_error("removing", at->path().string(), errno);
  }
  if (error) return system_error("reading the folder", directory, error.value());
  if (!view.status()) return view.status();
  return sync_folder(directory);
}

}  // namespace reprise::api
