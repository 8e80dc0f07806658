#include <fmt/format.h>

#include "controlplane/api/catalog.h"
#include "controlplane/api/identity.h"
#include "events/named.h"

namespace reprise::api {
namespace {

constexpr std::size_t name_chars_max = 64;
constexpr std::size_t description_chars_max = 1024;
constexpr std::size_t extra_entries_max = 64, extra_bytes_max = 16 * 1024;

void write_version(JsonWriter& json, const Ask& ask) {
  json.begin_object().field("id", "v3.14").field("status", "stable").field("updated", "2020-04-07T00:00:00Z");
  json.array("links")
      .begin_object()
      .field("rel", "self")
      .field("href", ask.url("/identity/v3/"))
      .end_object()
      .end_array();
  json.array("media-types")
      .begin_object()
      .field("base", "application/json")
      .field("type", "application/vnd.openstack.identity-v3+json")
      .end_object()
      .end_array();
  json.end_object();
}

Response show_versions(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("versions").array("values");
  write_version(json, ask);
  json.end_array().end_object().end_object();
  auto response = json_response(300, std::move(body));
  response.header("Location", ask.url("/identity/v3/"));
  return response;
}

Response show_version(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("version");
  write_version(json, ask);
  json.end_object();
  return json_response(200, std::move(body));
}

// ---- the one domain

Attributes domain_row(const Ask& ask) {
  return Attributes(domain_id)
      .text("name", domain_name)
      .text("description", "The only domain")
      .flag("enabled", true)
      .json("tags", "[]")
      .json("options", "{}")
      .self(ask.url("/identity/v3/domains/default"));
}

Response list_domains(Ask& ask) {
  return list_response(ask, {domain_row(ask)}, {.plural = "domains", .identity_links = true});
}

Response show_domain(Ask& ask) {
  if (ask.param(0) != domain_id) return not_found(ask, "domain", ask.param(0));
  return show_response(ask, 200, "domain", domain_row(ask));
}

// ---- projects

Response show(Ask& ask, ProjectId id, int status) {
  const auto project = ask.view().find<Project>(id);
  if (!project) return not_found(ask, "project", id.hex());
  return show_response(ask, status, "project", project_row(ask, *project));
}

Response show_project(Ask& ask) {
  const auto id = ask.id<ProjectId>(0);
  const bool own = id && *id == ask.actor().project;
  if (!id || !(own || ask.actor().rights.admin)) return not_found(ask, "project", ask.param(0));
  return show(ask, *id, 200);
}

Response list_projects(Ask& ask) {
  std::vector<Attributes> rows;
  ask.view().each<Project>([&](const Project& project) { rows.push_back(project_row(ask, project)); });
  return list_response(ask, std::move(rows), {.plural = "projects", .identity_links = true});
}

// What a client may send of a project and has no effect here.
void take_project_rest(Fields& fields) {
  take_domain_id(fields);
  if (const auto parent = fields.optional_string("parent_id", 0, 64); parent && *parent != domain_id)
    fields.fail("parent_id", "projects have no parent here but the domain: leave it out");
  if (fields.optional_boolean("is_domain").value_or(false))
    fields.fail("is_domain", "there is only one domain");
  if (!fields.strings("tags", 80, 1, 255).empty())
    fields.fail("tags", "projects have no tags here: leave it out");
  fields.ignore("options");
}

Plan create_project(Ask& ask, Api& api) {
  Fields body = ask.body();
  Fields project = body.object("project");
  CreateProject intent{
      .id = ask.new_id<ProjectId>(),
      .name = project.string("name", 1, name_chars_max),
      .description = project.optional_text("description", 0, description_chars_max).value_or(""),
      .enabled = project.optional_boolean("enabled").value_or(true)};
  take_project_rest(project);
  intent.extra = take_extra(project);
  project.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto id = intent.id;
  return Change(std::move(intent), id, [id, &api](Ask& ask) -> Plan {
    // Answered again after the project has gone: a key that was destroyed is not made anew.
    const bool there = api.backend().view().contains<Project>(id);
    if (const auto made = there ? api.keyring().add_project(id) : Status(); !made)
      return ask.error(503, "The project was made, but its key could not be written: " + made.error().text);
    return show(ask, id, 201);
  });
}

Plan update_project(Ask& ask) {
  const auto id = ask.id<ProjectId>(0);
  const auto row = id ? ask.view().find<Project>(*id) : std::nullopt;
  if (!row) return not_found(ask, "project", ask.param(0));
  Fields body = ask.body();
  Fields project = body.object("project");
  using Named = wire::UpdateProjectNamed;
  UpdateProject intent{.id = *id, .named = 0};
  name_if(intent, Named::VT_NAME, intent.name, project.optional_string("name", 1, name_chars_max));
  name_if(intent, Named::VT_DESCRIPTION, intent.description, project.optional_text("description", 0, description_chars_max));
  name_if(intent, Named::VT_ENABLED, intent.enabled, project.optional_boolean("enabled"));
  take_project_rest(project);
  intent.extra_set = take_extra(project);
  project.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(std::move(intent), *id, [id = *id](Ask& ask) { return show(ask, id, 200); });
}

Plan delete_project(Ask& ask, Api& api) {
  const auto id = ask.id<ProjectId>(0);
  if (!id || !ask.view().contains<Project>(*id)) return not_found(ask, "project", ask.param(0));
  // What the project kept secret goes with it: its key was the only way to read it.
  return Change(DeleteProject{.id = *id}, *id, [id = *id, &api](Ask& ask) -> Plan {
    const bool there = api.backend().view().contains<Project>(id);
    if (const auto gone = there ? Status() : api.keyring().destroy_project(id); !gone)
      return ask.error(503, "The project was deleted, but not its key: " + gone.error().text);
    return Response(204);
  });
}

}  // namespace

void write_domain(JsonWriter& json) {
  json.begin_object().field("id", domain_id).field("name", domain_name).end_object();
}

bool is_our_domain(const std::optional<std::string>& id, const std::optional<std::string>& name) {
  return (!id || *id == domain_id) && (!name || same_ignoring_case(*name, domain_name));
}

void take_domain_id(Fields& fields) {
  if (const auto id = fields.optional_string("domain_id", 0, 64); id && *id != domain_id)
    fields.fail("domain_id", "there is only the domain 'default'");
}

Response not_found(const Ask& ask, std::string_view what, std::string_view id) {
  return ask.error(404, fmt::format("Could not find {}: {}.", what, id));
}

Attributes project_row(const Ask& ask, const Project& project) {
  return Attributes(project.id.hex())
      .text("name", project.name)
      .text("domain_id", domain_id)
      .text("description", project.description)
      .flag("enabled", project.enabled)
      .text("parent_id", domain_id)
      .flag("is_domain", false)
      .json("tags", "[]")
      .json("options", "{}")
      .self(ask.url("/identity/v3/projects/" + project.id.hex()))
      .extra(project.extra);
}

std::vector<std::string> take_extra(Fields& fields) {
  return fields.rest(extra_entries_max, extra_bytes_max, {"id", "links", "password_expires_at", "domain", "roles"});
}

std::optional<Project> project_by_name(const View& view, std::string_view name) {
  std::optional<Project> found;
  if (name.find('\0') != name.npos) return found;
  view.each_by<Project>(Project::by_name, KeyWriter().word(name), [&](const Project& row) { found = row; });
  return found;
}

void register_projects(Api& api) {
  api.read(Service::identity, "", Need::nothing, show_versions);
  api.read(Service::identity, "/v3", Need::nothing, show_version);
  api.read(Service::identity, "/v3/domains", Need::token, list_domains);
  api.read(Service::identity, "/v3/domains/{id}", Need::token, show_domain);
  api.read(Service::identity, "/v3/projects", Need::admin, list_projects);
  api.read(Service::identity, "/v3/projects/{id}", Need::token, show_project);
  api.write(Service::identity, Method::post, "/v3/projects", Need::admin,
            [&api](Ask& ask) { return create_project(ask, api); });
  api.write(Service::identity, Method::patch, "/v3/projects/{id}", Need::admin, update_project);
  api.write(Service::identity, Method::del, "/v3/projects/{id}", Need::admin,
            [&api](Ask& ask) { return delete_project(ask, api); });
}

void register_identity(Api& api) {
  register_projects(api);
  register_tokens(api);
  register_users(api);
  register_roles(api);
  register_catalog(api);
}

}  // namespace reprise::api
