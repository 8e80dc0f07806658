// Looks at an image's bytes while they pass by and says whether they are what its disk_format claims. No more
// than the first 128 KiB and the last 512 bytes are kept, whatever arrives.
//
// What looks like another format than the one that is claimed is refused, as by glance's format inspector:
//
//   raw, ami  what begins as no other format, and is not compressed; an ISO 9660 only if it is a disk too (a boot
//             sector before it)
//   aki, ari  kernels and ramdisks, compressed or not; no disk in another format
//   qcow2   version 2 or 3, no backing file, no external data file, not encrypted, only features known here
//           (QEMU docs/interop/qcow2.txt): a backing file would let a guest read files of the host
//   vmdk    monolithicSparse or streamOptimized: the others name files beside them
//   vdi     dynamic or static
//   vhd     fixed or dynamic
//   iso     ISO 9660
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "events/result.h"

namespace reprise::api {

inline constexpr std::uint64_t virtual_bytes_max = 64ull << 40;

bool known_disk_format(std::string_view format);

class ImageCheck {
 public:
  // `format` must be a known one.
  explicit ImageCheck(std::string_view format);

  // The next bytes. An error as early as the head shows it: the rest need not be sent.
  Status feed(std::string_view bytes);
  // After the last byte: the virtual size, or what is wrong.
  Result<std::uint64_t> finish() const;
  std::uint64_t size() const { return size_; }

 private:
  static constexpr std::size_t head_bytes = 128 * 1024;
  static constexpr std::size_t tail_bytes = 512;

  Result<std::uint64_t> check() const;
  bool has_vhd_footer() const;
  Error not_vhd() const;

  const std::string format_;
  std::string head_;
  std::string tail_;
  std::uint64_t size_ = 0;
  bool head_checked_ = false;
};

// What the bytes look like by their first ones: "qcow2", "vmdk", …, also formats that no image may have here ("vhdx",
// "gzip", …); "" when unknown.
std::string_view detect_disk_format(std::string_view head);
// A compressed file of any content.
bool is_compression(std::string_view format);

}  // namespace reprise::api
