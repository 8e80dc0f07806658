#include "controlplane/api/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parser.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <charconv>

#include "controlplane/api/utf8.h"

namespace reprise::api {
namespace json = boost::json;

// The tree lives in one arena that goes with the document.
struct JsonDocument::Held {
  json::monotonic_resource arena;
  json::value root;
};

JsonDocument::JsonDocument(std::unique_ptr<Held> held) : held_(std::move(held)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;
const json::value& JsonDocument::root() const { return held_->root; }

Result<JsonDocument> JsonDocument::parse(std::string_view text) {
  auto held = std::make_unique<Held>();
  json::parse_options options;
  options.max_depth = json_depth_max;
  std::array<unsigned char, 4096> scratch{};
  json::parser parser(json::storage_ptr(), options, scratch.data(), scratch.size());
  parser.reset(&held->arena);
  json::error_code ec;
  const auto read = parser.write_some(text.data(), text.size(), ec);
  if (!ec && read < text.size()) ec = json::error::extra_data;
  if (ec) {
    const auto before = text.substr(0, read);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto column = read - (before.rfind('\n') + 1) + 1;
    if (ec == json::error::too_deep)
      return {Errc::invalid,
              fmt::format("the JSON body is nested deeper than {} levels: send it flatter", json_depth_max)};
    return {Errc::invalid,
            fmt::format("the body is not valid JSON: {} at line {}, column {}", ec.message(), line, column)};
  }
  held->root = parser.release();
  return JsonDocument(std::move(held));
}

void Mistakes::add(std::string_view path, std::string_view what) {
  ++count_;
  if (count_ > 16) return;
  if (count_ > 1) text_.append("; ");
  if (count_ == 16) {
    text_.append("and more: mend these first");
    return;
  }
  text_.append(path);
  if (!path.empty()) text_.append(": ");
  text_.append(what);
}

std::size_t count_characters(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(
      utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

namespace {

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

const char* kind_name(json::kind kind) {
  switch (kind) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "?";
}

bool is_control(char c, bool lines) {
  if (lines && (c == '\n' || c == '\r' || c == '\t')) return false;
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

}  // namespace

Fields::Fields(const JsonDocument& document, Mistakes& mistakes) : mistakes_(&mistakes) {
  object_ = document.root().if_object();
  if (object_ == nullptr)
    mistakes.add("",
                 fmt::format("the body must be a JSON object, it is {}", kind_name(document.root().kind())));
}

std::string Fields::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void Fields::fail(std::string_view key, std::string_view what) { mistakes_->add(path_of(key), what); }

const json::value* Fields::find(std::string_view key) {
  seen_.emplace_back(key);
  if (object_ == nullptr) return nullptr;
  const auto* value = object_->if_contains(json::string_view(key.data(), key.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

const json::value* Fields::required(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr && object_ != nullptr) fail(key, "is required and missing");
  return value;
}

std::string Fields::read_string(const json::value& value, const std::string& path, std::size_t least,
                                std::size_t most, bool lines) {
  const auto* held = value.if_string();
  if (held == nullptr) {
    mistakes_->add(path, fmt::format("must be a string, it is {}", kind_name(value.kind())));
    return {};
  }
  const auto text = view(*held);
  const auto count = count_characters(text);
  if (count < least || count > most) {
    mistakes_->add(path, fmt::format("must have {} to {} characters, it has {}", least, most, count));
    return {};
  }
  if (std::any_of(text.begin(), text.end(), [lines](char c) { return is_control(c, lines); })) {
    mistakes_->add(path, "must not hold control characters: take them out");
    return {};
  }
  return std::string(text);
}

std::string Fields::string(std::string_view key, std::size_t least, std::size_t most) {
  const auto* value = required(key);
  return value != nullptr ? read_string(*value, path_of(key), least, most, false) : std::string();
}

std::optional<std::string> Fields::optional_string(std::string_view key, std::size_t least,
                                                   std::size_t most) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  return read_string(*value, path_of(key), least, most, false);
}

std::string Fields::text(std::string_view key, std::size_t least, std::size_t most) {
  const auto* value = required(key);
  return value != nullptr ? read_string(*value, path_of(key), least, most, true) : std::string();
}

std::optional<std::string> Fields::optional_text(std::string_view key, std::size_t least, std::size_t most) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  return read_string(*value, path_of(key), least, most, true);
}

std::int64_t Fields::read_integer(const json::value& value, std::string_view key, std::int64_t least,
                                  std::int64_t most) {
  std::int64_t number = 0;
  bool good = false;
  if (value.is_int64()) {
    number = value.get_int64();
    good = true;
  } else if (const auto* text = value.if_string(); text != nullptr && !text->empty()) {
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    good = error == std::errc{} && end == text->data() + text->size();
  } else if (!value.is_number() && !value.is_string()) {
    fail(key, fmt::format("must be a whole number, it is {}", kind_name(value.kind())));
    return least;
  }
  if (good && number >= least && number <= most) return number;
  fail(key, fmt::format("must be a whole number from {} to {}", least, most));
  return least;
}

std::int64_t Fields::integer(std::string_view key, std::int64_t least, std::int64_t most) {
  const auto* value = required(key);
  return value != nullptr ? read_integer(*value, key, least, most) : least;
}

std::optional<std::int64_t> Fields::optional_integer(std::string_view key, std::int64_t least,
                                                     std::int64_t most) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  return read_integer(*value, key, least, most);
}

bool Fields::read_boolean(const json::value& value, std::string_view key) {
  if (value.is_bool()) return value.get_bool();
  if (value.is_int64() && (value.get_int64() == 0 || value.get_int64() == 1)) return value.get_int64() == 1;
  if (const auto* text = value.if_string()) {
    std::string lower(text->data(), text->size());
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
    if (lower == "true" || lower == "1" || lower == "on" || lower == "yes") return true;
    if (lower == "false" || lower == "0" || lower == "off" || lower == "no") return false;
  }
  fail(key, "must be true or false");
  return false;
}

bool Fields::boolean(std::string_view key) {
  const auto* value = required(key);
  return value != nullptr && read_boolean(*value, key);
}

std::optional<bool> Fields::optional_boolean(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  return read_boolean(*value, key);
}

AnyId Fields::read_id(const json::value& value, std::string_view key) {
  const auto* text = value.if_string();
  const auto id = text != nullptr ? AnyId::parse(view(*text)) : std::nullopt;
  if (id) return *id;
  fail(key, text != nullptr ? fmt::format("'{}' is not a UUID", shown(view(*text)))
                            : fmt::format("must be a UUID, it is {}", kind_name(value.kind())));
  return {};
}

AnyId Fields::id(std::string_view key) {
  const auto* value = required(key);
  return value != nullptr ? read_id(*value, key) : AnyId{};
}

std::optional<AnyId> Fields::optional_id(std::string_view key) {
  const auto* value = find(key);
  if (value == nullptr) return std::nullopt;
  return read_id(*value, key);
}

std::string Fields::read_word(const json::value& value, std::string_view key,
                              const std::vector<std::string_view>& words) {
  const auto* text = value.if_string();
  if (text != nullptr && std::find(words.begin(), words.end(), view(*text)) != words.end())
    return std::string(view(*text));
  fail(key, fmt::format("must be one of: {}", fmt::join(words, ", ")));
  return std::string(words.front());
}

std::string Fields::word(std::string_view key, const std::vector<std::string_view>& words) {
  const auto* value = required(key);
  return value != nullptr ? read_word(*value, key, words) : std::string(words.front());
}

std::string Fields::optional_word(std::string_view key, const std::vector<std::string_view>& words) {
  const auto* value = find(key);
  return value != nullptr ? read_word(*value, key, words) : std::string(words.front());
}

Fields Fields::object(std::string_view key) {
  const auto* value = required(key);
  const auto* held = value != nullptr ? value->if_object() : nullptr;
  if (value != nullptr && held == nullptr)
    fail(key, fmt::format("must be an object, it is {}", kind_name(value->kind())));
  return {held, path_of(key), *mistakes_};
}

std::optional<Fields> Fields::optional_object(std::string_view key) {
  if (find(key) == nullptr) return std::nullopt;
  return object(key);
}

std::vector<Fields> Fields::objects(std::string_view key, std::size_t most) {
  std::vector<Fields> list;
  const auto* value = find(key);
  if (value == nullptr) return list;
  const auto* array = value->if_array();
  if (array == nullptr || array->size() > most) {
    fail(key, fmt::format("must be an array of at most {} objects", most));
    return list;
  }
  for (std::size_t i = 0; i < array->size(); ++i) {
    const auto path = fmt::format("{}[{}]", path_of(key), i);
    const auto* held = (*array)[i].if_object();
    if (held == nullptr) mistakes_->add(path, "must be an object");
    else list.push_back(Fields(held, path, *mistakes_));
  }
  return list;
}

std::vector<std::string> Fields::strings(std::string_view key, std::size_t most, std::size_t least_chars,
                                         std::size_t most_chars) {
  std::vector<std::string> list;
  const auto* value = find(key);
  if (value == nullptr) return list;
  const auto* array = value->if_array();
  if (array == nullptr || array->size() > most) {
    fail(key, fmt::format("must be an array of at most {} strings", most));
    return list;
  }
  for (std::size_t i = 0; i < array->size(); ++i)
    list.push_back(
        read_string((*array)[i], fmt::format("{}[{}]", path_of(key), i), least_chars, most_chars, false));
  return list;
}

std::vector<std::pair<std::string, std::string>> Fields::string_map(std::string_view key,
                                                                    std::size_t entries_most,
                                                                    std::size_t chars_most) {
  std::vector<std::pair<std::string, std::string>> map;
  const auto* value = find(key);
  if (value == nullptr) return map;
  const auto* held = value->if_object();
  if (held == nullptr || held->size() > entries_most) {
    fail(key, fmt::format("must be an object of at most {} strings", entries_most));
    return map;
  }
  for (const auto& entry : *held) {
    const std::string_view name(entry.key().data(), entry.key().size());
    const auto path = fmt::format("{}.{}", path_of(key), shown(name));
    if (name.empty() || count_characters(name) > chars_most ||
        std::any_of(name.begin(), name.end(), [](char c) { return is_control(c, false); }))
      mistakes_->add(path,
                     fmt::format("keys must have 1 to {} characters, no control characters", chars_most));
    else map.emplace_back(name, read_string(entry.value(), path, 0, chars_most, true));
  }
  return map;
}

JsonKind Fields::kind(std::string_view key) const {
  const auto* value =
      object_ != nullptr ? object_->if_contains(json::string_view(key.data(), key.size())) : nullptr;
  if (value == nullptr) return JsonKind::absent;
  switch (value->kind()) {
    case json::kind::null:
      return JsonKind::null;
    case json::kind::bool_:
      return JsonKind::boolean;
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return JsonKind::number;
    case json::kind::string:
      return JsonKind::string;
    case json::kind::array:
      return JsonKind::array;
    case json::kind::object:
      return JsonKind::object;
  }
  return JsonKind::absent;
}

std::size_t Fields::size(std::string_view key) const {
  const auto* value = object_ != nullptr ? object_->if_contains(json::string_view(key.data(), key.size())) : nullptr;
  if (value == nullptr) return 0;
  return value->is_array() ? value->get_array().size() : value->is_object() ? value->get_object().size() : 0;
}

std::vector<std::string> Fields::keys() const {
  std::vector<std::string> names;
  if (object_ != nullptr)
    for (const auto& entry : *object_) names.emplace_back(entry.key().data(), entry.key().size());
  return names;
}

std::vector<std::string> Fields::rest(std::size_t entries_most, std::size_t bytes_most,
                                      const std::vector<std::string_view>& named_otherwise) {
  std::vector<std::string> kept;
  std::size_t bytes = 0;
  if (object_ == nullptr) return kept;
  std::sort(seen_.begin(), seen_.end());
  const auto known = seen_.size();
  for (const auto& entry : *object_) {
    const std::string_view name(entry.key().data(), entry.key().size());
    if (std::binary_search(seen_.begin(), seen_.begin() + static_cast<std::ptrdiff_t>(known), name)) continue;
    seen_.emplace_back(name);
    if (std::find(named_otherwise.begin(), named_otherwise.end(), name) != named_otherwise.end()) continue;
    kept.emplace_back(name);
    kept.push_back(kept.size() / 2 > entries_most ? std::string() : boost::json::serialize(entry.value()));
    bytes += name.size() + kept.back().size();
  }
  if (kept.size() / 2 > entries_most || bytes > bytes_most)
    fail("", fmt::format("holds more fields of its own than are kept: at most {}, of {} bytes together", entries_most, bytes_most));
  return kept;
}

void Fields::done() {
  if (object_ == nullptr) return;
  std::sort(seen_.begin(), seen_.end());  // a request may have a hundred thousand fields
  for (const auto& entry : *object_) {
    const std::string_view name(entry.key().data(), entry.key().size());
    if (!std::binary_search(seen_.begin(), seen_.end(), name))
      fail(shown(name), "is not a field of this request: leave it out");
  }
}

}  // namespace reprise::api
