// The volume service as a whole: versions, its one type, services and zones, and what is always empty here.
#include <fmt/format.h>

#include <algorithm>

#include "controlplane/api/volume.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::volume;

std::string versions_body(const Ask& ask) {
  const auto range = microversions(service);
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("versions").begin_object().field("id", "v3.0").field("status", "CURRENT");
  json.field("version", fmt::format("{}.{}", range.major, range.most))
      .field("min_version", fmt::format("{}.{}", range.major, range.least));
  json.field("updated", "2018-07-17T00:00:00Z").array("links").begin_object().field("rel", "self");
  json.field("href", ask.url("/volume/v3/")).end_object().end_array().array("media-types").begin_object();
  json.field("base", "application/json")
      .field("type", "application/vnd.openstack.volume+json;version=3")
      .end_object()
      .end_array();
  json.end_object().end_array().end_object();
  return body;
}

void write_type(JsonWriter& json) {
  json.begin_object().field("id", volume_type_id).field("name", volume_type_name).field("is_public", true);
  json.field("description", "A disk of the node that it is on: attached to servers of that node")
      .object("extra_specs")
      .end_object();
  json.key("qos_specs_id").null().field("os-volume-type-access:is_public", true).end_object();
}

Plan list_types(Ask& ask) {
  const auto wished = ask.query("is_public");
  const bool none =
      wished && ask.actor().rights.admin && (same_ignoring_case(*wished, "false") || *wished == "0");
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("volume_types");
  if (!none) write_type(json);
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

Plan show_type(Ask& ask) {
  const auto& id = ask.param(1);
  if (id != volume_type_id && id != "default")
    return ask.error(404, fmt::format("Volume type {} could not be found.", id));
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("volume_type");
  write_type(json);
  json.end_object();
  return json_response(200, std::move(body));
}

Plan list_services(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("services");
  ask.view().each<Node>([&](const Node& node) {
    const auto host = node.name + "@local";
    if (const auto wished = ask.query("host"); wished && *wished != node.name && *wished != host) return;
    if (const auto wished = ask.query("binary"); wished && *wished != "cinder-volume") return;
    json.begin_object()
        .field("binary", "cinder-volume")
        .field("host", host)
        .field("zone", node.zone.empty() ? "nova" : node.zone);
    json.field("status", node.disabled ? "disabled" : "enabled")
        .field("state", node.state == NodeState::up ? "up" : "down");
    json.key("updated_at")
        .null()
        .field_or_null("disabled_reason", node.disabled ? node.reason : "")
        .end_object();
  });
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

Plan list_zones(Ask& ask) {
  std::map<std::string, bool> zones;
  ask.view().each<Node>([&](const Node& node) {
    auto& available = zones[node.zone.empty() ? "nova" : node.zone];
    available = available || (node.state == NodeState::up && !node.disabled);
  });
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("availabilityZoneInfo");
  for (const auto& [name, available] : zones)
    json.begin_object()
        .field("zoneName", name)
        .object("zoneState")
        .field("available", available)
        .end_object()
        .end_object();
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void register_volume_types(Api& api) {
  api.read(service, "/v3/{project}/types", Need::reader, in_project(list_types));
  api.read(service, "/v3/{project}/types/{id}", Need::reader, in_project(show_type));
  api.read(service, "/v3/{project}/types/{id}/extra_specs", Need::reader,
           in_project([](Ask&) -> Plan { return json_response(200, R"({"extra_specs":{}})"); }));
  const auto refused = in_project(
      [](Ask& ask) -> Plan { return not_here(ask, "There is one volume type, local; it does not change"); });
  api.write(service, Method::post, "/v3/{project}/types", Need::admin, refused);
  api.write(service, Method::put, "/v3/{project}/types/{id}", Need::admin, refused);
  api.write(service, Method::del, "/v3/{project}/types/{id}", Need::admin, refused);
}

void register_volume_services(Api& api) {
  api.read(service, "/", Need::nothing,
           [](Ask& ask) -> Plan { return json_response(300, versions_body(ask)); });
  api.read(service, "/v3", Need::nothing,
           [](Ask& ask) -> Plan { return json_response(200, versions_body(ask)); });
  api.read(service, "/v3/{project}/os-services", Need::admin, in_project(list_services));
  api.read(service, "/v3/{project}/os-availability-zone", Need::reader, in_project(list_zones));
  const auto empty = [&](std::string_view path, std::string_view body) {
    api.read(service, path, Need::reader,
             in_project([body](Ask&) -> Plan { return json_response(200, std::string(body)); }));
  };
  empty("/v3/{project}/extensions", R"({"extensions":[]})");
  empty("/v3/{project}/snapshots", R"({"snapshots":[]})");
  empty("/v3/{project}/snapshots/detail", R"({"snapshots":[]})");
  empty("/v3/{project}/backups", R"({"backups":[]})");
  empty("/v3/{project}/backups/detail", R"({"backups":[]})");
  empty("/v3/{project}/qos-specs", R"({"qos_specs":[]})");
  const auto refuse = [&](std::string_view path, std::string_view what) {
    api.write(service, Method::post, path, Need::member,
              in_project([what](Ask& ask) -> Plan { return not_here(ask, what); }));
  };
  refuse("/v3/{project}/snapshots", "Snapshots of volumes are not here yet");
  refuse("/v3/{project}/backups", "Backups of volumes are not here yet");
  refuse("/v3/{project}/qos-specs", "QoS specs are not here; volumes share their node's disk");
}

}  // namespace reprise::api
