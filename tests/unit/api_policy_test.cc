// Who may know what: a tenant's whole surface says nothing of hosts.
#include <fmt/format.h>

#include "controlplane/api/hosts.h"
#include "tests/unit/api_cloud.h"

namespace reprise::api {
TEST_CASE("nothing that a tenant can read names a host") {
  ApiCloud cloud(2);
  const auto tenant = cloud.rig.add_project("tenant");
  const Headers headers{{"X-Auth-Token", tenant}, {"OpenStack-API-Version", "compute 2.79"}};
  const auto project = cloud.project("tenant");
  cloud.add_network("net", "10.0.0.0/24", {{"X-Auth-Token", tenant}});
  const auto server = cloud.add_server("mine", {{"X-Auth-Token", tenant}});
  std::vector<std::string> ids{project, cloud.flavor, cloud.image, server};
  ids.push_back(cloud.ask("GET", "/network/v2.0/networks", "", headers).text("networks.0.id"));
  ids.push_back(cloud.ask("GET", "/network/v2.0/subnets", "", headers).text("subnets.0.id"));
  ids.push_back(cloud.ask("GET", "/network/v2.0/ports?device_id=" + server, "", headers).text("ports.0.id"));
  const auto volume =
      cloud.ask("POST", fmt::format("/volume/v3/{}/volumes", project), R"({"volume":{"size":1}})", headers).text("volume.id");
  ids.push_back(volume);
  cloud.until(fmt::format("/volume/v3/{}/volumes/{}", project, volume), "volume.status", "available", headers);
  // Two that find no place.
  REQUIRE(cloud.ask("POST", "/compute/v2.1/flavors", R"({"flavor":{"id":"huge","name":"huge","vcpus":1,"ram":300000,"disk":1}})").status() == 200);
  const auto body = fmt::format(R"({{"server":{{"name":"x","flavorRef":"huge","imageRef":"{}","networks":"none"}}}})", cloud.image);
  const auto refused = cloud.ask("POST", "/compute/v2.1/servers", body, headers);
  INFO(refused.body());
  CHECK(refused.text("badRequest.message").find("No valid host") != std::string::npos);
  const auto no_room = cloud.ask("POST", fmt::format("/volume/v3/{}/volumes", project), R"({"volume":{"size":20000}})", headers);

  std::vector<std::string> secrets;
  const auto nodes = cloud.ask("GET", "/compute/v2.1/os-hypervisors/detail", "", {{"OpenStack-API-Version", "compute 2.79"}});
  for (int i = 0; i < 2; ++i)
    for (const char* path : {"hypervisor_hostname", "id"}) secrets.push_back(nodes.text(fmt::format("hypervisors.{}.{}", i, path)));
  const auto as_admin = cloud.ask("POST", "/compute/v2.1/servers", body, {{"OpenStack-API-Version", "compute 2.79"}});
  CHECK(as_admin.text("badRequest.message").find(secrets[0] + ": not enough RAM free") != std::string::npos);

  int read = 0;
  const auto look = [&](const std::string& target, const std::string& text) {
    for (const auto& secret : secrets) {
      INFO(target << "\n" << text);
      REQUIRE(secret.size() > 4);
      CHECK(text.find(secret) == std::string::npos);
    }
  };
  look("POST /servers", refused.body());
  look("POST /volumes", no_room.body());
  for (const auto& route : cloud.rig.router.routes()) {
    if (!route.starts_with("GET ") || route == "GET /events") continue;
    const std::string pattern = route.substr(4);
    for (const auto& id : ids) {
      std::string target = pattern;
      if (const auto at = target.find("/v3/{}"); at != std::string::npos && target.starts_with("/volume")) target.replace(at + 4, 2, project);
      for (std::size_t at; (at = target.find("{}")) != std::string::npos;) target.replace(at, 2, id);
      if (target.starts_with("/diff")) target += fmt::format("?from=1&to={}", cloud.rig.projection->head().seq);
      const auto answer = cloud.ask("GET", target, "", headers);
      read += answer.status() == 200;
      look(target, answer.body());
      if (pattern.find("{}") == std::string::npos) break;
    }
  }
  CHECK(read > 60);
  const auto events = cloud.ask("GET", "/events?follow=false", "", headers);
  REQUIRE(events.response.lines);
  look("/events", read_all(*events.response.lines));
}

TEST_CASE("names of nodes are taken out of what is said, and nothing else") {
  ApiCloud cloud(1);
  const auto name = cloud.ask("GET", "/compute/v2.1/os-hypervisors").text("hypervisors.0.hypervisor_hostname");
  const auto view = cloud.rig.backend->view();
  CHECK(without_hosts(view, fmt::format("node {} did not start it; gone from node {}: wait (on node {})", name, name, name)) ==
        "its node did not start it; gone from its node: wait (on its node)");
  for (const char* text : {"", "node ", "a node that is full", "node elsewhere", "nodes"}) CHECK(without_hosts(view, text) == text);
}

}  // namespace reprise::api
