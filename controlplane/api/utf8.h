// UTF-8 as RFC 3629 has it: shortest forms only, no surrogates, nothing past U+10FFFF.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace reprise::api {

// The bytes of the character that `text` begins with; 0: it begins with none.
inline std::size_t character_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  const std::size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  if (first < 0xc2 || first > 0xf4 || more >= text.size()) return 0;
  std::uint32_t point = first & (0x3fu >> more);
  for (std::size_t k = 1; k <= more; ++k) {
    const auto next = static_cast<unsigned char>(text[k]);
    if ((next & 0xc0) != 0x80) return 0;
    point = point << 6 | (next & 0x3f);
  }
  constexpr std::array<std::uint32_t, 4> least = {0, 0x80, 0x800, 0x10000};
  if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0;
  return more + 1;
}

bool valid_utf8(std::string_view text);

// What a client sent, at most 60 bytes of it, so that an answer cannot be made large by it.
std::string shown(std::string_view text);

}  // namespace reprise::api
