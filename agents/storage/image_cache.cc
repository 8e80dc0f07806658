#include "agents/storage/image_cache.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "agents/storage/durable_file.h"
#include "agents/storage/qcow2_header.h"

namespace reprise::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t id_length = 36;
constexpr std::size_t sha512_length = 128;

bool lower_hex(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<std::uint64_t> file_bytes(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return system_error("looking at " + path, errno);
  return static_cast<std::uint64_t>(info.st_size);
}

// The size of the disk in the image at `path`, or why it must not be used.
Result<std::uint64_t> disk_in_image(const ImageRef& image, const std::string& path) {
  if (image.disk_format == "raw") return file_bytes(path);
  if (image.disk_format != "qcow2")
    return Error{
        Errc::unsupported,
        fmt::format("image {} has the format {}: this node boots raw and qcow2; convert it with qemu-img",
                    image.id.str(), image.disk_format)};
  auto header = read_qcow2_header(path);
  if (!header)
    return Error{header.error().code, fmt::format("image {}: {}", image.id.str(), header.error().text)};
  if (!header->backing_file.empty() || header->external_data)
    return Error{
        Errc::unsupported,
        fmt::format(
            "image {} refers to another file ({}): flatten it with qemu-img convert and upload it again",
            image.id.str(), header->external_data ? "external data" : header->backing_file)};
  return header->virtual_bytes;
}

}  // namespace

ImageId image_of_cache_name(const std::string& name) {
  if (name.size() != id_length + 1 + sha512_length || name[id_length] != '.') return {};
  if (!lower_hex(name.substr(id_length + 1))) return {};
  return ImageId::parse(name.substr(0, id_length)).value_or(ImageId{});
}

ImageCache::ImageCache(std::string directory, ImagePath image_path, std::uint64_t reserve_bytes)
    : directory_(std::move(directory)), image_path_(std::move(image_path)), reserve_bytes_(reserve_bytes) {}

std::shared_ptr<std::shared_mutex> ImageCache::lock_of(ImageId image) {
  std::lock_guard lock(mutex_);
  auto& one = locks_[image];
  if (!one) one = std::make_shared<std::shared_mutex>();
  return one;
}

Status ImageCache::fetch(const ImageRef& image, const std::string& target) {
  const auto source = image_path_(image.id);
  if (!source) return source.error();
  // Looked at before the copy: an image of another format is refused before it costs a gigabyte.
  if (auto size = disk_in_image(image, *source); !size) return size.error();
  const auto bytes = file_bytes(*source);
  if (!bytes) return bytes.error();
  const auto what = fmt::format("the copy of image {}", image.id.str());
  if (auto room = require_space(directory_, *bytes + reserve_bytes_, what); !room) return room;
  const auto temporary = fmt::format("{}/tmp/image-{}", directory_, image.id.str());
  const auto hash = copy_hashed(*source, temporary);
  if (!hash) return {hash.error().code, fmt::format("{}: {}", what, hash.error().text)};
  if (*hash != image.sha512) {
    unlink(temporary.c_str());
    return {Errc::broken,
            fmt::format("image {}: {} has the SHA-512 {}…, not {}…: the file is damaged, upload it again",
                        image.id.str(), *source, hash->substr(0, 16), image.sha512.substr(0, 16))};
  }
  auto named = publish(temporary, target);
  if (!named) unlink(temporary.c_str());
  return named;
}

Result<CachedImage> ImageCache::get(const ImageRef& image) {
  if (image.sha512.size() != sha512_length || !lower_hex(image.sha512))
    return Error{Errc::invalid, fmt::format("image {}: its SHA-512 is not 128 lower-case hex digits: '{}'",
                                            image.id.str(), image.sha512.substr(0, 140))};
  CachedImage cached;
  cached.name = fmt::format("{}.{}", image.id.str(), image.sha512);
  cached.path = fmt::format("{}/cache/{}", directory_, cached.name);
  const auto lock = lock_of(image.id);
  auto used = std::make_shared<std::pair<std::shared_ptr<std::shared_mutex>, std::shared_lock<std::shared_mutex>>>(lock, *lock);
  while (access(cached.path.c_str(), F_OK) != 0) {
    used->second.unlock();
    {
      std::unique_lock alone(*lock);
      if (access(cached.path.c_str(), F_OK) != 0)
        if (auto fetched = fetch(image, cached.path); !fetched) return fetched.error();
    }
    used->second.lock();
  }
  cached.kept = std::move(used);
  const auto size = disk_in_image(image, cached.path);
  if (!size) return size.error();
  cached.virtual_bytes = *size;
  return cached;
}

Result<std::map<ImageId, std::string>> ImageCache::list() const {
  std::map<ImageId, std::string> cached;
  std::error_code error;
  fs::directory_iterator entries(directory_ + "/cache", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error)) {
    const auto name = entries->path().filename().string();
    if (const auto image = image_of_cache_name(name)) cached[image] = name.substr(id_length + 1);
  }
  if (error) return system_error("listing " + directory_ + "/cache", error.value());
  return cached;
}

Status ImageCache::evict(ImageId image) {
  const auto lock = lock_of(image);
  std::unique_lock alone(*lock, std::try_to_lock);
  if (!alone) return {Errc::again, fmt::format("image {} is being used", image.str())};
  std::error_code error;
  fs::directory_iterator entries(directory_ + "/cache", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error)) {
    const auto path = entries->path().string();
    if (image_of_cache_name(entries->path().filename().string()) != image) continue;
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("removing " + path, errno);
  }
  if (error) return system_error("listing " + directory_ + "/cache", error.value());
  return sync_path(directory_ + "/cache");
}

}  // namespace reprise::storage
