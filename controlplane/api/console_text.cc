#include "controlplane/api/console_text.h"

#include "controlplane/api/utf8.h"

namespace reprise::api {
namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";

std::size_t character_bytes(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first < 0xe0) return 2;
  if (first >= 0xe0 && first < 0xf0) return 3;
  if (first >= 0xf0 && first < 0xf5) return 4;
  return 0;
}

std::string_view last_lines(std::string_view text, std::int64_t lines) {
  if (lines <= 0) return {};
  std::size_t from = text.size();
  if (!text.empty() && text.back() == '\n') --from;
  while (from > 0) {
    if (text[from - 1] == '\n' && --lines == 0) break;
    --from;
  }
  return text.substr(from);
}

}  // namespace

std::string console_text(std::string_view bytes, std::optional<std::int64_t> lines) {
  if (lines) bytes = last_lines(bytes, *lines);
  std::string text;
  text.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    if (c < 0x80) {
      if ((c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t') text.push_back(static_cast<char>(c));
      ++i;
      continue;
    }
    const auto size = character_bytes(c);
    const auto character = bytes.substr(i, size);
    const bool good = size != 0 && character.size() == size && valid_utf8(character);
    text.append(good ? character : replacement);
    i += good ? size : 1;
  }
  return text;
}

}  // namespace reprise::api
