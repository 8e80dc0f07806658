#include "controlplane/api/actor.h"

#include <fmt/format.h>

#include <cstring>

#include "events/hash.h"

namespace reprise::api {
namespace {
constexpr std::size_t known_max = 10'000;

Error refuse(std::string why) {
  return {Errc::denied, "The request you have made requires authentication: " + std::move(why)};
}
}  // namespace

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

std::uint64_t credentials_of(const User& user) {
  const auto hash = blake2b(fmt::format("{} {}", user.tokens_from_ms, user.password_hash));
  std::uint64_t first = 0;
  std::memcpy(&first, hash.bytes.data(), sizeof first);
  return first;
}

Standing Standings::of(const View& now, UserId user_id, ProjectId project_id) {
  const Seq since = now.unchanged_since<User, Project, Role, RoleAssignment>();
  const std::pair key(user_id, project_id);
  {
    std::lock_guard lock(mutex_);
    const auto at = known_.find(key);
    if (at != known_.end() && at->second.since == since) return at->second.standing;
  }
  Standing standing;
  if (const auto user = now.find<User>(user_id)) {
    standing.user_enabled = user->enabled;
    standing.credentials = credentials_of(*user);
    standing.user_name = user->name;
  }
  if (project_id) {
    if (const auto project = now.find<Project>(project_id)) {
      standing.project_enabled = project->enabled;
      standing.project_name = project->name;
    }
    standing.rights = rights_of(now, user_id, project_id);
  }
  if (!now.status()) return standing;  // what could not be read is not remembered
  std::lock_guard lock(mutex_);
  if (known_.size() >= known_max) known_.clear();
  known_[key] = {since, standing};
  return standing;
}

std::optional<Error> refuse_token(const Keyring& keyring, std::string_view token, std::int64_t now_ms) {
  if (token.empty()) return refuse("give a token in X-Auth-Token.");
  const auto claims = open_token(keyring, token, static_cast<std::uint64_t>(now_ms));
  return claims ? std::nullopt : std::optional(refuse(claims.error().text + "."));
}

Result<Actor> actor_of(const Keyring& keyring, Standings& standings, const View& now, std::string_view token,
                       std::int64_t wall_ms) {
  if (token.empty()) return refuse("give a token in X-Auth-Token.");
  // A revocation is kept until log time passes the token's end: what log time says of that end counts, too.
  auto claims = open_token(keyring, token, static_cast<std::uint64_t>(std::max(wall_ms, now.at_ms())));
  if (!claims) return refuse(claims.error().text + ".");
  if (now.contains<RevokedToken>(claims->audit)) return refuse("the token was revoked: ask for a new one.");
  auto standing = standings.of(now, claims->user, claims->project);
  if (!standing.user_enabled) return refuse("the token's user was deleted or disabled.");
  if (claims->credentials != standing.credentials)
    return refuse("the token is older than the user's password: ask for a new one.");
  Actor actor{.claims = *claims, .user = claims->user, .project = claims->project,
              .user_name = std::move(standing.user_name)};
  if (!actor.project) return actor;
  if (!standing.project_enabled) return refuse("the token's project was deleted or disabled.");
  actor.project_name = std::move(standing.project_name);
  actor.rights = standing.rights;
  if (!actor.rights.known) return refuse("the user has no role in the token's project any more.");
  return actor;
}

}  // namespace reprise::api
