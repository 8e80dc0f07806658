// POST, GET, HEAD and DELETE /v3/auth/tokens: by password or by another token; scoped to a project by its id
// or its name, to the user's default project when no scope is given, or unscoped.
#include <fmt/format.h>

#include <algorithm>

#include "controlplane/api/catalog.h"
#include "controlplane/api/identity.h"

namespace reprise::api {
namespace {

// A revocation is kept by log time, a token ends by wall time: they may differ a little.
constexpr std::int64_t revocation_margin_ms = 3'600'000;
constexpr const char* unauthorized = "The request you have made requires authentication.";

struct Scope {
  enum class Kind { none, unscoped, project, other } kind = Kind::none;
  std::optional<std::string> id, name;
  bool our_domain = true;
};

// Who it says it is, and how it would prove it.
struct Login {
  bool by_token = false;
  std::string token;
  std::optional<std::string> user_id, user_name;
  bool our_domain = true;
  std::string password;
  Scope scope;
};

bool read_domain(Fields& owner) {
  auto domain = owner.optional_object("domain");
  if (!domain) return true;
  const auto id = domain->optional_string("id", 1, 255);
  const auto name = domain->optional_string("name", 1, 255);
  domain->done();
  return is_our_domain(id, name);
}

Scope read_scope(Fields& auth) {
  Scope scope;
  if (auth.kind("scope") == JsonKind::string) {
    scope.kind = Scope::Kind::unscoped;
    auth.word("scope", {"unscoped"});
    return scope;
  }
  auto fields = auth.optional_object("scope");
  if (!fields) return scope;
  if (fields->kind("unscoped") != JsonKind::absent) {
    fields->ignore("unscoped");
    scope.kind = Scope::Kind::unscoped;
  } else if (fields->kind("project") != JsonKind::absent) {
    Fields project = fields->object("project");
    scope.kind = Scope::Kind::project;
    scope.id = project.optional_string("id", 1, 64);
    scope.name = project.optional_string("name", 1, 255);
    scope.our_domain = read_domain(project);
    if (!scope.id && !scope.name) project.fail("id", "or name is required: which project?");
    project.done();
  } else {
    scope.kind = Scope::Kind::other;
    fields->ignore("domain"), fields->ignore("system"), fields->ignore("OS-TRUST:trust");
  }
  fields->done();
  return scope;
}

Login read_login(Ask& ask) {
  Login login;
  Fields body = ask.body();
  Fields auth = body.object("auth");
  Fields identity = auth.object("identity");
  const auto methods = identity.strings("methods", 8, 1, 64);
  const auto has = [&](const char* method) {
    return std::find(methods.begin(), methods.end(), method) != methods.end();
  };
  if (has("password")) {
    Fields user = identity.object("password").object("user");
    login.user_id = user.optional_string("id", 1, 64);
    login.user_name = user.optional_string("name", 1, 255);
    login.our_domain = read_domain(user);
    login.password = user.text("password", 0, password_chars_max);
    if (!login.user_id && !login.user_name) user.fail("id", "or name is required: who asks?");
    user.done();
    identity.ignore("token");
  } else if (has("token")) {
    login.by_token = true;
    Fields token = identity.object("token");
    login.token = token.string("id", 1, 1024);
    token.done();
    identity.ignore("password");
  } else {
    identity.fail("methods", "must hold password or token");
  }
  login.scope = read_scope(auth);
  identity.done(), auth.done(), body.done();
  return login;
}

std::optional<User> user_of(const View& view, const Login& login) {
  if (!login.our_domain) return std::nullopt;
  if (!login.user_id) return user_by_name(view, *login.user_name);
  const auto id = UserId::parse(*login.user_id);
  return id ? view.find<User>(*id) : std::nullopt;
}

// ---- what a token says

void write_methods(JsonWriter& json, std::uint8_t methods) {
  json.array("methods");
  if (methods & by_password) json.value("password");
  if (methods & by_token) json.value("token");
  if (methods & by_application_credential) json.value("application_credential");
  json.end_array();
}

std::string token_json(const Ask& ask, const Api& api, const View& view, const TokenClaims& claims,
                       const User& user, std::optional<AnyId> parent) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("token");
  write_methods(json, claims.methods);
  json.object("user").key("domain");
  write_domain(json);
  json.field("id", user.id.hex()).field("name", user.name).key("password_expires_at").null().end_object();
  json.array("audit_ids").value(audit_text(claims.audit));
  if (parent) json.value(audit_text(*parent));
  json.end_array();
  json.field("expires_at", time_micros_z(claims.expires_ms))
      .field("issued_at", time_micros_z(claims.issued_ms));
  const auto project = claims.project ? view.find<Project>(claims.project) : std::nullopt;
  if (project) {
    json.object("project").key("domain");
    write_domain(json);
    json.field("id", project->id.hex()).field("name", project->name).end_object();
    json.field("is_domain", false).array("roles");
    for (const auto& role : roles_of(view, project->id, user.id))
      json.begin_object().field("id", role.id.hex()).field("name", role.name).end_object();
    json.end_array();
    if (!ask.query("nocatalog")) {
      json.key("catalog");
      write_catalog(json, ask, api, project->id);
    }
  }
  json.end_object().end_object();
  return body;
}

// ---- POST

// The project that the token will be for; a refusal when it cannot be.
Result<ProjectId> choose_project(const View& view, const Scope& scope, const User& user) {
  switch (scope.kind) {
    case Scope::Kind::unscoped:
      return ProjectId{};
    case Scope::Kind::other:
      return Error{Errc::unsupported,
                   "Only a project can be the scope here: give scope.project, or \"unscoped\"."};
    case Scope::Kind::none:
      return user.default_project && rights_of(view, user.id, user.default_project).known
                 ? user.default_project
                 : ProjectId{};
    case Scope::Kind::project:
      break;
  }
  std::optional<Project> project;
  if (scope.id) {
    if (const auto id = ProjectId::parse(*scope.id)) project = view.find<Project>(*id);
  } else if (scope.our_domain) {
    project = project_by_name(view, *scope.name);
  }
  if (project && rights_of(view, user.id, project->id).known) return project->id;
  return Error{Errc::denied,
               fmt::format("{} The user has no role in a project {}, or one of them is disabled.",
                           unauthorized, scope.id ? *scope.id : *scope.name)};
}

Response issue(Ask& ask, Api& api, const View& view, const User& user, const Scope& scope,
               const TokenClaims* parent) {
  const auto project = choose_project(view, scope, user);
  if (!project) return ask.error(project.error().code == Errc::unsupported ? 400 : 401, project.error().text);
  TokenClaims claims;
  claims.user = user.id;
  claims.project = *project;
  claims.issued_ms = static_cast<std::uint64_t>(ask.now_ms());
  claims.credentials = credentials_of(user);
  claims.expires_ms = claims.issued_ms + static_cast<std::uint64_t>(api.config().token_lifetime_ms);
  claims.audit = random_id();
  if (parent != nullptr) {  // a token made of another ends with it
    claims.expires_ms = parent->expires_ms;
    claims.credentials = parent->credentials;
    claims.methods = parent->methods | by_token;
  }
  auto response =
      json_response(201, token_json(ask, api, view, claims, user,
                                    parent != nullptr ? std::optional(parent->audit) : std::nullopt));
  response.header("X-Subject-Token", make_token(api.keyring(), claims)).header("Vary", "X-Auth-Token");
  return response;
}

Plan create_token(Ask& ask, Api& api) {
  auto login = read_login(ask);
  if (auto bad = ask.bad()) return std::move(*bad);
  if (login.by_token) {
    const auto actor = actor_of(api.keyring(), api.standings(), ask.view(), login.token, ask.now_ms());
    const auto user = actor ? ask.view().find<User>(actor->user) : std::nullopt;
    if (!user) return ask.error(401, actor ? unauthorized : actor.error().text);
    return issue(ask, api, ask.view(), *user, login.scope, &actor->claims);
  }
  const auto user = user_of(ask.view(), login);
  const bool may = user && user->enabled;
  auto hash = may ? user->password_hash : std::string();
  return Later{
      [&api, login = std::move(login), user, may, hash = std::move(hash)](Ask& ask, Later::Resume resume) {
        const auto verified = [&api, &ask, user, may, scope = login.scope, resume](bool right) {
          // Not a word about which of the two was wrong.
          if (!right || !may) return resume(ask.error(401, unauthorized));
          resume(issue(ask, api, ask.view(), *user, scope, nullptr));
        };
        const PasswordPool::Asker asker{login.user_id.value_or(login.user_name.value_or("")), address_of(ask.request().client)};
        if (api.passwords().verify(asker, login.password, hash, verified)) return;
        auto busy = ask.error(503, "Too many passwords wait to be checked: try again in a second.");
        busy.header("Retry-After", "1");
        resume(std::move(busy));
      }};
}

// ---- GET, HEAD, DELETE

// The token in X-Subject-Token, if the actor may know about it.
std::optional<Actor> subject(const Ask& ask, const Api& api, const View& now) {
  auto actor = actor_of(api.keyring(), api.standings(), now, ask.request().header("X-Subject-Token"), ask.now_ms());
  if (!actor || !(actor->user == ask.actor().user || ask.actor().rights.admin)) return std::nullopt;
  return std::move(*actor);
}

Response show_token(Ask& ask, Api& api) {
  const View now = api.backend().view();
  const auto token = subject(ask, api, now);
  const auto user = token ? now.find<User>(token->user) : std::nullopt;
  if (!user)
    return ask.error(
        404, "The token in X-Subject-Token is not valid: it has expired, was revoked, or is no token.");
  auto response = json_response(200, token_json(ask, api, now, token->claims, *user, std::nullopt));
  response.header("X-Subject-Token", ask.request().header("X-Subject-Token"));
  return response;
}

Plan revoke_token(Ask& ask, Api& api) {
  const auto token = subject(ask, api, ask.view());
  if (!token)
    return ask.error(
        404, "The token in X-Subject-Token is not valid: it has expired, was revoked, or is no token.");
  Change change(
      RevokeToken{.audit_id = token->claims.audit,
                  .expires_ms = static_cast<std::int64_t>(token->claims.expires_ms) + revocation_margin_ms},
      token->claims.audit, [](Ask&) { return Response(204); });
  change.project = project_for_intents(ask);
  if (!change.project)
    return ask.error(403, "The user has no role in any project: its token ends by itself.");
  return change;
}

Response list_own_projects(Ask& ask) {
  std::vector<Attributes> rows;
  for (const auto& project : projects_of(ask.view(), ask.actor().user))
    rows.push_back(project_row(ask, project));
  return list_response(ask, std::move(rows), {.plural = "projects", .identity_links = true});
}

}  // namespace

ProjectId project_for_intents(const Ask& ask) {
  if (ask.actor().project) return ask.actor().project;
  for (const auto& project : projects_of(ask.view(), ask.actor().user))
    if (project.enabled) return project.id;
  return {};
}

void register_tokens(Api& api) {
  api.write(Service::identity, Method::post, "/v3/auth/tokens", Need::nothing,
            [&api](Ask& ask) { return create_token(ask, api); });
  api.read(Service::identity, "/v3/auth/tokens", Need::token,
           [&api](Ask& ask) { return show_token(ask, api); });
  api.write(Service::identity, Method::del, "/v3/auth/tokens", Need::token,
            [&api](Ask& ask) { return revoke_token(ask, api); });
  api.read(Service::identity, "/v3/auth/projects", Need::token, list_own_projects);
  api.read(Service::identity, "/v3/auth/domains", Need::token,
           [](Ask& ask) { return list_response(ask, {}, {.plural = "domains", .identity_links = true}); });
}

}  // namespace reprise::api
