// The node's verified copies of images: boot disks stand on them, volumes are converted from them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "agents/storage/driver.h"

namespace reprise::storage {

struct CachedImage {
  std::string path;
  std::string name;                 // inside the cache's folder
  std::uint64_t virtual_bytes = 0;  // of the disk in it
};

class ImageCache {
 public:
  // `directory` holds cache/ and tmp/.
  ImageCache(std::string directory, ImagePath image_path);

  // The copy of `image`, made and verified if it is not there. broken: the bytes are not those that the
  // hash names, or not of the format that the image claims.
  Result<CachedImage> get(const ImageRef& image);
  Result<std::map<ImageId, std::string>> list() const;
  // Removes every copy of it; no copy is well.
  Status evict(ImageId image);

 private:
  Status fetch(const ImageRef& image, const std::string& target);

  std::string directory_;
  ImagePath image_path_;
};

// The image that a file of the cache is a copy of; none: it is not such a file's name.
ImageId image_of_cache_name(const std::string& name);

}  // namespace reprise::storage
