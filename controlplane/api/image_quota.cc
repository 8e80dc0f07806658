// What a project may have of images, and has. Glance shows it in /v2/info/usage; it is set through keystone's unified
// limits there, which are not here: /v2/quotas/{project} is ours, in the manner of the other services
// (ops/decisions/0029).
#include <fmt/format.h>

#include "controlplane/api/image.h"
#include "controlplane/api/project_quota.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::image;
constexpr std::string_view count_key = "image_count_total", size_key = "image_size_total";

ProjectQuota images_of(const View& view, ProjectId project) {
  return {quota_limits(view, project), image_usage(view, project)};
}

// In MiB, the used ones rounded up; -1 is unlimited.
std::int64_t limit_mib(std::int64_t bytes) { return bytes < 0 ? bytes : bytes >> 20; }
std::int64_t used_mib(std::int64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; }

// Glance's own four (Image API, "Quota usage"). Nothing is staged here.
Plan show_usage(Ask& ask) {
  const auto quota = images_of(ask.view(), ask.actor().project);
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("usage");
  const auto write = [&](std::string_view key, std::int64_t limit, std::int64_t usage) {
    json.object(key).field("limit", limit).field("usage", usage).end_object();
  };
  write(size_key, limit_mib(of(quota.limit, Resource::image_bytes)), used_mib(of(quota.used, Resource::image_bytes)));
  write("image_stage_total", 0, 0);
  write(count_key, of(quota.limit, Resource::images), of(quota.used, Resource::images));
  write("image_count_uploading", -1, 0);
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

// The project at {0}: its own for everybody, another's for admins.
std::optional<ProjectId> quota_project(const Ask& ask) {
  const auto id = ask.id<ProjectId>(0);
  return id && ask.sees(*id) && ask.view().contains<Project>(*id) ? id : std::nullopt;
}
Response no_project(const Ask& ask) {
  return ask.error(404, fmt::format("Project {} could not be found.", ask.param(0)));
}

Plan show(Ask& ask) {
  const auto project = quota_project(ask);
  if (!project) return no_project(ask);
  const auto limits = quota_limits(ask.view(), *project);
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("quota").field("project_id", project->hex());
  json.field(count_key, of(limits, Resource::images)).field(size_key, limit_mib(of(limits, Resource::image_bytes)));
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

Plan update(Ask& ask) {
  const auto project = quota_project(ask);
  if (!project) return no_project(ask);
  auto quota = images_of(ask.view(), *project);
  auto body = ask.body();
  auto fields = body.object("quota");
  const bool force = fields.optional_boolean("force").value_or(false);
  fields.ignore("project_id");
  read_limit(fields, count_key, Resource::images, force, quota);
  // Bytes within, MiB for clients.
  auto in_mib = quota;
  of(in_mib.used, Resource::image_bytes) = used_mib(of(quota.used, Resource::image_bytes));
  of(in_mib.limit, Resource::image_bytes) = -2;
  read_limit(fields, size_key, Resource::image_bytes, force, in_mib);
  if (const auto mib = of(in_mib.limit, Resource::image_bytes); mib != -2)
    quota.set(Resource::image_bytes, mib < 0 ? mib : mib << 20);
  fields.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(set_quota(*project, quota), *project, show);
}

Plan reset(Ask& ask) {
  const auto project = quota_project(ask);
  if (!project) return no_project(ask);
  auto reset = unset_quota(*project, {Resource::images, Resource::image_bytes});
  return Change(std::move(reset), *project, [](Ask&) -> Plan { return Response(204); });
}

}  // namespace

void register_image_quota(Api& api) {
  api.read(service, "/v2/info/usage", Need::reader, show_usage);
  constexpr std::string_view one = "/v2/quotas/{project}";
  api.read(service, one, Need::reader, show);
  api.write(service, Method::put, one, Need::admin, update);
  api.write(service, Method::del, one, Need::admin, reset);
}

}  // namespace reprise::api
