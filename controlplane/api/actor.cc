#include "controlplane/api/actor.h"

#include <fmt/format.h>

namespace reprise::api {

Rights rights_of(const View& view, UserId user_id, ProjectId project_id) {
  Rights rights;
  const auto user = view.find<User>(user_id);
  const auto project = view.find<Project>(project_id);
  if (!user || !user->enabled || !project || !project->enabled) return rights;
  view.each_by<RoleAssignment>(RoleAssignment::by_project_user, KeyWriter().id(project_id).id(user_id),
                               [&](const RoleAssignment& row) {
                                 const auto role = view.find<Role>(row.id.role);
                                 if (!role) return;
                                 rights.known = true;
                                 rights.admin = rights.admin || role->name == "admin";
                                 rights.member = rights.member || role->name == "member";
                                 rights.reader = rights.reader || role->name == "reader";
                               });
  rights.member = rights.member || rights.admin;
  rights.reader = rights.reader || rights.member;
  return rights;
}

Result<Actor> actor_of(const Keyring& keyring, const View& now, std::string_view token,
                       std::int64_t wall_ms) {
  const auto refuse = [](std::string why) {
    return Error{Errc::denied, "The request you have made requires authentication: " + std::move(why)};
  };
  if (token.empty()) return refuse("give a token in X-Auth-Token.");
  auto claims = open_token(keyring, token, static_cast<std::uint64_t>(wall_ms));
  if (!claims) return refuse(claims.error().text + ".");
  if (now.contains<RevokedToken>(claims->audit)) return refuse("the token was revoked: ask for a new one.");
  const auto user = now.find<User>(claims->user);
  if (!user || !user->enabled) return refuse("the token's user was deleted or disabled.");
  if (static_cast<std::int64_t>(claims->as_of_ms) < user->tokens_from_ms)
    return refuse("the token is older than the user's password: ask for a new one.");
  Actor actor{.claims = *claims, .user = claims->user, .project = claims->project, .user_name = user->name};
  if (!actor.project) return actor;
  const auto project = now.find<Project>(actor.project);
  if (!project || !project->enabled) return refuse("the token's project was deleted or disabled.");
  actor.project_name = project->name;
  actor.rights = rights_of(now, actor.user, actor.project);
  if (!actor.rights.known) return refuse("the user has no role in the token's project any more.");
  return actor;
}

}  // namespace reprise::api
