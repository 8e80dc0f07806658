#include "controlplane/api/image_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace reprise::api {
namespace {

constexpr std::array<std::string_view, 9> formats = {"raw", "qcow2", "vmdk", "vdi", "vhd",
                                                     "iso", "ami",   "aki",  "ari"};
constexpr std::string_view qcow2_magic = "QFI\xfb";
constexpr std::string_view vmdk_magic = "KDMV";
constexpr std::string_view vmdk_descriptor = "# Disk DescriptorFile";
constexpr std::string_view vdi_magic = "\x7f\x10\xda\xbe";
constexpr std::string_view vhd_magic = "conectix";
constexpr std::string_view iso_magic = "CD001";
constexpr std::size_t iso_descriptor = 32768;
constexpr std::string_view boot_signature = "\x55\xaa";
constexpr std::size_t boot_signature_at = 510;

struct Magic {
  std::string_view bytes;
  std::string_view format;
};
constexpr Magic at_begin[] = {{qcow2_magic, "qcow2"}, {vmdk_magic, "vmdk"}, {vmdk_descriptor, "vmdk"}, {vhd_magic, "vhd"},
                              {"vhdxfile", "vhdx"},   {std::string_view("QED\0", 4), "qed"}};
constexpr Magic compressed[] = {{"\x1f\x8b\x08", "gzip"},
                                {std::string_view("\xfd" "7zXZ\0", 6), "xz"},
                                {"\x28\xb5\x2f\xfd", "zstd"},
                                {"BZh", "bzip2"},
                                {"\x04\x22\x4d\x18", "lz4"},
                                {"PK\x03\x04", "zip"},
                                {"7z\xbc\xaf\x27\x1c", "7z"}};

std::uint64_t big(std::string_view bytes, std::size_t at, int count) {
  std::uint64_t value = 0;
  if (at > bytes.size() || bytes.size() - at < static_cast<std::size_t>(count)) return 0;
  for (int i = 0; i < count; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
  return value;
}

std::uint64_t little(std::string_view bytes, std::size_t at, int count) {
  std::uint64_t value = 0;
  if (at > bytes.size() || bytes.size() - at < static_cast<std::size_t>(count)) return 0;
  for (int i = count - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
  return value;
}

Error bad(std::string text) { return {Errc::invalid, std::move(text)}; }

Error not_that(std::string_view format, std::string_view head) {
  const auto seen = detect_disk_format(head);
  if (seen.empty())
    return bad(fmt::format("the data is not {}: give the disk_format that it has, or 'raw'", format));
  if (is_compression(seen))
    return bad(fmt::format("the data is not {} but {}: decompress it first", format, seen));
  if (!known_disk_format(seen))
    return bad(fmt::format("the data is not {} but {}: convert it with 'qemu-img convert -O qcow2'", format, seen));
  return bad(
      fmt::format("the data is not {} but {}: create the image with disk_format '{}'", format, seen, seen));
}

bool is_iso(std::string_view head) {
  return head.size() >= iso_descriptor + 6 && head.substr(iso_descriptor + 1, 5) == iso_magic;
}

// Another format than the claimed one, by its first bytes. Some leave room at their begin: what stands there counts.
Status check_begin(std::string_view format, std::string_view head) {
  const auto seen = detect_disk_format(head);
  if (seen.empty() || seen == format) return {};
  const bool disk = format == "raw" || format == "ami";
  if (is_compression(seen) && (format == "aki" || format == "ari")) return {};
  if (seen == "iso" && disk && head.substr(boot_signature_at, 2) == boot_signature) return {};
  return not_that(format, head);
}

Result<std::uint64_t> sized(std::uint64_t bytes) {
  if (bytes == 0 || bytes > virtual_bytes_max)
    return bad(fmt::format("the image says that its disk has {} bytes: 1 to {} are allowed", bytes,
                           virtual_bytes_max));
  return bytes;
}

// Header extensions: type, length, data padded to 8 bytes, until type 0.
Status check_qcow2_extensions(std::string_view head, std::size_t at, std::size_t end) {
  end = std::min(end, head.size());
  while (at + 8 <= end) {
    const auto type = big(head, at, 4);
    const auto length = big(head, at + 4, 4);
    if (type == 0) return {};
    if (type == 0xe2792aca || type == 0x44415441)
      return bad("the qcow2 image names another file: flatten it with 'qemu-img convert -O qcow2'");
    if (length > end - at - 8) return bad("the qcow2 image has a damaged header extension");
    at += 8 + ((length + 7) & ~std::uint64_t{7});
  }
  return {};
}

Result<std::uint64_t> check_qcow2(std::string_view head) {
  if (!head.starts_with(qcow2_magic)) return not_that("qcow2", head);
  const auto version = big(head, 4, 4);
  if (version != 2 && version != 3)
    return bad(fmt::format("the qcow2 image has version {}, 2 or 3 are known", version));
  if (head.size() < (version == 2 ? 72u : 104u)) return bad("the qcow2 image ends inside its header");
  if (big(head, 8, 8) != 0 || big(head, 16, 4) != 0)
    return bad("the qcow2 image has a backing file: flatten it with 'qemu-img convert -O qcow2'");
  const auto cluster_bits = big(head, 20, 4);
  if (cluster_bits < 9 || cluster_bits > 21)
    return bad(fmt::format("the qcow2 image has {} cluster bits, 9 to 21 are known", cluster_bits));
  if (big(head, 32, 4) != 0) return bad("the qcow2 image is encrypted: convert it to a plain one");
  std::size_t extensions = 72;
  if (version == 3) {
    const auto features = big(head, 72, 8);
    if ((features & 2) != 0)
      return bad("the qcow2 image is marked as corrupt: repair it with 'qemu-img check -r all'");
    if ((features & 4) != 0)
      return bad("the qcow2 image has an external data file: flatten it with 'qemu-img convert -O qcow2'");
    if ((features & ~std::uint64_t{0x1f}) != 0)
      return bad(fmt::format("the qcow2 image needs unknown features ({:#x})", features));
    extensions = big(head, 100, 4);
    if (extensions < 104 || extensions % 8 != 0 || extensions > (1u << cluster_bits))
      return bad("the qcow2 image has a damaged header length");
  }
  if (auto status = check_qcow2_extensions(head, extensions, std::size_t{1} << cluster_bits); !status)
    return status.error();
  return sized(big(head, 24, 8));
}

Result<std::uint64_t> check_vmdk(std::string_view head) {
  if (!head.starts_with(vmdk_magic)) {
    if (head.starts_with(vmdk_descriptor))
      return bad("the vmdk is only a descriptor that names other files: export it as streamOptimized");
    return not_that("vmdk", head);
  }
  const auto version = little(head, 4, 4);
  if (version < 1 || version > 3)
    return bad(fmt::format("the vmdk has version {}, 1 to 3 are known", version));
  const auto sectors = little(head, 12, 8);
  const auto at = little(head, 28, 8) * 512;
  const auto count = little(head, 36, 8);
  if (at == 0 || count == 0 || at >= head.size())
    return bad("the vmdk has no descriptor in its first 128 KiB");
  const auto descriptor = head.substr(at, std::min<std::uint64_t>(count, 128) * 512);
  const std::string_view key = "createType=\"";
  const auto found = descriptor.find(key);
  const auto type = found == std::string_view::npos
                        ? std::string_view()
                        : descriptor.substr(found + key.size(),
                                            descriptor.find('"', found + key.size()) - found - key.size());
  if (type != "monolithicSparse" && type != "streamOptimized")
    return bad("the vmdk must be monolithicSparse or streamOptimized: export it as one of these");
  if (sectors > virtual_bytes_max / 512) return sized(virtual_bytes_max + 1);
  return sized(sectors * 512);
}

Result<std::uint64_t> check_vdi(std::string_view head) {
  if (head.size() < 512 || head.substr(64, 4) != vdi_magic) return not_that("vdi", head);
  const auto type = little(head, 76, 4);
  if (type != 1 && type != 2)
    return bad("the vdi must be a dynamic or static disk: clone it as one of these");
  return sized(little(head, 368, 8));
}

Result<std::uint64_t> check_vhd(std::string_view footer) {
  const auto type = big(footer, 60, 4);
  if (type != 2 && type != 3) return bad("the vhd must be a fixed or dynamic disk: merge it with its parent");
  return sized(big(footer, 48, 8));
}

Result<std::uint64_t> check_iso(std::string_view head) {
  if (head.size() < iso_descriptor + 2048 || !is_iso(head))
    return not_that("iso", head);
  return sized(little(head, iso_descriptor + 80, 4) * 2048);
}

}  // namespace

bool known_disk_format(std::string_view format) {
  return std::find(formats.begin(), formats.end(), format) != formats.end();
}

std::string_view detect_disk_format(std::string_view head) {
  for (const auto& magic : at_begin)
    if (head.starts_with(magic.bytes)) return magic.format;
  if (head.size() >= 68 && head.substr(64, 4) == vdi_magic) return "vdi";
  for (const auto& magic : compressed)
    if (head.starts_with(magic.bytes)) return magic.format;
  return is_iso(head) ? "iso" : "";
}

bool is_compression(std::string_view format) {
  return std::any_of(std::begin(compressed), std::end(compressed), [&](const Magic& magic) { return magic.format == format; });
}

ImageCheck::ImageCheck(std::string_view format) : format_(format) { CHECK(known_disk_format(format)); }

Status ImageCheck::feed(std::string_view bytes) {
  size_ += bytes.size();
  if (head_.size() < head_bytes) head_.append(bytes.substr(0, head_bytes - head_.size()));
  tail_.append(bytes.substr(bytes.size() - std::min(bytes.size(), tail_bytes)));
  if (tail_.size() > tail_bytes) tail_.erase(0, tail_.size() - tail_bytes);
  if (head_checked_ || head_.size() < head_bytes) return {};
  head_checked_ = true;
  // A vhd may have its only mark at the very end.
  if (auto status = check_begin(format_, head_); !status || format_ == "vhd") return status;
  const auto early = finish();
  return early ? Status() : Status(early.error());
}

Result<std::uint64_t> ImageCheck::check() const {
  if (auto status = check_begin(format_, head_); !status) return status.error();
  if (format_ == "qcow2") return check_qcow2(head_);
  if (format_ == "vmdk") return check_vmdk(head_);
  if (format_ == "vdi") return check_vdi(head_);
  if (format_ == "iso") return check_iso(head_);
  if (format_ == "vhd") return has_vhd_footer() ? check_vhd(tail_) : Result<std::uint64_t>(not_that("vhd", head_));
  if (has_vhd_footer()) return not_vhd();
  return size_;
}

Result<std::uint64_t> ImageCheck::finish() const {
  if (size_ == 0) return bad("the image is empty: send its data");
  auto result = check();
  // A fixed one begins as anything.
  if (!result && format_ != "vhd" && detect_disk_format(head_).empty() && has_vhd_footer()) return not_vhd();
  return result;
}

bool ImageCheck::has_vhd_footer() const { return tail_.size() == tail_bytes && tail_.starts_with(vhd_magic); }

Error ImageCheck::not_vhd() const {
  return bad(fmt::format("the data is not {} but vhd: create the image with disk_format 'vhd'", format_));
}

}  // namespace reprise::api
