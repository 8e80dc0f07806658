// Compute as a whole: version documents, and the resources of nova that are always empty here.
#include <fmt/format.h>

#include "controlplane/api/compute.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::compute;

void write_version(JsonWriter& json, const Ask& ask, bool alone) {
  const auto range = microversions(service);
  json.begin_object().field("id", "v2.1").field("status", "CURRENT");
  json.field("version", fmt::format("{}.{}", range.major, range.most))
      .field("min_version", fmt::format("{}.{}", range.major, range.least));
  json.field("updated", "2013-07-23T11:33:21Z").array("links");
  write_link(json, "self", ask.url("/compute/v2.1/"));
  json.end_array();
  if (alone) {
    json.array("media-types").begin_object().field("base", "application/json");
    json.field("type", "application/vnd.openstack.compute+json;version=2.1").end_object().end_array();
  }
  json.end_object();
}

Plan versions(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("versions");
  write_version(json, ask, false);
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

Plan version(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("version");
  write_version(json, ask, true);
  json.end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void write_link(JsonWriter& json, std::string_view rel, std::string_view href) {
  json.begin_object().field("rel", rel).field("href", href).end_object();
}

Response not_implemented(const Ask& ask, std::string_view what) {
  return ask.error(501, fmt::format("{}.", what));
}

void register_compute_services(Api& api) {
  api.read(service, "/", Need::nothing, versions);
  api.read(service, "/v2.1", Need::nothing, version);
  const auto empty = [&](std::string_view path, Need need, std::string_view body) {
    api.read(service, path, need,
             microversioned([body](Ask&) -> Plan { return json_response(200, std::string(body)); }));
  };
  empty("/v2.1/extensions", Need::token, R"({"extensions":[]})");
  empty("/v2.1/os-aggregates", Need::admin, R"({"aggregates":[]})");
  empty("/v2.1/os-server-groups", Need::reader, R"({"server_groups":[]})");
  empty("/v2.1/os-migrations", Need::admin, R"({"migrations":[]})");
  const auto refuse = [&](Method method, std::string_view path, std::string_view what) {
    const auto handle = microversioned([what](Ask& ask) -> Plan { return not_implemented(ask, what); });
    if (method == Method::get) api.read(service, path, Need::reader, handle);
    else api.write(service, method, path, Need::member, handle);
  };
  refuse(Method::post, "/v2.1/os-server-groups",
         "Server groups are not here yet; name the host of each server (availability_zone ZONE:HOST) as an "
         "admin");
  refuse(Method::post, "/v2.1/os-aggregates",
         "Host aggregates are not here yet; nodes have a zone in their configuration");
  constexpr std::string_view usage =
      "Usage over time is not added up here yet; what is used now is shown by limits and by "
      "os-quota-sets/{project}/detail";
  refuse(Method::get, "/v2.1/os-simple-tenant-usage", usage);
  refuse(Method::get, "/v2.1/os-simple-tenant-usage/{project}", usage);
}

void register_compute(Api& api) {
  register_compute_services(api);
  register_flavors(api);
  register_keypairs(api);
  register_servers(api);
  register_server_list(api);
  register_server_actions(api);
  register_server_parts(api);
  register_server_volumes(api);
  register_instance_actions(api);
  register_compute_limits(api);
  register_hypervisors(api);
}

}  // namespace reprise::api
