// Images' bytes on this node: one file per image, under its id and born, in one folder.
//
// Promises: a file under an image's name (image_file_name) is whole, synced and what its format says; while it
// comes in it ends with .part, and is gone when the upload fails, whatever the reason. What is hashed is what is
// written. An image that was deleted and made again under the same id has other files: what is taken away of the
// one never touches the other. Uploads leave `reserve` of the file system free. No image is ever in memory as a
// whole. Every call may come from any thread; a writer is one thread's at a time.
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

// Which bytes: an id alone may name several images, one after the other.
struct ImageKey {
  ImageId id;
  Born born;
  auto operator<=>(const ImageKey&) const = default;
};
inline ImageKey key_of(const Image& image) { return {image.id, image.born}; }
// "ID.SEQ.INDEX"
std::string image_file_name(const ImageKey& key);

class ImageStore;

// One upload under way. Destroyed without done(): nothing of it is left.
class ImageWriter {
 public:
  ImageWriter(const ImageWriter&) = delete;
  ~ImageWriter();

  // invalid: not what the format says. no_space: the disk is as full as uploads may make it.
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
  ImageWriter(ImageStore& store, const ImageKey& key, std::string_view format, int fd);

  ImageStore& store_;
  const ImageKey key_;
  int fd_;
  ImageCheck check_;
  std::unique_ptr<Digests> digests_;
  std::uint64_t unchecked_ = 0;  // bytes written since the file system was last looked at
  bool named_ = false;
  bool kept_ = false;
  std::int64_t until_ms_ = 0;
};

class ImageStore {
 public:
  // The folder is made when it is first needed. `reserve`: bytes of its file system that uploads leave free.
  explicit ImageStore(std::string directory, std::uint64_t reserve = 0)
      : directory_(std::move(directory)), reserve_(reserve) {}

  // `size`: what the client says will come, if it says. `at_ms`: log time. conflict: another upload of the
  // same image is under way, or was and its outcome is not known yet. no_space: it does not fit.
  Result<std::unique_ptr<ImageWriter>> begin(const ImageKey& key, std::string_view format,
                                             std::optional<std::uint64_t> size, std::int64_t at_ms);
  // Part of the bytes; not_found: they are not on this node.
  Result<FilePart> open(const ImageKey& key) const;
  // Takes away every file under that id that no image of `view`, or of any later one, can need. Nothing when
  // there is nothing; again is well.
  void forget(ImageId id, const View& view);
  std::string path(const ImageKey& key) const { return directory_ + "/" + image_file_name(key); }

 private:
  friend class ImageWriter;
  std::string part_path(const ImageKey& key) const { return path(key) + ".part"; }
  Status make_directory() const;
  Status sync_directory() const;
  // no_space: with `more` bytes less is free than the reserve.
  Status room_for(std::uint64_t more) const;
  void ended(const ImageKey& key, std::int64_t until_ms);

  const std::string directory_;
  const std::uint64_t reserve_;
  std::mutex mutex_;
  std::map<ImageKey, std::int64_t> busy_;  // 0: under way; else nobody else before that log time
};

// For the start, when the projection has caught up: takes away what crashes left. Half an upload that nobody is
// writing goes at once, and so does what no image can need any more; a whole one whose image has no data when no
// intent about it can be decided any more (`window_ms`: how long one may wait). Files of before, under the id
// alone, get their names.
Status sweep_images(const std::string& directory, const View& view, std::int64_t window_ms);

}  // namespace reprise::api
