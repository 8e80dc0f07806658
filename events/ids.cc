#include "events/ids.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

#include "events/check.h"

namespace reprise {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The last `count` hex digits. By hand: answers of the api are full of ids.
void put_hex(char* at, std::uint64_t value, int count) {
  for (int i = count - 1; i >= 0; --i, value >>= 4) at[i] = "0123456789abcdef"[value & 15];
}

// 128 bits from 32 hex digits, dashes only where a UUID has them.
bool parse_128(std::string_view text, std::uint64_t& hi, std::uint64_t& lo) {
  if (text.size() != 32 && text.size() != 36) return false;
  hi = lo = 0;
  int digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash_here = text.size() == 36 && (i == 8 || i == 13 || i == 18 || i == 23);
    if (dash_here) {
      if (text[i] != '-') return false;
      continue;
    }
    const int digit = hex_digit(text[i]);
    if (digit < 0) return false;
    auto& half = digits < 16 ? hi : lo;
    half = (half << 4) | static_cast<std::uint64_t>(digit);
    ++digits;
  }
  return digits == 32;
}

template <class Number>
bool parse_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

}  // namespace

template <class Tag>
std::string Id<Tag>::str() const {
  std::string text(36, '-');
  char* at = text.data();
  put_hex(at, hi >> 32, 8), put_hex(at + 9, hi >> 16, 4), put_hex(at + 14, hi, 4);
  put_hex(at + 19, lo >> 48, 4), put_hex(at + 24, lo, 12);
  return text;
}

template <class Tag>
std::string Id<Tag>::hex() const {
  std::string text(32, '0');
  put_hex(text.data(), hi, 16), put_hex(text.data() + 16, lo, 16);
  return text;
}

template <class Tag>
std::optional<Id<Tag>> Id<Tag>::parse(std::string_view text) {
  Id id;
  if (!parse_128(text, id.hi, id.lo)) return std::nullopt;
  return id;
}

template struct Id<AnyTag>;
template struct Id<CloudTag>;
template struct Id<LogTag>;
template struct Id<ControllerTag>;
template struct Id<IntentTag>;
template struct Id<ProjectTag>;
template struct Id<UserTag>;
template struct Id<RoleTag>;
template struct Id<ServerTag>;
template struct Id<ImageTag>;
template struct Id<VolumeTag>;
template struct Id<AttachmentTag>;
template struct Id<NetworkTag>;
template struct Id<SubnetTag>;
template struct Id<PortTag>;
template struct Id<NodeTag>;

std::string Born::str() const { return fmt::format("{}.{}", seq, index); }

std::optional<Born> Born::parse(std::string_view text) {
  const auto dot = text.find('.');
  Born born;
  if (dot == std::string_view::npos || !parse_number(text.substr(0, dot), born.seq) ||
      !parse_number(text.substr(dot + 1), born.index))
    return std::nullopt;
  return born;
}

std::string Hash::hex() const {
  std::string text(64, '0');
  for (std::size_t i = 0; i < bytes.size(); ++i) put_hex(text.data() + 2 * i, bytes[i], 2);
  return text;
}

std::optional<Hash> Hash::parse(std::string_view text) {
  if (text.size() != 64) return std::nullopt;
  Hash hash;
  for (std::size_t i = 0; i < 32; ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    hash.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return hash;
}

const char* topic_name(Topic topic) {
  switch (topic) {
    case Topic::intents: return "intents";
    case Topic::reports: return "reports";
    case Topic::heartbeats: return "heartbeats";
    case Topic::events: return "events";
  }
  return "?";
}

std::string Ipv4::str() const {
  char text[16];
  char* at = text;
  for (int shift = 24; shift >= 0; shift -= 8) {
    at = std::to_chars(at, text + sizeof text, (value >> shift) & 0xff).ptr;
    if (shift > 0) *at++ = '.';
  }
  return {text, at};
}

std::optional<Ipv4> Ipv4::parse(std::string_view text) {
  Ipv4 address;
  for (int part = 0; part < 4; ++part) {
    const auto dot = text.find('.');
    if ((part < 3) != (dot != std::string_view::npos)) return std::nullopt;
    const auto digits = text.substr(0, dot);
    std::uint8_t byte = 0;
    if (digits.size() > 3 || (digits.size() > 1 && digits[0] == '0') || !parse_number(digits, byte)) return std::nullopt;
    address.value = address.value << 8 | byte;
    if (part < 3) text.remove_prefix(dot + 1);
  }
  return address;
}

std::string Mac::str() const {
  std::string text(17, ':');
  for (int i = 0; i < 6; ++i) put_hex(text.data() + 3 * i, value >> (40 - 8 * i), 2);
  return text;
}

std::optional<Mac> Mac::parse(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  Mac mac;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i % 3 == 2) {
      if (text[i] != ':' && text[i] != '-') return std::nullopt;
      continue;
    }
    const int digit = hex_digit(text[i]);
    if (digit < 0) return std::nullopt;
    mac.value = mac.value << 4 | static_cast<std::uint64_t>(digit);
  }
  return mac;
}

}  // namespace reprise

std::size_t std::hash<reprise::Hash>::operator()(const reprise::Hash& hash) const noexcept {
  std::size_t value = 0;  // already uniformly random: its first bytes serve
  std::memcpy(&value, hash.bytes.data(), sizeof value);
  return value;
}
