#include "controlplane/api/image_patch.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "controlplane/api/utf8.h"
#include "events/named.h"

namespace reprise::api {
namespace {

namespace json = boost::json;

constexpr std::string_view media_types[] = {"application/openstack-images-v2.1-json-patch",
                                            "application/json-patch+json"};
constexpr std::size_t operations_max = 256;

std::string_view text_of(const json::string& text) { return {text.data(), text.size()}; }

// One level of a JSON pointer (RFC 6901); nothing when it has more or is malformed.
std::optional<std::string> name_of(std::string_view path) {
  if (path.size() < 2 || path[0] != '/' || path.find('/', 1) != path.npos) return std::nullopt;
  std::string name;
  for (std::size_t i = 1; i < path.size(); ++i) {
    if (path[i] != '~') name.push_back(path[i]);
    else if (++i < path.size() && (path[i] == '0' || path[i] == '1'))
      name.push_back(path[i] == '0' ? '~' : '/');
    else return std::nullopt;
  }
  return name;
}

class Patch {
 public:
  Patch(Ask& ask, const Image& image)
      : ask_(ask), properties_(image.properties), image_{.id = image.id, .named = 0} {}

  std::optional<Response> apply(const json::value& operation) {
    const auto* object = operation.if_object();
    const auto* op = object ? object->if_contains("op") : nullptr;
    const auto* path = object ? object->if_contains("path") : nullptr;
    if (!op || !op->is_string() || !path || !path->is_string())
      return ask_.error(
          400, "Each operation is an object with the strings op and path, and a value for add and replace.");
    const auto verb = text_of(op->get_string());
    if (verb != "add" && verb != "replace" && verb != "remove")
      return ask_.error(400, fmt::format("Operations must be one of add, replace, remove; '{}' is not.",
                                         shown(verb)));
    const auto name = name_of(text_of(path->get_string()));
    if (!name)
      return ask_.error(
          400,
          "Invalid JSON pointer for this resource: it must be '/' and the name of an attribute or property.");
    if (is_read_only_attribute(*name) || *name == "id" || *name == "owner")
      return ask_.error(403, fmt::format("Attribute '{}' is read-only.", *name));
    const auto* value = object->if_contains("value");
    if (is_image_attribute(*name)) {
      if (verb == "remove") return ask_.error(403, fmt::format("Property '{}' may not be removed.", *name));
      if (!value) return ask_.error(400, "Operation has no value: give one.");
      return set_attribute(*name, *value);
    }
    return set_property(verb, *name, value);
  }
  UpdateImage done() { return std::move(image_); }

 private:
  // Wraps the value so that it is read under the same rules as in a create.
  std::optional<Response> set_attribute(const std::string& name, const json::value& value) {
    const auto document = JsonDocument::parse(json::serialize(json::object{{name, value}}));
    if (!document) return ask_.error(400, document.error().text);
    Mistakes mistakes;
    Fields fields(*document, mistakes);
    read(fields, name);
    if (!mistakes.empty()) return ask_.error(400, mistakes.text());
    return std::nullopt;
  }

  void read(Fields& fields, const std::string& key) {
    using Named = wire::UpdateImageNamed;
    const auto text = [&](std::size_t chars_max) { return fields.optional_string(key, 0, chars_max).value_or(""); };
    const auto number = [&](std::int64_t max) { return static_cast<std::uint64_t>(fields.integer(key, 0, max)); };
    if (key == "name") name(image_, Named::VT_NAME, image_.name, text(255));
    else if (key == "visibility")
      name(image_, Named::VT_VISIBILITY, image_.visibility,
           parse_visibility(fields.word(key, {"shared", "private", "public", "community"})).value());
    else if (key == "protected") name(image_, Named::VT_PROTECTED_, image_.protected_, fields.boolean(key));
    else if (key == "min_disk") name(image_, Named::VT_MIN_DISK_GIB, image_.min_disk_gib, number(64 * 1024));
    else if (key == "min_ram") name(image_, Named::VT_MIN_RAM_MIB, image_.min_ram_mib, number(16 * 1024 * 1024));
    else if (key == "disk_format") name(image_, Named::VT_DISK_FORMAT, image_.disk_format, text(32));
    else if (key == "container_format") name(image_, Named::VT_CONTAINER_FORMAT, image_.container_format, text(32));
    else if (key == "os_hidden" && fields.boolean(key))
      fields.fail(key, "images are not hidden here: it must be false");
    else if (key == "tags")
      name(image_, Named::VT_TAGS, image_.tags, without_repeats(fields.strings(key, image_tags_max, 1, 255)));
  }

