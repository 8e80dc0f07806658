// Every route of identity and network, with bodies and queries that were damaged in a reproducible way:
// whatever is sent, the answer is a clear one and never a 5xx, the process lives, and the state can still be
// read.
#include <fmt/format.h>

#include "tests/fuzz/damage.h"
#include "tests/unit/api_rig.h"

namespace reprise::api {
namespace {

struct Seed {
  const char* method;
  const char* target;
  const char* body;
};
constexpr Seed seeds[] = {
    {"POST", "/identity/v3/auth/tokens",
     R"({"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":)"
     R"({"id":"default"},"password":"x"}}},"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}})"},
    {"GET", "/identity/v3/auth/tokens", ""},
    {"DELETE", "/identity/v3/auth/tokens", ""},
    {"POST", "/identity/v3/projects",
     R"({"project":{"name":"p%","description":"d","enabled":true,"domain_id":"default"}})"},
    {"PATCH", "/identity/v3/projects/@project", R"({"project":{"description":"x"}})"},
    {"POST", "/identity/v3/users", R"({"user":{"name":"u%","email":"e","default_project_id":"@project"}})"},
    {"POST", "/identity/v3/roles", R"({"role":{"name":"r%"}})"},
    {"PUT", "/identity/v3/projects/@project/users/@user/roles/@role", ""},
    {"GET", "/identity/v3/role_assignments?user.id=@user&include_names=true", ""},
    {"GET", "/identity/v3/users?name=admin&limit=2", ""},
    {"POST", "/network/v2.0/networks",
     R"({"network":{"name":"n%","mtu":1400,"shared":false,"admin_state_up":true,)"
     R"("provider:segmentation_id":7}})"},
    {"PUT", "/network/v2.0/networks/@network", R"({"network":{"name":"m","admin_state_up":false}})"},
    {"POST", "/network/v2.0/subnets",
     R"({"subnet":{"network_id":"@network","ip_version":4,"cidr":"10.%.0.0/24","gateway_ip":null,)"
     R"("allocation_pools":[{"start":"10.%.0.9","end":"10.%.0.20"}],"dns_nameservers":["1.1.1.1"]}})"},
    {"POST", "/network/v2.0/ports",
     R"({"port":{"network_id":"@network","fixed_ips":[{"ip_address":"10.0.0.5"}],)"
     R"("mac_address":"fa:16:3e:00:00:01"}})"},
    {"PUT", "/network/v2.0/quotas/@project", R"({"quota":{"network":900,"port":900,"subnet":900}})"},
    {"GET", "/network/v2.0/ports?network_id=@network&fields=id&sort_key=id&sort_dir=asc", ""},
    {"GET", "/at/2/network/v2.0/networks?limit=1", ""},
    {"GET", "/events?follow=false&from=3.1", ""},
};

}  // namespace

TEST_CASE("Damaged requests get clear answers", "[fuzz]") {
  ApiRig rig;
  const auto network = rig.ask("POST", "/network/v2.0/networks", R"({"network":{}})").text("network.id");
  Damage damage(20261103);
  int good = 0, refused = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto& seed = seeds[damage.below(std::size(seeds))];
    std::string target = seed.target, body = seed.body;
    for (auto* text : {&target, &body}) {
      replace_all(*text, "@project", rig.genesis.project.hex());
      replace_all(*text, "@user", rig.genesis.user.hex());
      replace_all(*text, "@role", rig.genesis.reader.hex());
      replace_all(*text, "@network", network);
    }
    replace_all(body, "%", std::to_string(round % 250));
    body = damage.damage(std::move(body));
    if (damage.below(4) == 0) target = damage.damage(std::move(target));
    Request probe;  // what the HTTP server refuses by itself never comes here
    if (!probe.set_target(target)) continue;
    INFO(seed.method << " " << target << "\n" << body);
    const auto answer = rig.ask(
        seed.method, target, body,
        {{"X-Auth-Token", rig.admin_token}, {"X-Subject-Token", rig.admin_token.substr(damage.below(3))}});
    REQUIRE(answer.status() < 500);
    (answer.status() < 400 ? good : refused) += 1;
    if (answer.response.lines) answer.response.lines->gone();
    if (seed.method == std::string_view("DELETE")) rig.admin_token = rig.token("admin", "secret", "admin");
  }
  CHECK(good > 300);
  CHECK(refused > 300);
  CHECK(rig.ask("GET", "/healthz").text("status") == "ok");
  CHECK(rig.projection->status().broken.empty());
  CHECK(rig.projection->with_state([](const State& state, const Head&) { return check_counters(state); })
            .empty());
}

}  // namespace reprise::api
