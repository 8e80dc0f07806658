// Times as OpenStack's services print and take them. All are UTC; log time is milliseconds since 1970.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace reprise::api {

std::string time_z(std::uint64_t ms);         // 2026-11-03T09:08:07Z            nova, glance, neutron
std::string time_micros(std::uint64_t ms);    // 2026-11-03T09:08:07.123000      cinder
std::string time_micros_z(std::uint64_t ms);  // 2026-11-03T09:08:07.123000Z     keystone

// RFC 3339: date, 'T', 't' or a space, time, optional fraction, 'Z' or an offset (left out: UTC).
std::optional<std::uint64_t> parse_time(std::string_view text);

// What stands after /at/: a seq, or a time.
struct AtSeq {
  std::uint64_t seq;
  bool operator==(const AtSeq&) const = default;
};
struct AtTime {
  std::uint64_t ms;
  bool operator==(const AtTime&) const = default;
};
using Moment = std::variant<AtSeq, AtTime>;
std::optional<Moment> parse_moment(std::string_view text);
inline constexpr std::string_view not_a_moment =
    "is neither a seq nor an RFC 3339 time such as 2026-11-03T09:08:07Z";

}  // namespace reprise::api
