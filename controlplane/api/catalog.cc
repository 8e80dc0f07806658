#include "controlplane/api/catalog.h"

#include <fmt/format.h>

#include "controlplane/api/attributes.h"
#include "events/hash.h"

namespace reprise::api {
namespace {

struct CatalogEntry {
  const char* type;
  const char* name;
  const char* path;
  bool per_project;
};
constexpr CatalogEntry services[] = {
    {"identity", "keystone", "/identity", false}, {"compute", "nova", "/compute/v2.1", false},
    {"image", "glance", "/image", false},         {"volumev3", "cinderv3", "/volume/v3/", true},
    {"network", "neutron", "/network", false},
};
constexpr const char* interfaces[] = {"public", "internal", "admin"};

// Nothing of the catalog is stored: its ids are made from what they name.
std::string id_of(std::string_view what) { return blake2b(what).hex().substr(0, 32); }

std::string url_of(const Ask& ask, const CatalogEntry& service, ProjectId project) {
  return ask.url(service.path) + (service.per_project ? project.hex() : "");
}

Attributes service_row(const Ask& ask, const CatalogEntry& service) {
  const auto id = id_of(service.type);
  return Attributes(id)
      .text("type", service.type)
      .text("name", service.name)
      .text("description", "")
      .flag("enabled", true)
      .self(ask.url("/identity/v3/services/" + id));
}

Response list_services(Ask& ask) {
  std::vector<Attributes> rows;
  for (const auto& service : services) rows.push_back(service_row(ask, service));
  return list_response(ask, std::move(rows), {.plural = "services", .identity_links = true});
}

Response show_service(Ask& ask) {
  for (const auto& service : services)
    if (id_of(service.type) == ask.param(0))
      return show_response(ask, 200, "service", service_row(ask, service));
  return ask.error(404, fmt::format("Could not find service: {}.", ask.param(0)));
}

Response list_endpoints(Ask& ask, const std::string& region) {
  std::vector<Attributes> rows;
  for (const auto& service : services)
    for (const auto* interface : interfaces)
      rows.push_back(Attributes(id_of(fmt::format("{} {}", service.type, interface)))
                         .text("interface", interface)
                         .text("region", region)
                         .text("region_id", region)
                         .text("service_id", id_of(service.type))
                         .text("url", url_of(ask, service, ask.actor().project))
                         .flag("enabled", true));
  return list_response(ask, std::move(rows), {.plural = "endpoints", .identity_links = true});
}

Response list_regions(Ask& ask, const std::string& region) {
  std::vector<Attributes> rows;
  rows.push_back(Attributes(region).text("description", "").text_or_null("parent_region_id", ""));
  return list_response(ask, std::move(rows), {.plural = "regions", .identity_links = true});
}

}  // namespace

void write_catalog(JsonWriter& json, const Ask& ask, const Api& api, ProjectId project) {
  json.begin_array();
  for (const auto& service : services) {
    if (service.per_project && !project) continue;
    json.begin_object()
        .field("type", service.type)
        .field("name", service.name)
        .field("id", id_of(service.type));
    json.array("endpoints");
    for (const auto* interface : interfaces)
      json.begin_object()
          .field("id", id_of(fmt::format("{} {}", service.type, interface)))
          .field("interface", interface)
          .field("region", api.config().region)
          .field("region_id", api.config().region)
          .field("url", url_of(ask, service, project))
          .end_object();
    json.end_array().end_object();
  }
  json.end_array();
}

void register_catalog(Api& api) {
  const auto region = api.config().region;
  api.read(Service::identity, "/v3/services", Need::admin, list_services);
  api.read(Service::identity, "/v3/services/{id}", Need::admin, show_service);
  api.read(Service::identity, "/v3/endpoints", Need::admin,
           [region](Ask& ask) { return list_endpoints(ask, region); });
  api.read(Service::identity, "/v3/regions", Need::token,
           [region](Ask& ask) { return list_regions(ask, region); });
  api.read(Service::identity, "/v3/auth/catalog", Need::token, [&api](Ask& ask) {
    std::string body;
    JsonWriter json(body);
    json.begin_object().key("catalog");
    write_catalog(json, ask, api, ask.actor().project);
    json.object("links")
        .field("self", ask.url("/identity/v3/auth/catalog"))
        .key("next")
        .null()
        .key("previous")
        .null()
        .end_object();
    json.end_object();
    return json_response(200, std::move(body));
  });
}

}  // namespace reprise::api
