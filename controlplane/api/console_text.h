// A serial console's raw bytes as text that JSON can carry.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace reprise::api {

// The last `lines` lines (all when it is nothing). Control characters but tab and newline are dropped, as
// nova does; bytes that are not UTF-8 become U+FFFD, a character that was cut at the beginning too.
std::string console_text(std::string_view bytes, std::optional<std::int64_t> lines);

}  // namespace reprise::api
