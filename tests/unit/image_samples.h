// The smallest images of each format that pass for one: headers, and no content.
#pragma once

#include <string>
#include <string_view>

namespace reprise::testing {

inline void put_big(std::string& bytes, std::size_t at, std::uint64_t value, int count) {
  for (int i = count - 1; i >= 0; --i, value >>= 8)
    bytes[at + static_cast<std::size_t>(i)] = static_cast<char>(value);
}

inline void put_little(std::string& bytes, std::size_t at, std::uint64_t value, int count) {
  for (int i = 0; i < count; ++i, value >>= 8)
    bytes[at + static_cast<std::size_t>(i)] = static_cast<char>(value);
}

inline std::string qcow2(int version = 3) {
  std::string bytes(200 * 1024, '\0');
  bytes.replace(0, 4, "QFI\xfb");
  put_big(bytes, 4, static_cast<std::uint64_t>(version), 4);
  put_big(bytes, 20, 16, 4);
  put_big(bytes, 24, 1 << 30, 8);
  if (version == 3) put_big(bytes, 100, 104, 4);
  return bytes;
}

inline std::string vmdk(std::string_view type = "streamOptimized") {
  std::string bytes(2048, '\0');
  bytes.replace(0, 4, "KDMV");
  put_little(bytes, 4, 3, 4);
  put_little(bytes, 12, 2048, 8);
  put_little(bytes, 28, 1, 8);
  put_little(bytes, 36, 1, 8);
  const auto text = "# Disk DescriptorFile\nversion=1\ncreateType=\"" + std::string(type) + "\"\n";
  bytes.replace(512, text.size(), text);
  return bytes;
}

inline std::string vdi() {
  std::string bytes(1024, '\0');
  bytes.replace(64, 4, "\x7f\x10\xda\xbe");
  put_little(bytes, 76, 1, 4);
  put_little(bytes, 368, 1 << 20, 8);
  return bytes;
}

inline std::string vhd() {
  std::string bytes(4096, 'd');
  std::string footer(512, '\0');
  footer.replace(0, 8, "conectix");
  put_big(footer, 48, 4096, 8);
  put_big(footer, 60, 2, 4);
  return bytes + footer;
}

inline std::string iso() {
  std::string bytes(40960, '\0');
  bytes.replace(32769, 5, "CD001");
  put_little(bytes, 32768 + 80, 20, 4);
  return bytes;
}

inline std::string image_sample(std::string_view format) {
  if (format == "qcow2") return qcow2();
  if (format == "vmdk") return vmdk();
  if (format == "vdi") return vdi();
  if (format == "vhd") return vhd();
  if (format == "iso") return iso();
  return "raw bytes";
}

}  // namespace reprise::testing
