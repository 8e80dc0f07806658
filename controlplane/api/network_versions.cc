#include <fmt/format.h>

#include "controlplane/api/network.h"
#include "controlplane/api/project_quota.h"

namespace reprise::api {
namespace {

void write_version(JsonWriter& json, const Ask& ask) {
  json.begin_object().field("id", "v2.0").field("status", "CURRENT").array("links");
  json.begin_object()
      .field("href", ask.url("/network/v2.0/"))
      .field("rel", "self")
      .end_object()
      .end_array()
      .end_object();
}

Response show_versions(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("versions");
  write_version(json, ask);
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

// Neutron answers its version's root with the collections that it has.
Response show_version(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("resources");
  for (const auto& [singular, plural] :
       {std::pair{"network", "networks"}, {"subnet", "subnets"}, {"port", "ports"}, {"quota", "quotas"}}) {
    json.begin_object().field("name", singular).field("collection", plural).array("links");
    json.begin_object()
        .field("rel", "self")
        .field("href", ask.url(fmt::format("/network/v2.0/{}", plural)))
        .end_object();
    json.end_array().end_object();
  }
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

struct Extension {
  const char* alias;
  const char* name;
  const char* description;
};
// Only what is really here.
constexpr Extension extensions[] = {
    {"binding", "Port Binding", "Where a port is bound, for admins"},
    {"net-mtu", "Network MTU", "The MTU of a network"},
    {"pagination", "Pagination support", "limit, marker and page_reverse"},
    {"project-id", "project_id field enabled", "project_id beside tenant_id"},
    {"provider", "Provider Network", "How a network is realized, for admins"},
    {"quotas", "Quota management support", "Limits of a project"},
    {"quota_details", "Quota details management support", "What a project uses of its limits"},
    {"sorting", "Sorting support", "sort_key and sort_dir"},
    {"standard-attr-description", "standard-attr-description", "A description for everything"},
    {"standard-attr-timestamp", "Resource timestamps", "created_at and updated_at"},
};

Attributes extension_row(const Extension& extension) {
  Attributes row(extension.alias);
  return row.text("alias", extension.alias)
      .text("name", extension.name)
      .text("description", extension.description)
      .text("updated", "2026-01-01T00:00:00-00:00")
      .json("links", "[]");
}

Response list_extensions(Ask& ask) {
  std::vector<Attributes> rows;
  for (const auto& extension : extensions) rows.push_back(extension_row(extension));
  return list_response(ask, std::move(rows), {.plural = "extensions"});
}

Response show_extension(Ask& ask) {
  for (const auto& extension : extensions)
    if (ask.param(0) == extension.alias)
      return show_response(ask, 200, "extension", extension_row(extension));
  return ask.error(404, fmt::format("Extension with alias {} does not exist", ask.param(0)),
                   "ExtensionNotFound");
}

// ---- quotas

struct NetworkQuota {
  const char* key;
  Resource resource;
};
constexpr NetworkQuota network_quotas[] = {
    {"network", Resource::networks}, {"subnet", Resource::subnets}, {"port", Resource::ports}};

Attributes quota_row(ProjectId project, const ProjectQuota& quota) {
  Attributes row(project.hex());
  row.text("project_id", project.hex()).text("tenant_id", project.hex());
  for (const auto& [key, resource] : network_quotas) row.number(key, of(quota.limit, resource));
  return row;
}

// Own ones, and for admins those of every project.
std::optional<ProjectId> quota_project(const Ask& ask) {
  const auto id = ask.id<ProjectId>(0);
  return id && ask.sees(*id) && ask.view().contains<Project>(*id) ? id : std::nullopt;
}

Response show_quota(Ask& ask) {
  const auto project = quota_project(ask);
  if (!project)
    return ask.error(404, fmt::format("Project {} could not be found.", ask.param(0)), "TenantNotFound");
  return show_response(ask, 200, "quota", quota_row(*project, quota_of(ask.view(), *project)));
}

Response show_default_quota(Ask& ask) {
  const auto project = quota_project(ask);
  if (!project)
    return ask.error(404, fmt::format("Project {} could not be found.", ask.param(0)), "TenantNotFound");
  return show_response(ask, 200, "quota", quota_row(*project, ProjectQuota{}));
}

Response show_quota_details(Ask& ask) {
  const auto project = quota_project(ask);
  if (!project)
    return ask.error(404, fmt::format("Project {} could not be found.", ask.param(0)), "TenantNotFound");
  const auto quota = quota_of(ask.view(), *project);
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("quota");
  for (const auto& [key, resource] : network_quotas)
    json.object(key)
        .field("limit", of(quota.limit, resource))
        .field("used", of(quota.used, resource))
        .field("reserved", 0)
        .end_object();
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

Response list_quotas(Ask& ask) {
  std::vector<Attributes> rows;
  ask.view().each<Quota>(
      [&](const Quota& row) { rows.push_back(quota_row(row.project, quota_of(ask.view(), row.project))); });
  return list_response(ask, std::move(rows), {.plural = "quotas"});
}

Plan update_quota(Ask& ask) {
  const auto project = quota_project(ask);
  if (!project)
    return ask.error(404, fmt::format("Project {} could not be found.", ask.param(0)), "TenantNotFound");
  Fields body = ask.body();
  Fields quota = body.object("quota");
  auto limits = quota_of(ask.view(), *project);
  const bool force = !quota.optional_boolean("check_limit").value_or(false);
  for (const auto& [key, resource] : network_quotas) read_limit(quota, key, resource, force, limits);
  quota.ignore("force"), quota.ignore("tenant_id"), quota.ignore("project_id");
  quota.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(set_quota(*project, limits), *project, show_quota);
}

Plan reset_quota(Ask& ask) {
  const auto project = quota_project(ask);
  if (!project)
    return ask.error(404, fmt::format("Project {} could not be found.", ask.param(0)), "TenantNotFound");
  auto reset = unset_quota(*project, {Resource::networks, Resource::subnets, Resource::ports});
  return Change(std::move(reset), *project, [](Ask&) { return Response(204); });
}

}  // namespace

void register_network_versions(Api& api) {
  api.read(Service::network, "", Need::nothing, show_versions);
  api.read(Service::network, "/v2.0", Need::nothing, show_version);
  api.read(Service::network, "/v2.0/extensions", Need::token, list_extensions);
  api.read(Service::network, "/v2.0/extensions/{alias}", Need::token, show_extension);
  api.read(Service::network, "/v2.0/quotas", Need::admin, list_quotas);
  api.read(Service::network, "/v2.0/quotas/{project}", Need::reader, show_quota);
  api.read(Service::network, "/v2.0/quotas/{project}/default", Need::reader, show_default_quota);
  api.read(Service::network, "/v2.0/quotas/{project}/details", Need::reader, show_quota_details);
  api.write(Service::network, Method::put, "/v2.0/quotas/{project}", Need::admin, update_quota);
  api.write(Service::network, Method::del, "/v2.0/quotas/{project}", Need::admin, reset_quota);
}

}  // namespace reprise::api
