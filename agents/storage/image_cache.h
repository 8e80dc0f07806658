// The node's verified copies of images: boot disks stand on them, volumes are converted from them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "agents/storage/driver.h"

namespace reprise::storage {

struct CachedImage {
  std::string path;
  std::string name;                 // inside the cache's folder
  std::uint64_t virtual_bytes = 0;  // of the disk in it
  std::shared_ptr<void> kept;       // as long as somebody has this, it stays
};

// Any thread: one copies an image, the others wait for that.
class ImageCache {
 public:
  // `directory` holds cache/ and tmp/; so much of its file system is left free.
  ImageCache(std::string directory, ImagePath image_path, std::uint64_t reserve_bytes);

  // The copy of `image`, made and verified if it is not there. broken: the bytes are not those that the
  // hash names, or not of the format that the image claims.
  Result<CachedImage> get(const ImageRef& image);
  Result<std::map<ImageId, std::string>> list() const;
  // Removes every copy of it; no copy is well.
  Status evict(ImageId image);

 private:
  Status fetch(const ImageRef& image, const std::string& target);
  std::shared_ptr<std::shared_mutex> lock_of(ImageId image);

  const std::string directory_;
  const ImagePath image_path_;
  const std::uint64_t reserve_bytes_;
  std::mutex mutex_;
  std::map<ImageId, std::shared_ptr<std::shared_mutex>> locks_;  // shared by who uses the copy, whole of who makes or removes it
};

// The image that a file of the cache is a copy of; none: it is not such a file's name.
ImageId image_of_cache_name(const std::string& name);

}  // namespace reprise::storage
