// Projects, users, roles, role assignments, revoked tokens, quotas and what is used of them.
#pragma once

#include "events/codec.h"
#include "projections/canonical.h"
#include "projections/meta.h"

namespace reprise {

struct State;

struct Project {
  using Key = ProjectId;
  static constexpr std::uint8_t table = 4;
  static constexpr const char* table_name = "projects";
  enum Index : std::uint8_t { by_name = 0 };

  ProjectId id;
  Born born;
  std::string name;
  std::string description;
  bool enabled = false;
  std::vector<std::string> extra;  // name, JSON, …
  bool operator==(const Project&) const = default;

  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "name", s.name), f(4, "description", s.description), f(5, "enabled", s.enabled);
    f(6, "extra", s.extra);
  }
  template <class Emit>
  void indexes(Emit&& emit) const { emit(by_name, KeyWriter().word(name)); }
};

struct User {
  using Key = UserId;
  static constexpr std::uint8_t table = 5;
  static constexpr const char* table_name = "users";
  enum Index : std::uint8_t { by_name = 0 };

  UserId id;
  Born born;
  std::string name;
  std::string password_hash;       // argon2id, as libsodium writes it
  bool enabled = false;
  ProjectId default_project;
  std::string email;
  std::string description;
  std::int64_t tokens_from_ms = 0; // log time of the last new password or disabling: what tokens rest on
  std::vector<std::string> extra;  // name, JSON, …
  bool operator==(const User&) const = default;

  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "name", s.name), f(4, "password_hash", s.password_hash);
    f(5, "enabled", s.enabled), f(6, "default_project", s.default_project), f(7, "email", s.email);
    f(8, "description", s.description), f(9, "tokens_from_ms", s.tokens_from_ms), f(10, "extra", s.extra);
  }
  template <class Emit>
  void indexes(Emit&& emit) const { emit(by_name, KeyWriter().word(name)); }
};

struct Role {
  using Key = RoleId;
  static constexpr std::uint8_t table = 6;
  static constexpr const char* table_name = "roles";
  enum Index : std::uint8_t { by_name = 0 };

  RoleId id;
  Born born;
  std::string name;
  std::string description;
  std::vector<std::string> extra;  // name, JSON, …
  bool operator==(const Role&) const = default;

  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "name", s.name), f(4, "description", s.description), f(5, "extra", s.extra);
  }
  template <class Emit>
  void indexes(Emit&& emit) const { emit(by_name, KeyWriter().word(name)); }
};

struct AssignmentKey {
  ProjectId project;
  UserId user;
  RoleId role;
  auto operator<=>(const AssignmentKey&) const = default;
};
inline std::string encode_key(const AssignmentKey& key) { return KeyWriter().id(key.project).id(key.user).id(key.role); }
inline void decode_key(std::string_view bytes, AssignmentKey& key) {
  KeyReader in(bytes);
  in.id(key.project), in.id(key.user), in.id(key.role);
}
constexpr std::size_t encoded_key_size(const AssignmentKey&) { return 48; }

// A user has a role in a project.
struct RoleAssignment {
  using Key = AssignmentKey;
  static constexpr std::uint8_t table = 7;
  static constexpr const char* table_name = "role_assignments";
  enum Index : std::uint8_t { by_user = 0, by_project_user = 1 };

  AssignmentKey id;
  Born born;
  bool operator==(const RoleAssignment&) const = default;

  Key key() const { return id; }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "project", s.id.project), f(2, "user", s.id.user), f(3, "role", s.id.role), f(4, "born", s.born);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_user, KeyWriter().id(id.user));
    emit(by_project_user, KeyWriter().id(id.project).id(id.user));
  }
};

struct RevokedToken {
  using Key = AnyId;
  static constexpr std::uint8_t table = 8;
  static constexpr const char* table_name = "revoked_tokens";
  enum Index : std::uint8_t { by_expiry = 0 };

  AnyId audit_id;
  std::int64_t expires_ms = 0;
  bool operator==(const RevokedToken&) const = default;

  Key key() const { return audit_id; }
  template <class S, class F>
  static void fields(S& s, F&& f) { f(1, "audit_id", s.audit_id), f(2, "expires_ms", s.expires_ms); }
  template <class Emit>
  void indexes(Emit&& emit) const { emit(by_expiry, KeyWriter().time(expires_ms)); }
};

// What is limited per project. The order is that of Quota::limits and, up to counted_resources, of Usage::used.
enum class Resource : std::uint8_t {
  instances, cores, ram_mib, volumes, gigabytes, networks, subnets, ports, key_pairs, images, image_bytes
};
inline constexpr std::size_t resource_count = 11;
// Those of them that Usage counts as rows change. The images of a project are few: summed up when it is asked.
inline constexpr std::size_t counted_resources = 9;
const char* resource_name(Resource resource);

// Limits that were set for a project; one without a row has the defaults. -1 is unlimited.
struct Quota {
  using Key = ProjectId;
  static constexpr std::uint8_t table = 9;
  static constexpr const char* table_name = "quotas";

  ProjectId project;
  std::vector<std::int64_t> limits;
  bool operator==(const Quota&) const = default;

  Key key() const { return project; }
  template <class S, class F>
  static void fields(S& s, F&& f) { f(1, "project", s.project), f(2, "limits", s.limits); }
};
// nova's, cinder's, neutron's and glance's own defaults, a little wider.
inline constexpr std::array<std::int64_t, resource_count> default_limits = {
    200, 400, 512 * 1024, 200, 10'000, 100, 100, 500, 100, 500, std::int64_t{2} << 40};

// What a project uses: made from the rows themselves as they change (usage.cc), so it cannot drift.
struct Usage {
  using Key = ProjectId;
  static constexpr std::uint8_t table = 10;
  static constexpr const char* table_name = "usage";

  ProjectId project;
  std::vector<std::int64_t> used;
  bool operator==(const Usage&) const = default;

  Key key() const { return project; }
  template <class S, class F>
  static void fields(S& s, F&& f) { f(1, "project", s.project), f(2, "used", s.used); }
};

namespace identity {
void project_created(State&, const ProjectCreated&, const Meta&);
void project_updated(State&, const ProjectUpdated&, const Meta&);
void project_deleted(State&, const ProjectDeleted&, const Meta&);
void user_created(State&, const UserCreated&, const Meta&);
void user_updated(State&, const UserUpdated&, const Meta&);
void user_deleted(State&, const UserDeleted&, const Meta&);
void role_created(State&, const RoleCreated&, const Meta&);
void role_deleted(State&, const RoleDeleted&, const Meta&);
void role_assigned(State&, const RoleAssigned&, const Meta&);
void role_unassigned(State&, const RoleUnassigned&, const Meta&);
void token_revoked(State&, const TokenRevoked&, const Meta&);
void quota_set(State&, const QuotaSet&, const Meta&);
}  // namespace identity

}  // namespace reprise
