// Limits and quota sets of compute.
#include <fmt/format.h>

#include "controlplane/api/compute.h"
#include "controlplane/api/project_quota.h"
#include "controlplane/api/server_create.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::compute;
constexpr std::int64_t metadata_items = metadata_items_max;

// What nova counts and is not here: none may be had.
constexpr std::string_view not_here[] = {"server_groups",        "server_group_members", "security_groups",
                                         "security_group_rules", "floating_ips",         "fixed_ips"};
constexpr std::string_view injected[] = {"injected_files", "injected_file_content_bytes",
                                         "injected_file_path_bytes"};

Plan limits(Ask& ask) {
  const unsigned minor = microversion(ask);
  auto project = ask.actor().project;
  if (const auto text = ask.query("tenant_id"); text && ProjectId::parse(*text) != project) {
    if (!ask.actor().rights.admin)
      return ask.error(403, "Policy doesn't allow os_compute_api:limits:other_project to be performed.");
    const auto other = ProjectId::parse(*text);
    if (!other || !ask.view().contains<Project>(*other))
      return ask.error(400, fmt::format("Project ID {} is not a valid project.", *text));
    project = *other;
  }
  const auto quota = quota_of(ask.view(), project);
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("limits").array("rate").end_array().object("absolute");
  json.field("maxTotalInstances", of(quota.limit, Resource::instances))
      .field("totalInstancesUsed", of(quota.used, Resource::instances));
  json.field("maxTotalCores", of(quota.limit, Resource::cores))
      .field("totalCoresUsed", of(quota.used, Resource::cores));
  json.field("maxTotalRAMSize", of(quota.limit, Resource::ram_mib))
      .field("totalRAMUsed", of(quota.used, Resource::ram_mib));
  json.field("maxTotalKeypairs", of(quota.limit, Resource::key_pairs)).field("maxServerMeta", metadata_items);
  json.field("maxServerGroups", 0).field("maxServerGroupMembers", 0).field("totalServerGroupsUsed", 0);
  if (minor < 36) {
    json.field("maxSecurityGroups", 0).field("maxSecurityGroupRules", 0).field("totalSecurityGroupsUsed", 0);
    json.field("maxTotalFloatingIps", 0).field("totalFloatingIpsUsed", 0);
  }
  if (minor < 39) json.field("maxImageMeta", metadata_items);
  if (minor < 57) json.field("maxPersonality", 0).field("maxPersonalitySize", 0);
  json.end_object().end_object().end_object();
  return json_response(200, std::move(body));
}

// `details`: {"limit", "in_use", "reserved"} instead of the limit.
void write_set(JsonWriter& json, const ProjectQuota& quota, unsigned minor, bool details) {
  const auto write = [&](std::string_view key, std::int64_t limit, std::int64_t used) {
    if (!details) json.field(key, limit);
    else json.object(key).field("limit", limit).field("in_use", used).field("reserved", 0).end_object();
  };
  const auto resource = [&](std::string_view key, Resource r) {
    write(key, of(quota.limit, r), of(quota.used, r));
  };
  resource("instances", Resource::instances);
  resource("cores", Resource::cores);
  resource("ram", Resource::ram_mib);
  resource("key_pairs", Resource::key_pairs);
  write("metadata_items", metadata_items, 0);
  for (const auto key : not_here)
    if (minor < 36 || key.starts_with("server_group")) write(key, 0, 0);
  if (minor < 57)
    for (const auto key : injected) write(key, 0, 0);
}

Plan print(Ask& ask, std::string_view id, const ProjectQuota& quota, bool details) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("quota_set");
  if (!id.empty()) json.field("id", id);
  write_set(json, quota, microversion(ask), details);
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

// The project at {0}; its own members may read, only admins another's.
std::optional<Response> refuse_project(Ask& ask, std::optional<ProjectId> project, bool change) {
  if (change || !project || *project != ask.actor().project)
    if (!ask.actor().rights.admin)
      return ask.error(
          403, "Policy doesn't allow os_compute_api:os-quota-sets to be performed on another project.");
  if (!project || !ask.view().contains<Project>(*project))
    return ask.error(400, fmt::format("Project ID {} is not a valid project.", ask.param(0)));
  return std::nullopt;
}

Plan show_set(Ask& ask, bool details) {
  const auto project = ask.id<ProjectId>(0);
  if (auto refused = refuse_project(ask, project, false)) return std::move(*refused);
  return print(ask, project->hex(), quota_of(ask.view(), *project), details);
}

Plan show_defaults(Ask& ask) { return print(ask, ask.param(0), ProjectQuota(), false); }

Plan update_set(Ask& ask) {
  const auto project = ask.id<ProjectId>(0);
  if (auto refused = refuse_project(ask, project, true)) return std::move(*refused);
  auto quota = quota_of(ask.view(), *project);
  auto body = ask.body();
  auto fields = body.object("quota_set");
  const bool force = fields.optional_boolean("force").value_or(false);
  fields.ignore("tenant_id");
  read_limit(fields, "instances", Resource::instances, force, quota);
  read_limit(fields, "cores", Resource::cores, force, quota);
  read_limit(fields, "ram", Resource::ram_mib, force, quota);
  read_limit(fields, "key_pairs", Resource::key_pairs, force, quota);
  if (fields.optional_integer("metadata_items", -1, INT32_MAX).value_or(metadata_items) != metadata_items)
    fields.fail("metadata_items", fmt::format("is {} for every project and does not change", metadata_items));
  const auto nothing = [&](std::string_view key) {
    if (fields.optional_integer(key, -1, INT32_MAX).value_or(0) > 0)
      fields.fail(key, "there are none of these here: leave it out");
  };
  for (const auto key : not_here) nothing(key);
  for (const auto key : injected) nothing(key);
  fields.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(set_quota(*project, quota), *project, [project = *project](Ask& ask) {
    return print(ask, {}, quota_of(ask.view(), project), false);
  });
}

Plan reset_set(Ask& ask) {
  const auto project = ask.id<ProjectId>(0);
  if (auto refused = refuse_project(ask, project, true)) return std::move(*refused);
  auto reset = unset_quota(*project, {Resource::instances, Resource::cores, Resource::ram_mib, Resource::key_pairs});
  return Change(std::move(reset), *project, [](Ask&) -> Plan { return Response(202); });
}

Plan show_class(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("quota_class_set");
  if (microversion(ask) >= 50 || ask.param(0) == "default") json.field("id", ask.param(0));
  write_set(json, ProjectQuota(), microversion(ask), false);
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void register_compute_limits(Api& api) {
  api.read(service, "/v2.1/limits", Need::reader, microversioned(limits));
  constexpr std::string_view one = "/v2.1/os-quota-sets/{project}";
  api.read(service, one, Need::reader, microversioned([](Ask& ask) { return show_set(ask, false); }));
  api.read(service, "/v2.1/os-quota-sets/{project}/detail", Need::reader,
           microversioned([](Ask& ask) { return show_set(ask, true); }));
  api.read(service, "/v2.1/os-quota-sets/{project}/defaults", Need::reader, microversioned(show_defaults));
  api.write(service, Method::put, one, Need::admin, microversioned(update_set));
  api.write(service, Method::del, one, Need::admin, microversioned(reset_set));
  api.read(service, "/v2.1/os-quota-class-sets/{class}", Need::admin, microversioned(show_class));
  api.write(service, Method::put, "/v2.1/os-quota-class-sets/{class}", Need::admin,
            microversioned([](Ask& ask) -> Plan {
              return not_implemented(ask, "The default quotas do not change; set the quota of each project");
            }));
}

}  // namespace reprise::api
