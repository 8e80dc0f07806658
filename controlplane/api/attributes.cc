#include "controlplane/api/attributes.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

namespace reprise::api {
namespace {

constexpr std::string_view listing_keys[] = {"limit",    "marker",   "page_reverse",
                                             "sort_key", "sort_dir", "fields"};
constexpr std::string_view no_tags_keys[] = {"tags", "tags-any"};
constexpr std::string_view any_tags_keys[] = {"not-tags", "not-tags-any"};

template <std::size_t N>
bool is_one_of(std::string_view key, const std::string_view (&keys)[N]) {
  return std::find(std::begin(keys), std::end(keys), key) != std::end(keys);
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The keys of the query that are filters, once each.
std::vector<std::string_view> filter_keys(Ask& ask, const std::vector<Attributes>& rows,
                                          const ListStyle& style) {
  std::vector<std::string_view> keys;
  for (const auto& [key, value] : ask.request().query) {
    if (is_one_of(key, listing_keys) || is_one_of(key, any_tags_keys)) continue;
    if (std::find(style.ignored.begin(), style.ignored.end(), key) != style.ignored.end()) continue;
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    const bool is_there = rows.empty() || std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return row.has(key); });
    // Keystone passes over what it does not know; neutron says so.
    if (!is_there && style.identity_links) continue;
    if (!is_there && !is_one_of(key, no_tags_keys))
      ask.mistakes().add(key, fmt::format("is no attribute of {} to filter by", style.plural));
    keys.push_back(key);
  }
  return keys;
}

void sort_rows(Ask& ask, std::vector<Attributes>& rows) {
  const auto given = ask.queries("sort_key"), directions = ask.queries("sort_dir");
  std::vector<std::string_view> keys;
  std::vector<bool> down;
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (std::find(keys.begin(), keys.end(), given[i]) != keys.end()) continue;  // it has ordered already
    const auto direction = i < directions.size() ? directions[i] : std::string_view("asc");
    if (direction != "asc" && direction != "desc") ask.mistakes().add("sort_dir", "must be asc or desc");
    if (!rows.empty() && !rows.front().has(given[i])) {
      ask.mistakes().add("sort_key", "is no attribute to sort by");
      continue;
    }
    keys.push_back(given[i]);
    down.push_back(direction == "desc");
  }
  const bool reverse = ask.flag("page_reverse").value_or(false);
  std::stable_sort(rows.begin(), rows.end(), [&](const Attributes& a, const Attributes& b) {
    for (std::size_t i = 0; i < keys.size(); ++i)
      if (const int order = a.compare(b, keys[i])) return (order < 0) != down[i];
    return a.id() < b.id();
  });
  if (reverse) std::reverse(rows.begin(), rows.end());
}

void write_links(JsonWriter& json, Ask& ask, const std::vector<Attributes>& rows, bool more, const ListStyle& style) {
  const auto next = more && !rows.empty() ? ask.next_url(rows.back().id()) : std::string();
  if (style.identity_links) {
    json.object("links")
        .field_or_null("next", next)
        .field("self", ask.own_url())
        .key("previous")
        .null()
        .end_object();
  } else if (!next.empty()) {
    json.array((std::string(style.plural) + "_links").c_str());
    json.begin_object().field("rel", "next").field("href", next).end_object().end_array();
  }
}

}  // namespace

Attributes& Attributes::text(const char* name, std::string_view value) {
  all_.push_back({name, Kind::text, {}, std::string(value)});
  return *this;
}
Attributes& Attributes::text_or_null(const char* name, std::string_view value) {
  return value.empty() ? json(name, "null") : text(name, value);
}
Attributes& Attributes::flag(const char* name, bool value) {
  const char* word = value ? "true" : "false";
  all_.push_back({name, Kind::flag, word, word});
  return *this;
}
Attributes& Attributes::number(const char* name, std::int64_t value) {
  all_.push_back({name, Kind::number, std::to_string(value), std::to_string(value)});
  return *this;
}
Attributes& Attributes::json(const char* name, std::string json, std::string text) {
  all_.push_back({name, Kind::json, std::move(json), std::move(text)});
  return *this;
}
Attributes& Attributes::also(const char* name, std::string text) {
  all_.push_back({name, Kind::hidden, {}, std::move(text)});
  return *this;
}

