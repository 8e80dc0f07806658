// What the image service says of itself: versions, schemas, and the resources of glance that are always empty
// here.
#include <fmt/format.h>

#include "controlplane/api/image.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::image;

// What is here is 2.5 (community images); later ones bring imports and stores, which are not.
constexpr const char* versions_here[] = {"v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"};

std::string versions_body(const Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("versions");
  for (const auto* version : versions_here) {
    json.begin_object()
        .field("id", version)
        .field("status", version == versions_here[0] ? "CURRENT" : "SUPPORTED")
        .array("links");
    json.begin_object()
        .field("rel", "self")
        .field("href", ask.url("/image/v2/"))
        .end_object()
        .end_array()
        .end_object();
  }
  json.end_array().end_object();
  return body;
}

struct Attribute {
  const char* name;
  const char* type;  // JSON schema
};
constexpr Attribute attributes[] = {
    {"id",
     R"({"type":"string","pattern":"^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"})"},
    {"name", R"({"type":["null","string"],"maxLength":255})"},
    {"status", R"({"type":"string","readOnly":true,"enum":["queued","active"]})"},
    {"visibility", R"({"type":"string","enum":["community","public","private","shared"]})"},
    {"protected", R"({"type":"boolean"})"},
    {"os_hidden", R"({"type":"boolean"})"},
    {"checksum", R"({"type":["null","string"],"readOnly":true,"maxLength":32})"},
    {"os_hash_algo", R"({"type":["null","string"],"readOnly":true,"maxLength":64})"},
    {"os_hash_value", R"({"type":["null","string"],"readOnly":true,"maxLength":128})"},
    {"owner", R"({"type":["null","string"],"maxLength":255})"},
    {"size", R"({"type":["null","integer"],"readOnly":true})"},
    {"virtual_size", R"({"type":["null","integer"],"readOnly":true})"},
    {"container_format", R"({"type":["null","string"],"enum":[null,"bare","ami","aki","ari"]})"},
    {"disk_format",
     R"({"type":["null","string"],"enum":[null,"raw","qcow2","vmdk","vdi","vhd","iso","ami","aki","ari"]})"},
    {"created_at", R"({"type":"string","readOnly":true})"},
    {"updated_at", R"({"type":"string","readOnly":true})"},
    {"tags", R"({"type":"array","items":{"type":"string","maxLength":255}})"},
    {"self", R"({"type":"string","readOnly":true})"},
    {"file", R"({"type":"string","readOnly":true})"},
    {"schema", R"({"type":"string","readOnly":true})"},
    {"min_disk", R"({"type":"integer"})"},
    {"min_ram", R"({"type":"integer"})"},
    {"kernel_id", R"({"type":["null","string"],"is_base":false})"},
    {"ramdisk_id", R"({"type":["null","string"],"is_base":false})"},
    {"os_command_line", R"({"type":"string","is_base":false})"},
};

void write_schema(JsonWriter& json) {
  json.begin_object().field("name", "image").object("properties");
  for (const auto& attribute : attributes) json.key(attribute.name).raw(attribute.type);
  json.end_object().key("additionalProperties").raw(R"({"type":"string"})");
  json.array("links");
  for (const auto* link : {"self", "file"})
    json.begin_object()
        .field("rel", link[0] == 's' ? "self" : "enclosure")
        .field("href", fmt::format("{{{}}}", link))
        .end_object();
  json.begin_object()
      .field("rel", "describedby")
      .field("href", "{schema}")
      .end_object()
      .end_array()
      .end_object();
}

Plan image_schema(Ask&) {
  std::string body;
  JsonWriter json(body);
  write_schema(json);
  return json_response(200, std::move(body));
}

Plan images_schema(Ask&) {
  std::string body;
  JsonWriter json(body);
  json.begin_object()
      .field("name", "images")
      .object("properties")
      .object("images")
      .field("type", "array")
      .key("items");
  write_schema(json);
  json.end_object();
  for (const auto* link : {"first", "next", "schema"}) json.object(link).field("type", "string").end_object();
  json.end_object().array("links");
  for (const auto* link : {"first", "next"})
    json.begin_object().field("rel", link).field("href", fmt::format("{{{}}}", link)).end_object();
  json.begin_object()
      .field("rel", "describedby")
      .field("href", "{schema}")
      .end_object()
      .end_array()
      .end_object();
  return json_response(200, std::move(body));
}

// Below an image that the actor may see.
Handle members() {
  return [](Ask& ask) -> Plan {
    if (!seen_image(ask)) return no_image(ask, ask.param(0));
    return json_response(200, R"({"members":[],"schema":"/v2/schemas/members"})");
  };
}

}  // namespace

void register_image_versions(Api& api) {
  api.read(service, "/", Need::nothing,
           [](Ask& ask) -> Plan { return json_response(300, versions_body(ask)); });
  api.read(service, "/versions", Need::nothing,
           [](Ask& ask) -> Plan { return json_response(200, versions_body(ask)); });
  api.read(service, "/v2", Need::nothing,
           [](Ask& ask) -> Plan { return json_response(200, versions_body(ask)); });
  api.read(service, "/v2/schemas/image", Need::token, image_schema);
  api.read(service, "/v2/schemas/images", Need::token, images_schema);
  api.read(service, "/v2/info/import", Need::token, [](Ask&) -> Plan {
    return json_response(
        200, R"({"import-methods":{"description":"Import methods available.","type":"array","value":[]}})");
  });
  api.read(service, "/v2/images/{id}/members", Need::reader, members());
  api.read(service, "/v2/tasks", Need::reader, [](Ask&) -> Plan {
    return json_response(200, R"({"tasks":[],"first":"/v2/tasks","schema":"/v2/schemas/tasks"})");
  });

  const auto refuse = [&](Method method, std::string_view path, std::string_view what) {
    api.write(service, method, path, Need::member, [what](Ask& ask) -> Plan { return ask.error(501, what); });
  };
  constexpr std::string_view imports =
      "Images are not imported here; send the data with PUT /v2/images/{id}/file.";
  refuse(Method::post, "/v2/images/{id}/import", imports);
  refuse(Method::put, "/v2/images/{id}/stage", imports);
  refuse(Method::post, "/v2/tasks", imports);
  constexpr std::string_view sharing =
      "Images are not shared with single projects here; make the image public or community.";
  refuse(Method::post, "/v2/images/{id}/members", sharing);
  refuse(Method::put, "/v2/images/{id}/members/{member}", sharing);
  refuse(Method::del, "/v2/images/{id}/members/{member}", sharing);
  constexpr std::string_view switching =
      "Images are not deactivated here; delete the image, or make it private.";
  refuse(Method::post, "/v2/images/{id}/actions/deactivate", switching);
  refuse(Method::post, "/v2/images/{id}/actions/reactivate", switching);
}

}  // namespace reprise::api
