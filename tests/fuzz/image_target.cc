// Any bytes as an image, in pieces: whatever its format is said to be. Input: format, size of the pieces, bytes.
#include <cstdlib>

#include "controlplane/api/image_format.h"

using namespace reprise::api;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr const char* formats[] = {"raw", "qcow2", "vmdk", "vdi", "vhd", "iso", "ami", "aki", "ari"};
  if (size < 2) return 0;
  ImageCheck check(formats[data[0] % std::size(formats)]);
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t piece = 1 + data[1] * 16u;
  (void)detect_disk_format(rest);
  for (; !rest.empty(); rest.remove_prefix(std::min(piece, rest.size())))
    if (!check.feed(rest.substr(0, piece))) return 0;
  const auto virtual_size = check.finish();
  if (virtual_size && *virtual_size > virtual_bytes_max) std::abort();
  return 0;
}
