// Images' bytes on this node: one file per image, under its id, in one folder.
//
// Promises: a file under an image's id is whole, synced and what its format says; while it comes in it is
// called ID.part, and is gone when the upload fails, whatever the reason. What is hashed is what is written.
// No image is ever in memory as a whole. Every call may come from any thread; a writer is one thread's at a
// time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "controlplane/api/http_message.h"
#include "controlplane/api/image_format.h"
#include "events/ids.h"
#include "projections/view.h"

namespace reprise::api {

// Log time and the clocks of this node run at most this much apart.
inline constexpr std::int64_t clocks_apart_ms_max = 60'000;

struct StoredImage {
  std::uint64_t size = 0;
  std::uint64_t virtual_size = 0;
  std::string md5;     // hex
  std::string sha512;  // hex
};

class ImageStore;

// One upload under way. Destroyed without done(): nothing of it is left.
class ImageWriter {
 public:
  ImageWriter(const ImageWriter&) = delete;
  ~ImageWriter();

  // invalid: not what the format says. no_space: the disk is full.
  Status write(std::string_view bytes);
  // After the last byte: hashed, synced and under its name. It stays there only if keep() is called too.
  Result<StoredImage> finish();
  // The image's record says that it is there.
  void keep() { kept_ = true; }
  // It is not known whether the record will say so: the bytes stay, and nobody else may bring others before
  // log time has passed `until_ms`.
  void leave(std::int64_t until_ms) { until_ms_ = until_ms, kept_ = true; }

 private:
  friend class ImageStore;
  struct Digests;
  ImageWriter(ImageStore& store, ImageId id, std::string_view format, int fd);

  ImageStore& store_;
  const ImageId id_;
  int fd_;
  ImageCheck check_;
  std::unique_ptr<Digests> digests_;
  bool named_ = false;
  bool kept_ = false;
  std::int64_t until_ms_ = 0;
};

class ImageStore {
 public:
  // The folder is made when it is first needed.
  explicit ImageStore(std::string directory) : directory_(std::move(directory)) {}

  // `size`: what the client says will come, if it says. `at_ms`: log time. conflict: another upload of the
  // same image is under way, or was and its outcome is not known yet. no_space: it does not fit.
  Result<std::unique_ptr<ImageWriter>> begin(ImageId id, std::string_view format,
                                             std::optional<std::uint64_t> size, std::int64_t at_ms);
  // Part of the bytes; not_found: they are not on this node.
  Result<FilePart> open(ImageId id) const;
  // Nothing when there is nothing.
  void remove(ImageId id);
  std::string path(ImageId id) const { return directory_ + "/" + id.str(); }

 private:
  friend class ImageWriter;
  std::string part_path(ImageId id) const { return path(id) + ".part"; }
  Status make_directory() const;
  Status sync_directory() const;
  void ended(ImageId id, std::int64_t until_ms);

  const std::string directory_;
  std::mutex mutex_;
  std::map<ImageId, std::int64_t> busy_;  // 0: under way; else nobody else before that log time
};

// For the start, when the projection has caught up: takes away what crashes left. Half an upload goes at
// once; a whole one whose image has no data, or is gone, when no intent about it can be decided any more
// (`window_ms`: how long one may wait).
Status sweep_images(const std::string& directory, const View& view, std::int64_t window_ms);

}  // namespace reprise::api
