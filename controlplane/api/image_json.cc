#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "controlplane/api/image.h"
#include "controlplane/api/timestamp.h"

namespace reprise::api {
namespace {

constexpr std::string_view settable[] = {"id",       "name",      "visibility",  "protected",
                                         "min_disk", "min_ram",   "disk_format", "container_format",
                                         "tags",     "os_hidden", "owner"};
constexpr std::string_view read_only[] = {
    "status",     "checksum", "size",       "virtual_size", "created_at",   "updated_at",    "self",
    "file",       "schema",   "direct_url", "locations",    "os_hash_algo", "os_hash_value", "deleted",
    "deleted_at", "location", "stores",     "members",      "is_public",    "owner_id"};

bool has(std::span<const std::string_view> words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

template <class Number>
void write_known(JsonWriter& json, std::string_view key, bool known, Number number) {
  json.key(key);
  known ? json.value(number) : json.null();
}

}  // namespace

bool is_image_attribute(std::string_view name) { return has(settable, name) || has(read_only, name); }
bool is_read_only_attribute(std::string_view name) { return has(read_only, name); }

std::optional<Visibility> parse_visibility(std::string_view word) {
  for (const auto visibility :
       {Visibility::private_, Visibility::public_, Visibility::shared, Visibility::community})
    if (word == visibility_word(visibility)) return visibility;
  return std::nullopt;
}

std::string check_formats(std::string_view disk, std::string_view container) {
  if (!disk.empty() && !known_disk_format(disk))
    return fmt::format(
        "Invalid value '{}' for disk_format: it must be one of raw, qcow2, vmdk, vdi, vhd, iso, ami, aki, "
        "ari",
        disk);
  if (!container.empty() && !has(container_formats, container))
    return fmt::format("Invalid value '{}' for container_format: it must be one of {}", container,
                       fmt::join(container_formats, ", "));
  const auto amazon = [](std::string_view format) {
    return format == "ami" || format == "aki" || format == "ari";
  };
  if (!disk.empty() && !container.empty() && disk != container && amazon(container))
    return "Invalid mix of disk and container formats. When setting a disk or container format to one of "
           "'aki', 'ari', or 'ami', the "
           "container and disk formats must match.";
  return {};
}

namespace {

bool is_open(const Image& image) {
  return image.visibility == Visibility::public_ || image.visibility == Visibility::community;
}

}  // namespace

// Open to everybody then, and still: who may look at the past is who may look now and might then (design, 3).
bool sees_image(const Ask& ask, const Image& image) {
  if (ask.sees(image.project)) return true;
  if (!is_open(image) || !ask.past()) return is_open(image);
  const auto now = ask.present().find<Image>(image.id);
  return now && now->born == image.born && is_open(*now);
}

std::optional<Image> seen_image(Ask& ask) {
  const auto id = ask.id<ImageId>(0);
  auto image = id ? ask.view().find<Image>(*id) : std::nullopt;
  if (image && !sees_image(ask, *image)) return std::nullopt;
  return image;
}

Response no_image(const Ask& ask, std::string_view id) {
  return ask.error(404, fmt::format("No image found with ID {}", id));
}

std::optional<Response> foreign_image(const Ask& ask, const Image& image) {
  if (ask.sees(image.project)) return std::nullopt;
  return ask.error(403,
                   fmt::format("You are not permitted to modify image {}: it belongs to another project.",
                               image.id.str()));
}

void write_image(JsonWriter& json, const Image& image) {
  const auto id = image.id.str();
  const bool active = image.status == ImageStatus::active;
  json.begin_object();
  for (std::size_t i = 0; i + 1 < image.properties.size(); i += 2)
    json.text_key(image.properties[i]).value(image.properties[i + 1]);
  json.field_or_null("name", image.name).field_or_null("disk_format", image.disk_format);
  json.field_or_null("container_format", image.container_format)
      .field("visibility", visibility_word(image.visibility));
  write_known(json, "size", active, image.size);
  write_known(json, "virtual_size", active && image.virtual_size > 0, image.virtual_size);
  json.field("status", image_status_word(image.status)).field_or_null("checksum", image.md5);
  json.field("protected", image.is_protected)
      .field("min_ram", image.min_ram_mib)
      .field("min_disk", image.min_disk_gib);
  json.field("owner", image.project.hex()).field("os_hidden", false);
  json.field_or_null("os_hash_algo", image.sha512.empty() ? "" : "sha512")
      .field_or_null("os_hash_value", image.sha512);
  json.field("id", id).field("created_at", time_z(static_cast<std::uint64_t>(image.created_ms)));
  json.field("updated_at", time_z(static_cast<std::uint64_t>(image.updated_ms))).array("tags");
  for (const auto& tag : image.tags) json.value(tag);
  json.end_array().field("self", "/v2/images/" + id).field("file", "/v2/images/" + id + "/file");
  json.field("schema", "/v2/schemas/image").end_object();
}

Plan print_image(Ask& ask, ImageId id, int status) {
  const auto image = ask.view().find<Image>(id);
  if (!image) return no_image(ask, id.str());
  std::string body;
  JsonWriter json(body);
  write_image(json, *image);
  auto response = json_response(status, std::move(body));
  if (status == 201) response.header("Location", ask.url("/image/v2/images/" + id.str()));
  return response;
}

}  // namespace reprise::api
