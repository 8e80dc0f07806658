// A resource as named attributes: made once from its row, then filtered, sorted, cut to a page and shown as
// the query says. For lists of hundreds; long lists write their JSON directly.
//
//   ?name=a&name=b        either; true, True and 1 are the same for flags; unknown names are a mistake
//   ?sort_key=…&sort_dir=asc|desc   several, in order; then by id
//   ?limit=…&marker=…     page_reverse turns the direction
//   ?fields=id&fields=name
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/api/ask.h"

namespace reprise::api {

class Attributes {
 public:
  // The first attribute of every resource.
  explicit Attributes(std::string id) { text("id", id); }

  Attributes& text(const char* name, std::string_view value);
  Attributes& text_or_null(const char* name, std::string_view value);
  Attributes& flag(const char* name, bool value);
  Attributes& number(const char* name, std::int64_t value);
  // Ready JSON; filtered by `text`, if it has one.
  Attributes& json(const char* name, std::string json, std::string text = {});
  // "links": {"self": url}, as everything of keystone's has.
  Attributes& self(std::string_view url);
  // What a client keeps under names of its own: name, JSON, name, JSON, …; none under a name that is there already.
  Attributes& extra(const std::vector<std::string>& all);
  // Further values that the attribute's filter also takes (the addresses of a port).
  Attributes& also(const char* name, std::string text);

  const std::string& id() const { return all_.front().text; }
  // One of them, which are sorted.
  bool matches(std::string_view name, const std::vector<std::string_view>& wanted) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // Negative, 0, positive: as numbers when both are.
  int compare(const Attributes& other, std::string_view name) const;
  void write(JsonWriter& json, const std::vector<std::string_view>& fields = {}) const;

 private:
  enum class Kind : std::uint8_t { text, flag, number, json, hidden };
  struct Attribute {
    const char* name;
    Kind kind;
    std::string json;  // of text: empty, it is written from `text`
    std::string text;
  };
  const Attribute* find(std::string_view name) const;
  std::vector<Attribute> all_;
  std::vector<std::shared_ptr<const std::string>> names_;  // of extra()
};

struct ListStyle {
  const char* plural = "";      // "networks"
  bool identity_links = false;  // keystone's "links" object; else neutron's "networks_links" when something is left off
  std::vector<std::string_view> ignored;  // query keys that are no filters, or were used already
};

Response list_response(Ask& ask, std::vector<Attributes> rows, const ListStyle& style);
// {"network": {…}}
Response show_response(Ask& ask, int status, const char* singular, const Attributes& row);

}  // namespace reprise::api
