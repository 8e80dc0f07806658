#include <fmt/format.h>

#include "controlplane/api/identity.h"
#include "events/named.h"

namespace reprise::api {
namespace {

constexpr std::size_t name_chars_max = 255;
constexpr std::size_t description_chars_max = 1024;

Response show(Ask& ask, UserId id, int status) {
  const auto user = ask.view().find<User>(id);
  if (!user) return not_found(ask, "user", id.hex());
  return show_response(ask, status, "user", user_row(ask, *user));
}

bool is_self_or_admin(const Ask& ask, UserId id) {
  return id == ask.actor().user || ask.actor().rights.admin;
}

Response show_user(Ask& ask) {
  const auto id = ask.id<UserId>(0);
  if (!id || !is_self_or_admin(ask, *id)) return not_found(ask, "user", ask.param(0));
  return show(ask, *id, 200);
}

Response list_users(Ask& ask) {
  std::vector<Attributes> rows;
  ask.view().each<User>([&](const User& user) { rows.push_back(user_row(ask, user)); });
  return list_response(ask, std::move(rows), {.plural = "users", .identity_links = true});
}

Response list_projects_of_user(Ask& ask) {
  const auto id = ask.id<UserId>(0);
  if (!id || !is_self_or_admin(ask, *id) || !ask.view().contains<User>(*id))
    return not_found(ask, "user", ask.param(0));
  std::vector<Attributes> rows;
  for (const auto& project : projects_of(ask.view(), *id)) rows.push_back(project_row(ask, project));
  return list_response(ask, std::move(rows), {.plural = "projects", .identity_links = true});
}

// Hashes the password on its own worker, then goes on with the intent; none: at once.
template <class Intent>
Plan with_password(Api& api, std::optional<std::string> password, Intent intent,
                   std::function<Plan(Ask&, Intent)> next, Ask& ask) {
  if (!password) return next(ask, std::move(intent));
  return Later{[&api, password = std::move(*password), intent = std::move(intent), next](
                   Ask& ask, Later::Resume resume) {
    const auto hashed = [&ask, intent, next, resume](std::string hash) {
      auto complete = intent;
      complete.password_hash = std::move(hash);
      resume(next(ask, std::move(complete)));
    };
    if (api.passwords().hash(password, hashed)) return;
    auto busy = ask.error(503, "Too many passwords wait to be hashed: try again in a second.");
    busy.header("Retry-After", "1");
    resume(std::move(busy));
  }};
}

Plan create_user(Ask& ask, Api& api) {
  Fields body = ask.body();
  Fields user = body.object("user");
  CreateUser intent{
      .id = ask.new_id<UserId>(),
      .name = user.string("name", 1, name_chars_max),
      .enabled = user.optional_boolean("enabled").value_or(true),
      .default_project = user.optional_id("default_project_id").value_or(AnyId{}).as<ProjectId>(),
      .email = user.optional_string("email", 0, 255).value_or(""),
      .description = user.optional_text("description", 0, description_chars_max).value_or("")};
  auto password = user.optional_text("password", 1, password_chars_max);
  take_domain_id(user);
  user.ignore("options");
  intent.extra = take_extra(user);
  user.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return with_password<CreateUser>(
      api, std::move(password), std::move(intent),
      [](Ask&, CreateUser made) -> Plan {
        const auto id = made.id;
        return Change(std::move(made), id, [id](Ask& ask) { return show(ask, id, 201); });
      },
      ask);
}

Plan update_user(Ask& ask, Api& api) {
  const auto id = ask.id<UserId>(0);
  const auto row = id ? ask.view().find<User>(*id) : std::nullopt;
  if (!row) return not_found(ask, "user", ask.param(0));
  Fields body = ask.body();
  Fields user = body.object("user");
  using Named = wire::UpdateUserNamed;
  UpdateUser intent{.id = row->id, .named = 0};
  name_if(intent, Named::VT_NAME, intent.name, user.optional_string("name", 1, name_chars_max));
  name_if(intent, Named::VT_ENABLED, intent.enabled, user.optional_boolean("enabled"));
  if (const auto project = user.optional_id("default_project_id"))
    name(intent, Named::VT_DEFAULT_PROJECT, intent.default_project, project->as<ProjectId>());
  name_if(intent, Named::VT_EMAIL, intent.email, user.optional_string("email", 0, 255));
  name_if(intent, Named::VT_DESCRIPTION, intent.description, user.optional_text("description", 0, description_chars_max));
  auto password = user.optional_text("password", 1, password_chars_max);
  if (password) intent.named |= bit_of(Named::VT_PASSWORD_HASH);
  take_domain_id(user);
  user.ignore("options");
  intent.extra_set = take_extra(user);
  user.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return with_password<UpdateUser>(
      api, std::move(password), std::move(intent),
      [](Ask&, UpdateUser made) -> Plan {
        const auto id = made.id;
        return Change(std::move(made), id, [id](Ask& ask) { return show(ask, id, 200); });
      },
      ask);
}

// A user changes its own password, and proves that it knows the old one.
Plan change_password(Ask& ask, Api& api) {
  const auto id = ask.id<UserId>(0);
  const auto row = id && *id == ask.actor().user ? ask.view().find<User>(*id) : std::nullopt;
  if (!row) return not_found(ask, "user", ask.param(0));
  Fields body = ask.body();
  Fields user = body.object("user");
  const auto old = user.text("original_password", 0, password_chars_max);
  auto password = user.text("password", 1, password_chars_max);
  user.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto project = project_for_intents(ask);
  if (!project)
    return ask.error(403, "The user has no role in any project: an admin must change its password.");
  return Later{[&api, old, password, row = *row, project](Ask& ask, Later::Resume resume) {
    const auto next = [&api, &ask, password, row, project, resume](bool right) {
      if (!right) return resume(ask.error(401, "The original password is not right."));
      resume(with_password<UpdateUser>(
          api, password, UpdateUser{.id = row.id, .named = bit_of(wire::UpdateUserNamed::VT_PASSWORD_HASH)},
          [project](Ask&, UpdateUser made) -> Plan {
            const auto id = made.id;
            Change change(std::move(made), id, [](Ask&) { return Response(204); });
            change.project = project;
            return change;
          },
          ask));
    };
    if (api.passwords().verify({row.id.hex(), address_of(ask.request().client)}, old, row.password_hash, next)) return;
    auto busy = ask.error(503, "Too many passwords wait to be checked: try again in a second.");
    busy.header("Retry-After", "1");
    resume(std::move(busy));
  }};
}

Plan delete_user(Ask& ask) {
  const auto id = ask.id<UserId>(0);
  if (!id || !ask.view().contains<User>(*id)) return not_found(ask, "user", ask.param(0));
  return Change(DeleteUser{.id = *id}, *id, [](Ask&) { return Response(204); });
}

}  // namespace

Attributes user_row(const Ask& ask, const User& user) {
  Attributes row(user.id.hex());
  row.text("name", user.name).text("domain_id", domain_id).flag("enabled", user.enabled);
  row.json("password_expires_at", "null").json("options", "{}");
  if (user.default_project) row.text("default_project_id", user.default_project.hex());
  if (!user.email.empty()) row.text("email", user.email);
  if (!user.description.empty()) row.text("description", user.description);
  return row.self(ask.url("/identity/v3/users/" + user.id.hex())).extra(user.extra);
}

std::optional<User> user_by_name(const View& view, std::string_view name) {
  std::optional<User> found;
  if (name.find('\0') != name.npos) return found;
  view.each_by<User>(User::by_name, KeyWriter().word(name), [&](const User& row) { found = row; });
  return found;
}

void register_users(Api& api) {
  api.read(Service::identity, "/v3/users", Need::admin, list_users);
  api.read(Service::identity, "/v3/users/{id}", Need::token, show_user);
  api.read(Service::identity, "/v3/users/{id}/projects", Need::token, list_projects_of_user);
  api.write(Service::identity, Method::post, "/v3/users", Need::admin,
            [&api](Ask& ask) { return create_user(ask, api); });
  api.write(Service::identity, Method::patch, "/v3/users/{id}", Need::admin,
            [&api](Ask& ask) { return update_user(ask, api); });
  api.write(Service::identity, Method::post, "/v3/users/{id}/password", Need::token,
            [&api](Ask& ask) { return change_password(ask, api); });
  api.write(Service::identity, Method::del, "/v3/users/{id}", Need::admin, delete_user);
}

}  // namespace reprise::api
