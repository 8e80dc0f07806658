// Limits and quota sets of volumes.
#include <fmt/format.h>

#include "controlplane/api/project_quota.h"
#include "controlplane/api/volume.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::volume;
constexpr std::string_view not_here_keys[] = {"snapshots", "backups", "backup_gigabytes", "groups"};

Plan limits(Ask& ask) {
  const auto quota = quota_of(ask.view(), ask.actor().project);
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("limits").array("rate").end_array().object("absolute");
  json.field("maxTotalVolumes", of(quota.limit, Resource::volumes))
      .field("totalVolumesUsed", of(quota.used, Resource::volumes));
  json.field("maxTotalVolumeGigabytes", of(quota.limit, Resource::gigabytes))
      .field("totalGigabytesUsed", of(quota.used, Resource::gigabytes));
  for (const auto key : {"maxTotalSnapshots", "totalSnapshotsUsed", "maxTotalBackups", "totalBackupsUsed",
                         "maxTotalBackupGigabytes", "totalBackupGigabytesUsed"})
    json.field(key, 0);
  json.end_object().end_object().end_object();
  return json_response(200, std::move(body));
}

void write_set(JsonWriter& json, const ProjectQuota& quota, bool usage) {
  const auto write = [&](std::string_view key, std::int64_t limit, std::int64_t used) {
    json.text_key(key);
    if (!usage) json.value(limit);
    else
      json.begin_object()
          .field("limit", limit)
          .field("in_use", used)
          .field("reserved", 0)
          .field("allocated", 0)
          .end_object();
  };
  const auto volumes = of(quota.limit, Resource::volumes), volumes_used = of(quota.used, Resource::volumes);
  const auto size = of(quota.limit, Resource::gigabytes), size_used = of(quota.used, Resource::gigabytes);
  write("volumes", volumes, volumes_used);
  write("gigabytes", size, size_used);
  write("per_volume_gigabytes", -1, 0);
  for (const auto key : not_here_keys) write(key, 0, 0);
  write(fmt::format("volumes_{}", volume_type_name), -1, volumes_used);
  write(fmt::format("gigabytes_{}", volume_type_name), -1, size_used);
  write(fmt::format("snapshots_{}", volume_type_name), 0, 0);
}

Plan print(std::string_view id, const ProjectQuota& quota, bool usage) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("quota_set");
  if (!id.empty()) json.field("id", id);
  write_set(json, quota, usage);
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

std::optional<Response> refuse_project(Ask& ask, std::optional<ProjectId> project) {
  if ((!project || *project != ask.actor().project) && !ask.actor().rights.admin)
    return ask.error(403,
                     "Policy doesn't allow volume_extension:quotas:show to be performed on another project.");
  if (!project || !ask.view().contains<Project>(*project))
    return ask.error(404, fmt::format("Project {} could not be found.", ask.param(1)));
  return std::nullopt;
}

Plan show_set(Ask& ask) {
  const auto project = ask.id<ProjectId>(1);
  const bool usage = ask.flag("usage").value_or(false);
  if (auto bad = ask.bad()) return std::move(*bad);
  if (auto refused = refuse_project(ask, project)) return std::move(*refused);
  return print(project->hex(), quota_of(ask.view(), *project), usage);
}

Plan update_set(Ask& ask) {
  const auto project = ask.id<ProjectId>(1);
  if (auto refused = refuse_project(ask, project)) return std::move(*refused);
  auto quota = quota_of(ask.view(), *project);
  auto body = ask.body();
  auto fields = body.object("quota_set");
  const bool force = fields.optional_boolean("force").value_or(false);
  for (const auto key : {"tenant_id", "skip_validation"}) fields.ignore(key);
  read_limit(fields, "volumes", Resource::volumes, force, quota);
  read_limit(fields, "gigabytes", Resource::gigabytes, force, quota);
  for (const auto key : not_here_keys)
    if (fields.optional_integer(key, -1, INT32_MAX).value_or(0) > 0)
      fields.fail(key, "there are none of these here yet: leave it out");
  if (fields.optional_integer("per_volume_gigabytes", -1, INT32_MAX).value_or(-1) != -1)
    fields.fail("per_volume_gigabytes", "is not limited by project here: leave it out, or give -1");
  fields.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(set_quota(*project, quota), *project,
                [project = *project](Ask& ask) { return print({}, quota_of(ask.view(), project), false); });
}

Plan reset_set(Ask& ask) {
  const auto project = ask.id<ProjectId>(1);
  if (auto refused = refuse_project(ask, project)) return std::move(*refused);
  auto reset = unset_quota(*project, {Resource::volumes, Resource::gigabytes});
  return Change(std::move(reset), *project, [](Ask&) -> Plan { return Response(200); });
}

Plan show_class(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("quota_class_set").field("id", ask.param(1));
  write_set(json, ProjectQuota(), false);
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void register_volume_limits(Api& api) {
  api.read(service, "/v3/{project}/limits", Need::reader, in_project(limits));
  constexpr std::string_view one = "/v3/{project}/os-quota-sets/{id}";
  api.read(service, one, Need::reader, in_project(show_set));
  api.read(service, "/v3/{project}/os-quota-sets/{id}/defaults", Need::reader,
           in_project([](Ask& ask) { return print(ask.param(1), ProjectQuota(), false); }));
  api.write(service, Method::put, one, Need::admin, in_project(update_set));
  api.write(service, Method::del, one, Need::admin, in_project(reset_set));
  api.read(service, "/v3/{project}/os-quota-class-sets/{class}", Need::admin, in_project(show_class));
  api.write(service, Method::put, "/v3/{project}/os-quota-class-sets/{class}", Need::admin,
            in_project([](Ask& ask) -> Plan {
              return not_here(ask, "The default quotas do not change; set the quota of each project");
            }));
}

}  // namespace reprise::api
