#include "controlplane/decide/decide.h"
#include "events/named.h"
#include "projections/references.h"

namespace reprise::identity {
namespace {

Events not_admin(const char* what) {
  return refuse(Refusal::not_allowed, fmt::format("Only an admin may {}. Ask one, or use a token of an admin's project.", what));
}

bool project_name_taken(const State& s, const std::string& name, ProjectId but) {
  const Project* other = nullptr;
  s.projects.each_by(Project::by_name, KeyWriter().word(name), [&](const Project& row) {
    if (row.id != but) other = &row;
    return other == nullptr;
  });
  return other != nullptr;
}

bool user_name_taken(const State& s, const std::string& name, UserId but) {
  bool taken = false;
  s.users.each_by(User::by_name, KeyWriter().word(name), [&](const User& row) {
    taken = taken || row.id != but;
    return !taken;
  });
  return taken;
}

Events taken(const char* what, const std::string& name) {
  return refuse(Refusal::name_taken, fmt::format("A {} named {} exists already; choose another name.", what, name));
}
Events no_project(ProjectId id) {
  return refuse(Refusal::no_such_project, fmt::format("Could not find project: {}.", id.hex()), id.as<AnyId>());
}
Events no_user(UserId id) {
  return refuse(Refusal::no_such_user, fmt::format("Could not find user: {}.", id.hex()), id.as<AnyId>());
}
Events no_role(RoleId id) {
  return refuse(Refusal::no_such_role, fmt::format("Could not find role: {}.", id.hex()), id.as<AnyId>());
}

// Name, JSON, name, JSON, …
std::vector<std::string> with_set(std::vector<std::string> all, const std::vector<std::string>& set) {
  for (std::size_t i = 0; i + 1 < set.size(); i += 2) {
    std::size_t at = 0;
    while (at < all.size() && all[at] != set[i]) at += 2;
    if (at < all.size()) all[at + 1] = set[i + 1];
    else all.insert(all.end(), {set[i], set[i + 1]});
  }
  return all;
}

UpdateProject merged(UpdateProject i, const Project& row) {
  using Named = wire::UpdateProjectNamed;
  unless_named(i, Named::VT_NAME, i.name, row.name);
  unless_named(i, Named::VT_DESCRIPTION, i.description, row.description);
  unless_named(i, Named::VT_ENABLED, i.enabled, row.enabled);
  return i;
}

// No password is none that is named.
UpdateUser merged(UpdateUser i, const User& row) {
  using Named = wire::UpdateUserNamed;
  unless_named(i, Named::VT_NAME, i.name, row.name);
  unless_named(i, Named::VT_ENABLED, i.enabled, row.enabled);
  unless_named(i, Named::VT_DEFAULT_PROJECT, i.default_project, row.default_project);
  unless_named(i, Named::VT_EMAIL, i.email, row.email);
  unless_named(i, Named::VT_DESCRIPTION, i.description, row.description);
  return i;
}

SetQuota merged(const State& s, SetQuota i) {
  using Named = wire::SetQuotaNamed;
  const auto keep = [&](flatbuffers::voffset_t field, std::int64_t& limit, Resource resource) {
    unless_named(i, field, limit, quota_limit(s, i.project, resource));
  };
  keep(Named::VT_INSTANCES, i.instances, Resource::instances);
  keep(Named::VT_CORES, i.cores, Resource::cores);
  keep(Named::VT_RAM_MIB, i.ram_mib, Resource::ram_mib);
  keep(Named::VT_VOLUMES, i.volumes, Resource::volumes);
  keep(Named::VT_GIGABYTES, i.gigabytes, Resource::gigabytes);
  keep(Named::VT_NETWORKS, i.networks, Resource::networks);
  keep(Named::VT_SUBNETS, i.subnets, Resource::subnets);
  keep(Named::VT_PORTS, i.ports, Resource::ports);
  keep(Named::VT_KEY_PAIRS, i.key_pairs, Resource::key_pairs);
  keep(Named::VT_IMAGES, i.images, Resource::images);
  keep(Named::VT_IMAGE_BYTES, i.image_bytes, Resource::image_bytes);
  return i;
}

}  // namespace

Events create_project(const State& s, const CreateProject& i, const Context& c) {
  if (!c.rights.admin) return not_admin("create projects");
  if (s.projects.contains(i.id)) return refuse(Refusal::id_taken, "A project with that id exists.");
  if (project_name_taken(s, i.name, i.id)) return taken("project", i.name);
  return {ProjectCreated{.id = i.id, .name = i.name, .description = i.description, .enabled = i.enabled, .extra = i.extra}};
}

Events update_project(const State& s, const UpdateProject& asked, const Context& c) {
  if (!c.rights.admin) return not_admin("change projects");
  const Project* project = s.projects.find(asked.id);
  if (!project) return no_project(asked.id);
  const auto i = merged(asked, *project);
  if (project_name_taken(s, i.name, i.id)) return taken("project", i.name);
  if (i.id == c.project() && !i.enabled)
    return refuse(Refusal::in_use, "A project cannot be disabled from within itself; use another project's token.");
  return {ProjectUpdated{.id = i.id, .name = i.name, .description = i.description, .enabled = i.enabled,
                         .extra = with_set(project->extra, i.extra_set)}};
}

Events delete_project(const State& s, const DeleteProject& i, const Context& c) {
  if (!c.rights.admin) return not_admin("delete projects");
  if (!s.projects.contains(i.id)) return no_project(i.id);
  if (i.id == c.project()) return refuse(Refusal::in_use, "A project cannot delete itself; use another project's token.");
  std::string owned;
  for (const auto& [table, count] : owned_by(s, i.id)) owned += fmt::format("{} {} {}", owned.empty() ? "" : ",", count, table);
  if (!owned.empty())
    return refuse(Refusal::in_use, fmt::format("The project still has:{}. Delete them first.", owned), i.id.as<AnyId>());
  Events events;
  s.users.each([&](const User& row) {
    if (row.default_project == i.id)
      events.push_back(UserUpdated{.id = row.id, .name = row.name, .enabled = row.enabled, .email = row.email, .description = row.description});
  });
  events.push_back(ProjectDeleted{.id = i.id});
  return events;
}

Events create_user(const State& s, const CreateUser& i, const Context& c) {
  if (!c.rights.admin) return not_admin("create users");
  if (s.users.contains(i.id)) return refuse(Refusal::id_taken, "A user with that id exists.");
  if (user_name_taken(s, i.name, i.id)) return taken("user", i.name);
  if (i.default_project && !s.projects.contains(i.default_project)) return no_project(i.default_project);
  return {UserCreated{.id = i.id, .name = i.name, .password_hash = i.password_hash, .enabled = i.enabled,
                      .default_project = i.default_project, .email = i.email, .description = i.description, .extra = i.extra}};
}

Events update_user(const State& s, const UpdateUser& asked, const Context& c) {
  const User* user = s.users.find(asked.id);
  if (!user) return c.rights.admin ? no_user(asked.id) : not_admin("change users");
  const auto i = merged(asked, *user);
  const bool own_password = i.id == c.user() && i.name == user->name && i.enabled == user->enabled;
  if (!c.rights.admin && !own_password) return not_admin("change users");
  if (user_name_taken(s, i.name, i.id)) return taken("user", i.name);
  if (i.id == c.user() && !i.enabled) return refuse(Refusal::in_use, "A user cannot disable itself.");
  if (i.default_project && !s.projects.contains(i.default_project)) return no_project(i.default_project);
  return {UserUpdated{.id = i.id, .name = i.name, .password_hash = i.password_hash, .enabled = i.enabled,
                      .default_project = i.default_project, .email = i.email, .description = i.description,
                      .extra = with_set(user->extra, i.extra_set)}};
}

Events delete_user(const State& s, const DeleteUser& i, const Context& c) {
  if (!c.rights.admin) return not_admin("delete users");
  if (!s.users.contains(i.id)) return no_user(i.id);
  if (i.id == c.user()) return refuse(Refusal::in_use, "A user cannot delete itself.");
  return {UserDeleted{.id = i.id}};
}

Events create_role(const State& s, const CreateRole& i, const Context& c) {
  if (!c.rights.admin) return not_admin("create roles");
  if (s.roles.contains(i.id)) return refuse(Refusal::id_taken, "A role with that id exists.");
  if (s.roles.any_by(Role::by_name, KeyWriter().word(i.name))) return taken("role", i.name);
  return {RoleCreated{.id = i.id, .name = i.name, .description = i.description, .extra = i.extra}};
}

Events delete_role(const State& s, const DeleteRole& i, const Context& c) {
  if (!c.rights.admin) return not_admin("delete roles");
  const Role* role = s.roles.find(i.id);
  if (!role) return no_role(i.id);
  if (role->name == "admin" || role->name == "member" || role->name == "reader")
    return refuse(Refusal::in_use, fmt::format("The role {} is part of the policy and stays.", role->name));
  Events events;
  s.role_assignments.each([&](const RoleAssignment& row) {
    if (row.id.role == i.id) events.push_back(RoleUnassigned{.project = row.id.project, .user = row.id.user, .role = i.id});
  });
  events.push_back(RoleDeleted{.id = i.id});
  return events;
}

Events assign_role(const State& s, const AssignRole& i, const Context& c) {
  if (!c.rights.admin) return not_admin("assign roles");
  if (!s.projects.contains(i.project)) return no_project(i.project);
  if (!s.users.contains(i.user)) return no_user(i.user);
  if (!s.roles.contains(i.role)) return no_role(i.role);
  if (s.role_assignments.contains({i.project, i.user, i.role})) return {TimePassed{}};  // so it is already
  return {RoleAssigned{.project = i.project, .user = i.user, .role = i.role}};
}

Events unassign_role(const State& s, const UnassignRole& i, const Context& c) {
  if (!c.rights.admin) return not_admin("take roles away");
  if (!s.role_assignments.contains({i.project, i.user, i.role}))
    return refuse(Refusal::no_such_assignment, "The user does not have that role in that project.");
  const Role& role = s.roles.at(i.role);
  if (i.user == c.user() && i.project == c.project() && role.name == "admin")
    return refuse(Refusal::in_use, "An admin cannot take its own admin role away; let another admin do it.");
  return {RoleUnassigned{.project = i.project, .user = i.user, .role = i.role}};
}

Events revoke_token(const State& s, const RevokeToken& i, const Context& c) {
  if (s.revoked_tokens.contains(i.audit_id) || i.expires_ms < c.at_ms) return {TimePassed{}};  // so it is already
  return {TokenRevoked{.audit_id = i.audit_id, .expires_ms = i.expires_ms}};
}

Events set_quota(const State& s, const SetQuota& asked, const Context& c) {
  if (!c.rights.admin) return not_admin("set quotas");
  if (!s.projects.contains(asked.project)) return no_project(asked.project);
  const auto i = merged(s, asked);
  QuotaSet set{.project = i.project, .instances = i.instances, .cores = i.cores, .ram_mib = i.ram_mib,
               .volumes = i.volumes, .gigabytes = i.gigabytes, .networks = i.networks, .subnets = i.subnets,
               .ports = i.ports, .key_pairs = i.key_pairs, .images = i.images, .image_bytes = i.image_bytes,
               .says_images = i.says_images};
  const Quota* quota = s.quotas.find(i.project);
  if (!i.says_images && quota && quota->limits.size() > counted_resources) {
    set.images = quota_limit(s, i.project, Resource::images);
    set.image_bytes = quota_limit(s, i.project, Resource::image_bytes);
    set.says_images = true;
  }
  for (const auto limit : {i.instances, i.cores, i.ram_mib, i.volumes, i.gigabytes, i.networks, i.subnets, i.ports, i.key_pairs,
                           set.images, set.image_bytes})
    if (limit < -1) return refuse(Refusal::bad_range, fmt::format("A quota of {} is not possible: -1 is unlimited.", limit));
  return {std::move(set)};
}

}  // namespace reprise::identity
