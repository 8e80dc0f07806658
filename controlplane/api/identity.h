// What the files of identity v3 share. There is one domain, Default, and projects have no parents but it.
//
//   identity_tokens.cc    /auth/tokens, /auth/projects
//   identity_projects.cc  /, /v3, /domains, /projects
//   identity_users.cc     /users
//   identity_roles.cc     /roles, /role_assignments, /projects/{}/users/{}/roles
//   catalog.cc            /auth/catalog, /services, /endpoints
#pragma once

#include "controlplane/api/attributes.h"
#include "controlplane/api/service.h"

namespace reprise::api {

inline constexpr const char* domain_id = "default";
inline constexpr const char* domain_name = "Default";

// {"id": "default", "name": "Default"}
void write_domain(JsonWriter& json);
// The domain that a body names is ours, or none was named.
bool is_our_domain(const std::optional<std::string>& id, const std::optional<std::string>& name);
// The fields "domain_id" of a project or user: a mistake if it is another's.
void take_domain_id(Fields& fields);

Attributes project_row(const Ask& ask, const Project& project);
Attributes user_row(const Ask& ask, const User& user);

std::optional<Project> project_by_name(const View& view, std::string_view name);
std::optional<User> user_by_name(const View& view, std::string_view name);

// The roles that someone has in a project, in order of their names.
std::vector<Role> roles_of(const View& view, ProjectId project, UserId user);
// The projects where someone has a role.
std::vector<Project> projects_of(const View& view, UserId user);

// Where the intents of a token without a project are counted: any project of the user's. None: it has none.
ProjectId project_for_intents(const Ask& ask);

Response not_found(const Ask& ask, std::string_view what, std::string_view id);

void register_tokens(Api& api);
void register_projects(Api& api);
void register_users(Api& api);
void register_roles(Api& api);

// Keystone keeps what it does not know of users, projects and roles, and shows it again (its `extra`).
std::vector<std::string> take_extra(Fields& fields);

}  // namespace reprise::api
