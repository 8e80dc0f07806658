#include "controlplane/api/image_patch.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "controlplane/api/utf8.h"

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
  Patch(Ask& ask, UpdateImage& image) : ask_(ask), image_(image) {}

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

  void read(Fields& fields, const std::string& name) {
    if (name == "name") image_.name = fields.optional_string(name, 0, 255).value_or("");
    else if (name == "visibility")
      image_.visibility =
          parse_visibility(fields.word(name, {"shared", "private", "public", "community"})).value();
    else if (name == "protected") image_.protected_ = fields.boolean(name);
    else if (name == "min_disk")
      image_.min_disk_gib = static_cast<std::uint64_t>(fields.integer(name, 0, 64 * 1024));
    else if (name == "min_ram")
      image_.min_ram_mib = static_cast<std::uint64_t>(fields.integer(name, 0, 16 * 1024 * 1024));
    else if (name == "disk_format") image_.disk_format = fields.optional_string(name, 0, 32).value_or("");
    else if (name == "container_format")
      image_.container_format = fields.optional_string(name, 0, 32).value_or("");
    else if (name == "os_hidden" && fields.boolean(name))
      fields.fail(name, "images are not hidden here: it must be false");
    else if (name == "tags") set_tags(fields.strings(name, image_tags_max, 1, 255));
  }

  void set_tags(std::vector<std::string> tags) {
    image_.tags.clear();
    for (auto& tag : tags)
      if (std::find(image_.tags.begin(), image_.tags.end(), tag) == image_.tags.end())
        image_.tags.push_back(std::move(tag));
  }

  std::optional<Response> set_property(std::string_view verb, const std::string& name,
                                       const json::value* value) {
    auto& all = image_.properties;
    std::size_t at = 0;
    while (at + 1 < all.size() && all[at] != name) at += 2;
    const bool there = at + 1 < all.size();
    if (!there && verb != "add") return ask_.error(409, fmt::format("Property {} does not exist.", name));
    if (verb == "remove") {
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(at),
                all.begin() + static_cast<std::ptrdiff_t>(at + 2));
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
    return std::nullopt;
  }

  Ask& ask_;
  UpdateImage& image_;
};

}  // namespace

UpdateImage unchanged(const Image& image) {
  return {.id = image.id,
          .name = image.name,
          .visibility = image.visibility,
          .protected_ = image.is_protected,
          .min_disk_gib = image.min_disk_gib,
          .min_ram_mib = image.min_ram_mib,
          .properties = image.properties,
          .tags = image.tags,
          .disk_format = image.disk_format,
          .container_format = image.container_format};
}

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
  auto changed = unchanged(image);
  Patch patch(ask, changed);
  for (const auto& operation : *operations)
    if (auto refused = patch.apply(operation)) return std::move(*refused);
  if (const auto wrong = check_formats(changed.disk_format, changed.container_format); !wrong.empty())
    return ask.error(400, wrong);
  return changed;
}

}  // namespace reprise::api