Attributes& Attributes::self(std::string_view url) {
  std::string links;
  JsonWriter(links).begin_object().field("self", url).end_object();
  return json("links", std::move(links));
}

Attributes& Attributes::extra(const std::vector<std::string>& all) {
  for (std::size_t i = 0; i + 1 < all.size(); i += 2) {
    if (has(all[i])) continue;
    names_.push_back(std::make_shared<const std::string>(all[i]));
    // A string is filtered by what it says, anything else by its JSON.
    std::string text = all[i + 1];
    if (text.starts_with('"')) {
      boost::system::error_code error;
      const auto value = boost::json::parse(all[i + 1], error);
      if (!error && value.is_string()) text = std::string(value.get_string());
    }
    json(names_.back()->c_str(), all[i + 1], std::move(text));
  }
  return *this;
}

const Attributes::Attribute* Attributes::find(std::string_view name) const {
  for (const auto& attribute : all_)
    if (attribute.name == name) return &attribute;
  return nullptr;
}

bool Attributes::matches(std::string_view name, const std::vector<std::string_view>& wanted) const {
  for (const auto& attribute : all_) {
    if (attribute.name != name) continue;
    if (attribute.kind != Kind::flag) {
      if (std::binary_search(wanted.begin(), wanted.end(), std::string_view(attribute.text))) return true;
      continue;
    }
    const bool set = attribute.text == "true";
    for (const auto word : wanted)
      if (same_ignoring_case(word, set ? "true" : "false") || word == (set ? "1" : "0")) return true;
  }
  return false;
}

int Attributes::compare(const Attributes& other, std::string_view name) const {
  const auto *mine = find(name), *theirs = other.find(name);
  if (mine == nullptr || theirs == nullptr) return (mine != nullptr) - (theirs != nullptr);
  if (is_digits(mine->text) && is_digits(theirs->text) && mine->text.size() != theirs->text.size())
    return mine->text.size() < theirs->text.size() ? -1 : 1;
  return mine->text.compare(theirs->text);
}

void Attributes::write(JsonWriter& json, const std::vector<std::string_view>& fields) const {
  json.begin_object();
  for (const auto& [name, kind, ready, text] : all_) {
    if (kind == Kind::hidden) continue;
    if (!fields.empty() && std::find(fields.begin(), fields.end(), name) == fields.end()) continue;
    json.key(name);
    if (kind == Kind::text) json.value(text);
    else json.raw(ready);
  }
  json.end_object();
}

Response list_response(Ask& ask, std::vector<Attributes> rows, const ListStyle& style) {
  const auto page = ask.page(SIZE_MAX);  // keystone and neutron have no limit of their own
  const auto keys = filter_keys(ask, rows, style);
  sort_rows(ask, rows);
  if (auto bad = ask.bad()) return std::move(*bad);
  for (const auto key : keys) {
    auto wanted = ask.queries(key);
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    std::erase_if(rows, [&](const Attributes& row) { return !row.matches(key, wanted); });
  }
  bool more = false;
  if (!cut_to_page(rows, page, more, [](const Attributes& row) { return row.id(); }))
    return ask.error(400, fmt::format("marker: there is no {} here", page.marker));
  std::string body;
  JsonWriter json(body);
  json.begin_object().array(style.plural);
  const auto fields = ask.queries("fields");
  for (const auto& row : rows) row.write(json, fields);
  json.end_array();
  write_links(json, ask, rows, more, style);
  json.end_object();
  return json_response(200, std::move(body));
}

Response show_response(Ask& ask, int status, const char* singular, const Attributes& row) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().key(singular);
  row.write(json, ask.queries("fields"));
  json.end_object();
  return json_response(status, std::move(body));
}

}  // namespace reprise::api
