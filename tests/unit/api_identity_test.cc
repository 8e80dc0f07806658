#include <fmt/format.h>

#include "controlplane/api/actor.h"
#include "tests/unit/api_rig.h"

namespace reprise::api {
namespace {

const std::string v3 = "/identity/v3";

std::string login(const std::string& user, const std::string& password, const std::string& scope = "") {
  return fmt::format(
      R"({{"auth":{{"identity":{{"methods":["password"],"password":{{"user":{{{},"password":"{}"}}}}}}{}}}}})",
      user, password, scope.empty() ? "" : ",\"scope\":" + scope);
}
const std::string admin_by_name = R"("name":"admin","domain":{"id":"default"})";

RigAnswer ask_token(ApiRig& rig, const std::string& body) {
  return rig.ask("POST", v3 + "/auth/tokens", body, {{"X-Auth-Token", ""}});
}

}  // namespace

TEST_CASE("A token carries the user, its project, roles and the catalog", "[identity]") {
  ApiRig rig;
  const auto shown = rig.ask("GET", v3 + "/auth/tokens", "",
                             {{"X-Auth-Token", rig.admin_token}, {"X-Subject-Token", rig.admin_token}});
  REQUIRE(shown.status() == 200);
  CHECK(shown.text("token.user.name") == "admin");
  CHECK(shown.text("token.project.name") == "admin");
  CHECK(shown.text("token.roles.0.name") == "admin");
  CHECK(shown.text("token.methods.0") == "password");
  CHECK(shown.size("token.catalog") == 5);
  CHECK(shown.text("token.catalog.0.endpoints.0.url") == "http://cloud:8700/identity");
  CHECK(shown.text("token.catalog.3.endpoints.0.url") ==
        "http://cloud:8700/volume/v3/" + rig.genesis.project.hex());
  CHECK(rig.ask("GET", v3 + "/auth/catalog").size("catalog") == 5);
}

TEST_CASE("Tokens: by id, by name, by another token; scoped, by default, unscoped", "[identity]") {
  ApiRig rig;
  const auto by_id =
      ask_token(rig, login(fmt::format(R"("id":"{}")", rig.genesis.user.hex()), "secret",
                           fmt::format(R"({{"project":{{"id":"{}"}}}})", rig.genesis.project.hex())));
  CHECK(by_id.status() == 201);
  CHECK(ask_token(rig, login(admin_by_name, "secret")).text("token.project.name") == "admin");
  const auto unscoped = ask_token(rig, login(admin_by_name, "secret", "\"unscoped\""));
  REQUIRE(unscoped.status() == 201);
  CHECK(unscoped.text("token.project").empty());
  const auto token = unscoped.header("X-Subject-Token");
  CHECK(rig.ask("GET", v3 + "/auth/projects", "", {{"X-Auth-Token", token}}).size("projects") == 1);
  const auto refused = rig.ask("GET", "/network/v2.0/networks", "", {{"X-Auth-Token", token}});
  CHECK(refused.status() == 403);
  CHECK(refused.body().find("scoped to a project") != std::string::npos);

  const auto rescoped = ask_token(
      rig, fmt::format(R"({{"auth":{{"identity":{{"methods":["token"],"token":{{"id":"{}"}}}},"scope":)"
                       R"({{"project":{{"name":"admin","domain":{{"name":"Default"}}}}}}}}}})",
                       token));
  REQUIRE(rescoped.status() == 201);
  CHECK(rescoped.text("token.expires_at") == unscoped.text("token.expires_at"));
  CHECK(rescoped.size("token.audit_ids") == 2);
  CHECK(rig.ask("GET", "/network/v2.0/networks", "", {{"X-Auth-Token", rescoped.header("X-Subject-Token")}})
            .status() == 200);
}

TEST_CASE("Logins that are refused do not say what was wrong", "[identity]") {
  ApiRig rig;
  const auto wrong = ask_token(rig, login(admin_by_name, "wrong"));
  const auto nobody = ask_token(rig, login(R"("name":"nobody","domain":{"id":"default"})", "secret"));
  CHECK(wrong.status() == 401);
  CHECK(nobody.status() == 401);
  CHECK(wrong.body() == nobody.body());
  CHECK(ask_token(rig, login(R"("name":"admin","domain":{"id":"elsewhere"})", "secret")).status() == 401);
  CHECK(ask_token(rig,
                  login(admin_by_name, "secret", R"({"project":{"name":"none","domain":{"id":"default"}}})"))
            .status() == 401);
  CHECK(ask_token(rig, login(admin_by_name, "secret", R"({"system":{"all":true}})")).status() == 400);
  CHECK(ask_token(rig, R"({"auth":{"identity":{"methods":["saml2"]}}})").status() == 400);
  CHECK(ask_token(rig, R"({"auth":{"identity":{"methods":["token"],"token":{"id":"x"}}}})").status() == 401);
  CHECK(ask_token(rig, "{}").status() == 400);
}

TEST_CASE("What a user's tokens rest on changes in the millisecond of the login too", "[identity]") {
  const User before{.password_hash = "$argon2id$1", .tokens_from_ms = 7};
  User after = before;
  CHECK(credentials_of(after) == credentials_of(before));
  after.password_hash = "$argon2id$2";
  CHECK(credentials_of(after) != credentials_of(before));
  after = before;
  after.tokens_from_ms = 8;
  CHECK(credentials_of(after) != credentials_of(before));
}

TEST_CASE("A new password ends the tokens of the old one", "[identity]") {
  ApiRig rig;
  const auto token = rig.add_project("eve");
  const auto me = rig.ask("GET", v3 + "/users?name=eve").text("users.0.id");
  const auto change = [&](const std::string& old) {
    return rig.ask("POST", v3 + "/users/" + me + "/password",
                   fmt::format(R"({{"user":{{"original_password":"{}","password":"better"}}}})", old),
                   {{"X-Auth-Token", token}});
  };
  CHECK(change("wrong").status() == 401);
  CHECK(change("secret").status() == 204);
  CHECK(rig.ask("GET", v3 + "/auth/projects", "", {{"X-Auth-Token", token}}).status() == 401);
  CHECK(rig.token("eve", "secret", "eve").empty());
  const auto fresh = rig.token("eve", "better", "eve");
  REQUIRE_FALSE(fresh.empty());

  REQUIRE(rig.ask("PATCH", v3 + "/users/" + me, R"({"user":{"enabled":false}})").text("user.enabled") ==
          "false");
  CHECK(rig.ask("GET", v3 + "/auth/projects", "", {{"X-Auth-Token", fresh}}).status() == 401);
  CHECK(rig.token("eve", "better", "eve").empty());
}

TEST_CASE("A role that is taken away counts at once", "[identity]") {
  ApiRig rig;
  const auto token = rig.add_project("eve");
  const auto user = rig.ask("GET", v3 + "/users?name=eve").text("users.0.id");
  const auto project = rig.ask("GET", v3 + "/projects?name=eve").text("projects.0.id");
  const auto role =
      fmt::format("{}/projects/{}/users/{}/roles/{}", v3, project, user, rig.genesis.member.hex());
  CHECK(rig.ask("HEAD", role).status() == 204);
  CHECK(
      rig.ask("GET", fmt::format("{}/projects/{}/users/{}/roles", v3, project, user)).text("roles.0.name") ==
      "member");
  CHECK(rig.ask("GET", "/network/v2.0/networks", "", {{"X-Auth-Token", token}}).status() == 200);
  CHECK(rig.ask("DELETE", role).status() == 204);
  CHECK(rig.ask("GET", "/network/v2.0/networks", "", {{"X-Auth-Token", token}}).status() == 401);
  CHECK(rig.ask("HEAD", role).status() == 404);
  CHECK(rig.ask("DELETE", role).status() == 404);
}

TEST_CASE("Projects: made, found by name, changed, refused twice, deleted with their key", "[identity]") {
  ApiRig rig;
  const auto made = rig.ask(
      "POST", v3 + "/projects",
      R"({"project":{"name":"lab","description":"a b","domain_id":"default","enabled":true,"options":{}}})");
  REQUIRE(made.status() == 201);
  const auto id = made.text("project.id");
  CHECK(id.size() == 32);
  CHECK(made.text("project.parent_id") == "default");
  CHECK(rig.keyring->has_project(*ProjectId::parse(id)));
  CHECK(rig.ask("POST", v3 + "/projects", R"({"project":{"name":"lab"}})").status() == 409);
  CHECK(rig.ask("GET", v3 + "/projects?name=lab").text("projects.0.id") == id);
  CHECK(rig.ask("GET", v3 + "/projects?name=none").size("projects") == 0);
  CHECK(rig.ask("GET", v3 + "/projects/lab").status() == 404);
  CHECK(rig.ask("PATCH", v3 + "/projects/" + id, R"({"project":{"description":"c"}})")
            .text("project.description") == "c");
  CHECK(rig.ask("GET", v3 + "/projects/" + id).text("project.name") == "lab");
  CHECK(rig.ask("DELETE", v3 + "/projects/" + id).status() == 204);
  CHECK_FALSE(rig.keyring->has_project(*ProjectId::parse(id)));
  CHECK(rig.ask("GET", v3 + "/projects/" + id).status() == 404);
  CHECK(rig.ask("DELETE", v3 + "/projects/" + rig.genesis.project.hex()).status() == 409);
  for (const int length : {0, 65})
    CHECK(rig.ask("POST", v3 + "/projects",
                  fmt::format(R"({{"project":{{"name":"{}"}}}})", std::string(length, 'x')))
              .status() == 400);
  CHECK(
      rig.ask("POST", v3 + "/projects", fmt::format(R"({{"project":{{"name":"{}"}}}})", std::string(64, 'x')))
          .status() == 201);
}

TEST_CASE("Role assignments are listed as the client filters them", "[identity]") {
  ApiRig rig;
  rig.add_project("eve");
  const auto user = rig.ask("GET", v3 + "/users?name=eve").text("users.0.id");
  const auto all = rig.ask("GET", v3 + "/role_assignments");
  CHECK(all.size("role_assignments") == 4);
  const auto named = rig.ask("GET", v3 + "/role_assignments?include_names=True&user.id=" + user);
  REQUIRE(named.size("role_assignments") == 1);
  CHECK(named.text("role_assignments.0.role.name") == "member");
  CHECK(named.text("role_assignments.0.scope.project.name") == "eve");
  CHECK(named.text("role_assignments.0.user.domain.name") == "Default");
  CHECK(rig.ask("GET", v3 + "/role_assignments?effective=true&user.id=" + user).size("role_assignments") ==
        2);
  CHECK(rig.ask("GET", v3 + "/role_assignments?scope.project.id=" + rig.genesis.project.hex())
            .size("role_assignments") == 3);
  CHECK(rig.ask("GET", v3 + "/role_assignments?group.id=x").size("role_assignments") == 0);
  CHECK(rig.ask("GET", v3 + "/role_assignments?user.id=nonsense").size("role_assignments") == 0);
}

TEST_CASE("Roles that are the policy stay; others come and go", "[identity]") {
  ApiRig rig;
  CHECK(rig.ask("GET", v3 + "/roles").size("roles") == 3);
  CHECK(rig.ask("DELETE", v3 + "/roles/" + rig.genesis.admin.hex()).status() == 409);
  const auto made = rig.ask("POST", v3 + "/roles", R"({"role":{"name":"auditor"}})");
  REQUIRE(made.status() == 201);
  CHECK(rig.ask("DELETE", v3 + "/roles/" + made.text("role.id")).status() == 204);
}

TEST_CASE("Versions, domains, services and endpoints", "[identity]") {
  ApiRig rig;
  const Headers nobody{{"X-Auth-Token", ""}};
  CHECK(rig.ask("GET", "/identity", "", nobody).status() == 300);
  CHECK(rig.ask("GET", v3, "", nobody).text("version.id") == "v3.14");
  CHECK(rig.ask("GET", v3 + "/domains").text("domains.0.id") == "default");
  CHECK(rig.ask("GET", v3 + "/domains/default").text("domain.name") == "Default");
  CHECK(rig.ask("GET", v3 + "/domains/other").status() == 404);
  CHECK(rig.ask("GET", v3 + "/services?type=network").text("services.0.name") == "neutron");
  CHECK(rig.ask("GET", v3 + "/endpoints?interface=public").size("endpoints") == 5);
  CHECK(rig.ask("GET", v3 + "/services?colour=red").size("services") == 5);  // keystone passes over what it does not know
}

TEST_CASE("What keystone does not know of users, projects and roles it keeps, and shows again", "[identity]") {
  ApiRig rig;
  for (const std::string kind : {"user", "project", "role"}) {
    INFO(kind);
    const auto path = v3 + "/" + kind + "s";
    const auto made = rig.ask("POST", path, fmt::format(R"({{"{}":{{"name":"x","colour":"red","size":{{"of":[1,null]}}}}}})", kind));
    REQUIRE(made.status() == 201);
    const auto id = made.text(kind + ".id");
    CHECK(made.text(kind + ".colour") == "red");
    CHECK(rig.ask("GET", path + "/" + id).text(kind + ".size") == R"({"of":[1,null]})");
    CHECK(rig.ask("GET", path + "?colour=red").size(kind + "s") == 1);
    CHECK(rig.ask("GET", path + "?colour=blue").size(kind + "s") == 0);
    if (kind == "role") continue;
    const auto changed = rig.ask("PATCH", path + "/" + id, fmt::format(R"({{"{}":{{"colour":"blue","weight":3}}}})", kind));
    REQUIRE(changed.status() == 200);
    CHECK(changed.text(kind + ".colour") == "blue");
    CHECK(changed.text(kind + ".weight") == "3");
    CHECK(changed.text(kind + ".size") == R"({"of":[1,null]})");
    CHECK(changed.text(kind + ".name") == "x");
  }
  std::string many;
  for (int i = 0; i < 65; ++i) many += fmt::format(R"(,"k{}":1)", i);
  CHECK(rig.ask("POST", v3 + "/users", R"({"user":{"name":"y")" + many + "}}").status() == 400);
  CHECK(rig.ask("POST", v3 + "/users", R"({"user":{"name":"y","links":1,"id":"mine"}})").status() == 201);
}

TEST_CASE("Requests without a token that counts are refused before the log is asked", "[identity]") {
  ApiRig rig;
  for (const char* token : {"", "nonsense"}) {
    const auto answer = rig.ask("GET", v3 + "/users", "", {{"X-Auth-Token", token}});
    CHECK(answer.status() == 401);
    CHECK(answer.header("WWW-Authenticate") == "Keystone uri=\"http://cloud:8700/identity\"");
  }
}

}  // namespace reprise::api
