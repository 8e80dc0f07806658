#include "controlplane/api/utf8.h"

namespace reprise::api {

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto bytes = character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string shown(std::string_view text) {
  std::string cut(text.substr(0, 60));
  while (!cut.empty() && cut.size() < text.size() && (static_cast<unsigned char>(text[cut.size()]) & 0xc0) == 0x80)
    cut.pop_back();
  return cut.size() < text.size() ? cut + "…" : cut;
}

}  // namespace reprise::api