  static std::vector<std::string> without_repeats(const std::vector<std::string>& all) {
    std::vector<std::string> once;
    for (const auto& one : all)
      if (std::find(once.begin(), once.end(), one) == once.end()) once.push_back(one);
    return once;
  }

  std::optional<Response> set_property(std::string_view verb, const std::string& name,
                                       const json::value* value) {
    auto& all = properties_;
    std::size_t at = 0;
    while (at + 1 < all.size() && all[at] != name) at += 2;
    const bool there = at + 1 < all.size();
    if (!there && verb != "add") return ask_.error(409, fmt::format("Property {} does not exist.", name));
    if (verb == "remove") {
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(at),
                all.begin() + static_cast<std::ptrdiff_t>(at + 2));
      forget(name);
      image_.properties_removed.push_back(name);
      return std::nullopt;
    }
    if (count_characters(name) > 255) return ask_.error(400, "Names of properties have 1 to 255 characters.");
    const auto* text = value ? value->if_string() : nullptr;
    if (!text || count_characters(text_of(*text)) > image_property_chars_max)
      return ask_.error(400, fmt::format("Property {} must be a string of at most {} characters.", name,
                                         image_property_chars_max));
    if (there) all[at + 1] = text_of(*text);
    else if (all.size() / 2 >= image_properties_max)
      return ask_.error(413, fmt::format("An image has at most {} properties.", image_properties_max));
    else all.push_back(name), all.emplace_back(text_of(*text));
    forget(name);
    image_.properties_set.push_back(name), image_.properties_set.emplace_back(text_of(*text));
    return std::nullopt;
  }

  // What an earlier operation asked of it.
  void forget(const std::string& name) {
    std::erase(image_.properties_removed, name);
    auto& set = image_.properties_set;
    for (std::size_t at = 0; at + 1 < set.size(); at += 2)
      if (set[at] == name) {
        set.erase(set.begin() + static_cast<std::ptrdiff_t>(at), set.begin() + static_cast<std::ptrdiff_t>(at + 2));
        return;
      }
  }

  Ask& ask_;
  std::vector<std::string> properties_;  // as they are after the operations so far
  UpdateImage image_;
};

}  // namespace

std::variant<UpdateImage, Response> patch_image(Ask& ask, const Image& image) {
  auto type = ask.request().header("Content-Type");
  type = type.substr(0, type.find(';'));
  if (std::none_of(std::begin(media_types), std::end(media_types),
                   [&](auto known) { return same_ignoring_case(known, type); }))
    return ask.error(415, fmt::format("The Content-Type must be {}.", media_types[0]));
  const auto document = JsonDocument::parse(ask.request().body);
  if (!document) return ask.error(400, document.error().text);
  const auto* operations = document->root().if_array();
  if (!operations || operations->size() > operations_max)
    return ask.error(400, fmt::format("Request body must be a JSON array of at most {} operation objects.",
                                      operations_max));
  Patch patch(ask, image);
  for (const auto& operation : *operations)
    if (auto refused = patch.apply(operation)) return std::move(*refused);
  auto changed = patch.done();
  using Named = wire::UpdateImageNamed;
  const auto& disk = is_named(changed, Named::VT_DISK_FORMAT) ? changed.disk_format : image.disk_format;
  const auto& container = is_named(changed, Named::VT_CONTAINER_FORMAT) ? changed.container_format : image.container_format;
  if (const auto wrong = check_formats(disk, container); !wrong.empty()) return ask.error(400, wrong);
  return changed;
}

}  // namespace reprise::api
