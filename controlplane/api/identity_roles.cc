#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "controlplane/api/identity.h"

namespace reprise::api {
namespace {

constexpr std::size_t name_chars_max = 255;
constexpr std::size_t description_chars_max = 1024;
// Each implies those after it, as keystone's default roles do.
constexpr std::string_view implied[] = {"admin", "member", "reader"};

Attributes role_row(const Ask& ask, const Role& role) {
  return Attributes(role.id.hex())
      .text("name", role.name)
      .json("domain_id", "null")
      .text("description", role.description)
      .json("options", "{}")
      .self(ask.url("/identity/v3/roles/" + role.id.hex()))
      .extra(role.extra);
}

Response show(Ask& ask, RoleId id, int status) {
  const auto role = ask.view().find<Role>(id);
  if (!role) return not_found(ask, "role", id.hex());
  return show_response(ask, status, "role", role_row(ask, *role));
}

Response show_role(Ask& ask) {
  const auto id = ask.id<RoleId>(0);
  return id ? show(ask, *id, 200) : not_found(ask, "role", ask.param(0));
}

Response list_roles(Ask& ask) {
  std::vector<Attributes> rows;
  ask.view().each<Role>([&](const Role& role) { rows.push_back(role_row(ask, role)); });
  return list_response(ask, std::move(rows), {.plural = "roles", .identity_links = true});
}

Plan create_role(Ask& ask) {
  Fields body = ask.body();
  Fields role = body.object("role");
  CreateRole intent{.id = ask.new_id<RoleId>(),
                    .name = role.string("name", 1, name_chars_max),
                    .description = role.optional_text("description", 0, description_chars_max).value_or("")};
  take_domain_id(role);
  role.ignore("options");
  intent.extra = take_extra(role);
  role.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto id = intent.id;
  return Change(std::move(intent), id, [id](Ask& ask) { return show(ask, id, 201); });
}

Plan delete_role(Ask& ask) {
  const auto id = ask.id<RoleId>(0);
  if (!id || !ask.view().contains<Role>(*id)) return not_found(ask, "role", ask.param(0));
  return Change(DeleteRole{.id = *id}, *id, [](Ask&) { return Response(204); });
}

// ---- a user's roles in a project

struct Triple {
  ProjectId project;
  UserId user;
  RoleId role;
};

// Of the path; what of it does not exist, as a 404.
std::variant<Triple, Response> triple_of(Ask& ask) {
  const auto project = ask.id<ProjectId>(0);
  if (!project || !ask.view().contains<Project>(*project)) return not_found(ask, "project", ask.param(0));
  const auto user = ask.id<UserId>(1);
  if (!user || !ask.view().contains<User>(*user)) return not_found(ask, "user", ask.param(1));
  if (ask.call().params.size() == 2) return Triple{*project, *user, {}};
  const auto role = ask.id<RoleId>(2);
  if (!role || !ask.view().contains<Role>(*role)) return not_found(ask, "role", ask.param(2));
  return Triple{*project, *user, *role};
}

Response list_roles_of(Ask& ask) {
  auto found = triple_of(ask);
  if (auto* missing = std::get_if<Response>(&found)) return std::move(*missing);
  const auto& [project, user, role] = std::get<Triple>(found);
  std::vector<Attributes> rows;
  for (const auto& one : roles_of(ask.view(), project, user)) rows.push_back(role_row(ask, one));
  return list_response(ask, std::move(rows), {.plural = "roles", .identity_links = true});
}

Response has_role(Ask& ask) {
  auto found = triple_of(ask);
  if (auto* missing = std::get_if<Response>(&found)) return std::move(*missing);
  const auto& [project, user, role] = std::get<Triple>(found);
  if (ask.view().contains<RoleAssignment>({project, user, role})) return Response(204);
  return ask.error(404, fmt::format("Could not find role assignment with role: {}, user: {}, project: {}.",
                                    role.hex(), user.hex(), project.hex()));
}

Plan assign_role(Ask& ask) {
  auto found = triple_of(ask);
  if (auto* missing = std::get_if<Response>(&found)) return std::move(*missing);
  const auto& [project, user, role] = std::get<Triple>(found);
  return Change(AssignRole{.project = project, .user = user, .role = role}, project,
                [](Ask&) { return Response(204); });
}

Plan unassign_role(Ask& ask) {
  auto found = triple_of(ask);
  if (auto* missing = std::get_if<Response>(&found)) return std::move(*missing);
  const auto& [project, user, role] = std::get<Triple>(found);
  Change change(UnassignRole{.project = project, .user = user, .role = role}, project,
                [](Ask&) { return Response(204); });
  change.refused = [](Ask& ask, const IntentRefused& event) -> std::optional<Response> {
    if (static_cast<Refusal>(event.refusal) != Refusal::no_such_assignment) return std::nullopt;
    return ask.error(404, event.text);
  };
  return change;
}

// ---- GET /role_assignments

struct Assignment {
  Project project;
  User user;
  Role role;
};

std::vector<Assignment> assignments(const View& view, ProjectId project, UserId user, bool effective) {
  std::vector<Assignment> found;
  const auto add = [&](const RoleAssignment& row) {
    if ((project && row.id.project != project) || (user && row.id.user != user)) return;
    const auto p = view.find<Project>(row.id.project);
    const auto u = view.find<User>(row.id.user);
    const auto r = view.find<Role>(row.id.role);
    if (p && u && r) found.push_back({*p, *u, *r});
  };
  if (user) view.each_by<RoleAssignment>(RoleAssignment::by_user, encode_key(user), add);
  else view.each<RoleAssignment>(add);
  if (!effective) return found;
  std::set<AssignmentKey> there;
  for (const auto& one : found) there.insert({one.project.id, one.user.id, one.role.id});
  std::vector<Role> roles;
  view.each<Role>([&](const Role& role) { roles.push_back(role); });
  for (std::size_t i = 0, n = found.size(); i < n; ++i) {
    const auto from = std::find(std::begin(implied), std::end(implied), found[i].role.name);
    for (auto name = from; name != std::end(implied); ++name)
      for (const auto& role : roles)
        if (role.name == *name && there.insert({found[i].project.id, found[i].user.id, role.id}).second)
          found.push_back({found[i].project, found[i].user, role});
  }
  return found;
}

void write_named(JsonWriter& json, const char* key, const std::string& id, const std::string& name,
                 bool names, bool domain) {
  json.object(key).field("id", id);
  if (names) {
    json.field("name", name);
    if (domain) {
      json.key("domain");
      write_domain(json);
    }
  }
  json.end_object();
}

void write_assignment(JsonWriter& json, const Ask& ask, const Assignment& one, bool names) {
  const auto project = one.project.id.hex(), user = one.user.id.hex(), role = one.role.id.hex();
  json.begin_object();
  json.object("links")
      .field("assignment",
             ask.url(fmt::format("/identity/v3/projects/{}/users/{}/roles/{}", project, user, role)))
      .end_object();
  write_named(json, "role", role, one.role.name, names, false);
  json.object("scope");
  write_named(json, "project", project, one.project.name, names, true);
  json.end_object();
  write_named(json, "user", user, one.user.name, names, true);
  json.end_object();
}

Response list_assignments(Ask& ask) {
  const bool names = ask.flag("include_names").value_or(false);
  const bool effective = ask.flag("effective").value_or(false);
  const auto id_of = [&](const char* key) {
    const auto text = ask.query(key);
    const auto id = text ? AnyId::parse(*text) : AnyId{};
    return id.value_or(AnyId{~0ull, ~0ull});  // of nobody
  };
  const auto project = id_of("scope.project.id").as<ProjectId>();
  const auto user = id_of("user.id").as<UserId>();
  const auto role = id_of("role.id").as<RoleId>();
  if (auto bad = ask.bad()) return std::move(*bad);
  // There are no groups, and no roles in a domain or the system.
  const bool nothing = ask.query("group.id") || ask.query("scope.domain.id") || ask.query("scope.system");
  // Everybody may see its own; the rest is for admins.
  if (!ask.actor().rights.admin && user != ask.actor().user)
    return ask.error(403, "Only an admin may list others' role assignments: add ?user.id= with your own id.");
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("role_assignments");
  if (!nothing)
    for (const auto& one : assignments(ask.view(), project, user, effective))
      if (!role || one.role.id == role) write_assignment(json, ask, one, names);
  json.end_array();
  json.object("links").field("self", ask.own_url()).key("next").null().key("previous").null().end_object();
  json.end_object();
  return json_response(200, std::move(body));
}

}  // namespace

std::vector<Role> roles_of(const View& view, ProjectId project, UserId user) {
  std::vector<Role> roles;
  view.each_by<RoleAssignment>(RoleAssignment::by_project_user, KeyWriter().id(project).id(user),
                               [&](const RoleAssignment& row) {
                                 if (auto role = view.find<Role>(row.id.role))
                                   roles.push_back(std::move(*role));
                               });
  std::sort(roles.begin(), roles.end(), [](const Role& a, const Role& b) { return a.name < b.name; });
  return roles;
}

std::vector<Project> projects_of(const View& view, UserId user) {
  std::vector<Project> projects;
  std::set<ProjectId> seen;
  view.each_by<RoleAssignment>(RoleAssignment::by_user, encode_key(user), [&](const RoleAssignment& row) {
    if (!seen.insert(row.id.project).second) return;
    if (auto project = view.find<Project>(row.id.project)) projects.push_back(std::move(*project));
  });
  return projects;
}

void register_roles(Api& api) {
  api.read(Service::identity, "/v3/roles", Need::token, list_roles);
  api.read(Service::identity, "/v3/roles/{id}", Need::token, show_role);
  api.write(Service::identity, Method::post, "/v3/roles", Need::admin, create_role);
  api.write(Service::identity, Method::del, "/v3/roles/{id}", Need::admin, delete_role);
  const auto one = "/v3/projects/{id}/users/{user}/roles/{role}";
  api.read(Service::identity, "/v3/projects/{id}/users/{user}/roles", Need::admin, list_roles_of);
  api.read(Service::identity, one, Need::admin, has_role);
  api.write(Service::identity, Method::put, one, Need::admin, assign_role);
  api.write(Service::identity, Method::del, one, Need::admin, unassign_role);
  api.read(Service::identity, "/v3/role_assignments", Need::token, list_assignments);
}

}  // namespace reprise::api
