#include "controlplane/api/ask.h"

#include <fmt/format.h>

#include <charconv>

#include "events/hash.h"

namespace reprise::api {
namespace {

constexpr std::size_t marker_chars_max = 255;

void encode_percent(std::string& out, std::string_view text) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) out.push_back(c);
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
}

}  // namespace

std::vector<std::string_view> Ask::queries(std::string_view key) const {
  std::vector<std::string_view> values;
  for (const auto& [name, value] : call_.request.query)
    if (name == key) values.push_back(value);
  return values;
}

std::optional<bool> Ask::flag(std::string_view key) {
  const auto given = query(key);
  if (!given) return std::nullopt;
  for (const std::string_view yes : {"", "1", "t", "true", "on", "y", "yes"})
    if (same_ignoring_case(*given, yes)) return true;
  for (const std::string_view no : {"0", "f", "false", "off", "n", "no"})
    if (same_ignoring_case(*given, no)) return false;
  mistakes_.add(key, "must be true or false");
  return std::nullopt;
}

Page Ask::page(std::size_t most) {
  Page page{.limit = most};
  if (const auto text = query("limit")) {
    std::size_t limit = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), limit);
    if (error == std::errc{} && end == text->data() + text->size()) {
      page.limited = limit > 0;
      if (limit > 0) page.limit = std::min(limit, most);
    } else {
      mistakes_.add("limit", "must be a whole number, 0 or more");
    }
  }
  if (const auto marker = query("marker")) {
    if (marker->size() > marker_chars_max) mistakes_.add("marker", "is no id");
    else page.marker = *marker;
  }
  return page;
}

Fields Ask::body() {
  if (!document_) {
    auto document = JsonDocument::parse(call_.request.body);
    if (!document) {
      mistakes_.add("", document.error().text);
      document = JsonDocument::parse("{}");
      unreadable_ = true;
    }
    document_.emplace(std::move(*document));
  }
  return {*document_, unreadable_ ? unheard_ : mistakes_};
}

bool Ask::no_body() const { return call_.request.body.find_first_not_of(" \t\r\n") == std::string::npos; }

std::optional<Response> Ask::bad() {
  if (mistakes_.empty()) return std::nullopt;
  return error(400, mistakes_.text());
}

std::string Ask::next_url(std::string_view marker) const {
  std::string url = base_;
  const auto first = call_.at ? std::size_t{2} : 0;
  for (std::size_t i = first; i < call_.request.segments.size(); ++i) {
    url.push_back('/');
    encode_percent(url, call_.request.segments[i]);
  }
  char before = '?';
  const auto add = [&](std::string_view key, std::string_view value) {
    url.push_back(std::exchange(before, '&'));
    encode_percent(url, key);
    url.push_back('=');
    encode_percent(url, value);
  };
  for (const auto& [key, value] : call_.request.query)
    if (key != "marker") add(key, value);
  if (!marker.empty()) add("marker", marker);
  return url;
}

AnyId Ask::next_id() {
  const Hash hash = blake2b(std::string(KeyWriter().id(seed_).number(++ids_)));
  KeyReader reader({reinterpret_cast<const char*>(hash.bytes.data()), 16});
  AnyId id;
  reader.id(id);
  id.hi = (id.hi & ~std::uint64_t{0xf000}) | 0x4000;
  id.lo = (id.lo & ~(std::uint64_t{3} << 62)) | (std::uint64_t{2} << 62);
  return id;
}

}  // namespace reprise::api
