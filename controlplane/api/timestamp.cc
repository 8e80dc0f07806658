#include "controlplane/api/timestamp.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>

namespace reprise::api {
namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::year_month_day;

struct Parts {
  int year;
  unsigned month, day;
  std::uint64_t hour, minute, second, ms;
};

Parts parts_of(std::uint64_t ms) {
  const auto day = sys_days(days(static_cast<std::int64_t>(ms / 86'400'000)));
  const year_month_day date(day);
  const auto rest = ms % 86'400'000;
  return {static_cast<int>(date.year()),
          static_cast<unsigned>(date.month()),
          static_cast<unsigned>(date.day()),
          rest / 3'600'000,
          rest / 60'000 % 60,
          rest / 1000 % 60,
          rest % 1000};
}

// By hand: lists of the api are full of times. Years have four digits until 9999.
std::string seconds_text(const Parts& p) {
  std::string text = "0000-00-00T00:00:00";
  const auto put = [&](std::size_t at, std::uint64_t value, std::size_t count) {
    for (; count > 0; --count, value /= 10) text[at + count - 1] = static_cast<char>('0' + value % 10);
  };
  put(0, static_cast<std::uint64_t>(p.year), 4), put(5, p.month, 2), put(8, p.day, 2);
  put(11, p.hour, 2), put(14, p.minute, 2), put(17, p.second, 2);
  return text;
}

// Exactly `width` digits off the front, then `mark` (0: none).
bool take(std::string_view& text, std::size_t width, char mark, int& number) {
  if (text.size() < width + (mark != 0)) return false;
  const auto digits = text.substr(0, width);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + width, number);
  if (error != std::errc{} || end != digits.data() + width || digits[0] == '-') return false;
  if (mark != 0 && text[width] != mark) return false;
  text.remove_prefix(width + (mark != 0));
  return true;
}

bool take_offset(std::string_view text, int& minutes) {
  minutes = 0;
  if (text.empty() || text == "Z" || text == "z") return true;
  if (text[0] != '+' && text[0] != '-') return false;
  const int sign = text[0] == '-' ? -1 : 1;
  text.remove_prefix(1);
  int hours = 0;
  int rest = 0;
  if (!take(text, 2, ':', hours) || !take(text, 2, 0, rest) || !text.empty() || hours > 23 || rest > 59)
    return false;
  minutes = sign * (hours * 60 + rest);
  return true;
}

}  // namespace

std::string time_z(std::uint64_t ms) { return seconds_text(parts_of(ms)) + "Z"; }

std::string time_micros(std::uint64_t ms) {
  const auto p = parts_of(ms);
  return fmt::format("{}.{:03d}000", seconds_text(p), p.ms);
}

std::string time_micros_z(std::uint64_t ms) { return time_micros(ms) + "Z"; }

std::optional<std::uint64_t> parse_time(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, offset = 0;
  if (!take(text, 4, '-', year) || !take(text, 2, '-', month) || !take(text, 2, 0, day)) return std::nullopt;
  if (text.empty() || (text[0] != 'T' && text[0] != 't' && text[0] != ' ')) return std::nullopt;
  text.remove_prefix(1);
  if (!take(text, 2, ':', hour) || !take(text, 2, ':', minute) || !take(text, 2, 0, second))
    return std::nullopt;
  std::int64_t ms = 0;
  if (!text.empty() && text[0] == '.') {
    text.remove_prefix(1);
    std::int64_t scale = 100;
    std::size_t digits = 0;
    for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits, scale /= 10)
      ms += (text[digits] - '0') * scale;
    if (digits == 0) return std::nullopt;
    text.remove_prefix(digits);
  }
  if (!take_offset(text, offset)) return std::nullopt;
  const year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  const auto since = std::int64_t{sys_days(date).time_since_epoch().count()};
  const auto total = (((since * 24 + hour) * 60 + minute - offset) * 60 + second) * 1000 + ms;
  if (total < 0) return std::nullopt;
  return static_cast<std::uint64_t>(total);
}

std::optional<Moment> parse_moment(std::string_view text) {
  std::uint64_t seq = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seq);
  if (error == std::errc{} && end == text.data() + text.size()) return Moment(AtSeq{seq});
  if (const auto ms = parse_time(text)) return Moment(AtTime{*ms});
  return std::nullopt;
}

}  // namespace reprise::api
