#include "projections/identity.h"

#include "projections/state.h"

namespace reprise::identity {

void project_created(State& s, const ProjectCreated& e, const Meta& m) {
  s.projects.insert({.id = e.id, .born = m.born, .name = e.name, .description = e.description, .enabled = e.enabled,
                     .extra = e.extra});
}

void project_updated(State& s, const ProjectUpdated& e, const Meta&) {
  Project& project = s.projects.edit(e.id);
  project.name = e.name;
  project.description = e.description;
  project.enabled = e.enabled;
  if (!e.extra.empty()) project.extra = e.extra;
}

void project_deleted(State& s, const ProjectDeleted& e, const Meta&) {
  std::vector<AssignmentKey> assignments;
  s.role_assignments.each([&](const RoleAssignment& row) {
    if (row.id.project == e.id) assignments.push_back(row.id);
  });
  for (const auto& key : assignments) s.role_assignments.erase(key);
  if (s.quotas.contains(e.id)) s.quotas.erase(e.id);
  s.projects.erase(e.id);
}

void user_created(State& s, const UserCreated& e, const Meta& m) {
  s.users.insert({.id = e.id, .born = m.born, .name = e.name, .password_hash = e.password_hash, .enabled = e.enabled,
                  .default_project = e.default_project, .email = e.email, .description = e.description,
                  .extra = e.extra});
}

void user_updated(State& s, const UserUpdated& e, const Meta& m) {
  User& user = s.users.edit(e.id);
  user.name = e.name;
  user.default_project = e.default_project;
  user.email = e.email;
  user.description = e.description;
  if (!e.password_hash.empty()) user.password_hash = e.password_hash;
  if (!e.password_hash.empty() || (user.enabled && !e.enabled)) user.tokens_from_ms = m.at_ms;
  user.enabled = e.enabled;
  if (!e.extra.empty()) user.extra = e.extra;
}

void user_deleted(State& s, const UserDeleted& e, const Meta&) {
  std::vector<AssignmentKey> assignments;
  s.role_assignments.each_by(RoleAssignment::by_user, encode_key(e.id), [&](const RoleAssignment& row) {
    assignments.push_back(row.id);
    return true;
  });
  for (const auto& key : assignments) s.role_assignments.erase(key);
  std::vector<KeypairKey> keypairs;
  s.keypairs.each([&](const Keypair& row) {
    if (row.id.user == e.id) keypairs.push_back(row.id);
  });
  for (const auto& key : keypairs) s.keypairs.erase(key);
  s.users.erase(e.id);
}

void role_created(State& s, const RoleCreated& e, const Meta& m) {
  s.roles.insert({.id = e.id, .born = m.born, .name = e.name, .description = e.description, .extra = e.extra});
}

void role_deleted(State& s, const RoleDeleted& e, const Meta&) { s.roles.erase(e.id); }

void role_assigned(State& s, const RoleAssigned& e, const Meta& m) {
  s.role_assignments.insert({.id = {e.project, e.user, e.role}, .born = m.born});
}

void role_unassigned(State& s, const RoleUnassigned& e, const Meta&) { s.role_assignments.erase({e.project, e.user, e.role}); }

void token_revoked(State& s, const TokenRevoked& e, const Meta&) {
  s.revoked_tokens.insert({.audit_id = e.audit_id, .expires_ms = e.expires_ms});
}

void quota_set(State& s, const QuotaSet& e, const Meta&) {
  if (!s.quotas.contains(e.project)) s.quotas.insert({.project = e.project});
  std::vector<std::int64_t> limits{e.instances, e.cores,    e.ram_mib, e.volumes, e.gigabytes,
                                   e.networks,  e.subnets, e.ports,   e.key_pairs};
  if (e.says_images) limits.insert(limits.end(), {e.images, e.image_bytes});
  s.quotas.edit(e.project).limits = std::move(limits);
}

}  // namespace reprise::identity
