// The unmodified `openstack` client against identity and network, over a real socket. Slow.
#include <fmt/format.h>

#include <cstdlib>

#include "controlplane/api/http_server.h"
#include "tests/system/openstack_shell.h"
#include "tests/unit/api_rig.h"

namespace reprise::api {
namespace {

constexpr Step steps[] = {
    {"token issue -f value -c project_id", ""},
    {"catalog list -f value -c Name", "neutron"},
    {"catalog show network -f value -c type", "network"},
    {"endpoint list -f value", "keystone"},
    {"service list -f value -c Name", "nova"},
    {"domain list -f value -c Name", "Default"},
    {"project create lab --description the-lab -f value -c name", "lab"},
    {"project set lab --description changed", ""},
    {"project show lab -f value -c description", "changed"},
    {"project list -f value -c Name", "lab"},
    {"user create eve --project lab --password secret --email eve@example.org -f value -c email",
     "eve@example.org"},
    {"user show eve -f value -c name", "eve"},
    {"user set eve --description someone", ""},
    {"role add --project lab --user eve member", ""},
    {"role assignment list --user eve --names -f value -c Role", "member"},
    {"role assignment list --project lab --names --effective -f value -c Role", "reader"},
    {"user list --project lab -f value -c Name", "eve"},
    {"role list -f value -c Name", "reader"},
    {"network create blue --description for-tests -f value -c status", "ACTIVE"},
    {"network set blue --name green", ""},
    {"network list --long -f value", "vlan"},
    {"subnet create sub --network green --subnet-range 10.1.0.0/24 --dns-nameserver 9.9.9.9 "
     "--allocation-pool start=10.1.0.10,end=10.1.0.99 -f value -c gateway_ip",
     "10.1.0.1"},
    {"subnet list --network green -f value -c Subnet", "10.1.0.0/24"},
    {"subnet set sub --description d --dns-nameserver 8.8.8.8", ""},
    {"subnet show sub -f value -c dns_nameservers", "8.8.8.8"},
    {"port create p1 --network green --fixed-ip subnet=sub,ip-address=10.1.0.50 -f value -c status", "DOWN"},
    {"port list --network green --fixed-ip ip-address=10.1.0.50 -f value -c Name", "p1"},
    {"port set p1 --name p2", ""},
    {"port show p2 -f value -c fixed_ips", "10.1.0.50"},
    {"extension list --network -f value -c Alias", "provider"},
    {"network delete green", "in use"},
    {"port delete p2", ""},
    {"subnet delete sub", ""},
    {"network delete green", ""},
    {"network show green", "No Network found for green"},
    {"role remove --project lab --user eve member", ""},
    {"user delete eve", ""},
    {"project delete lab", ""},
    {"project show lab", "No project with a name or ID of 'lab' exists."},
};

}  // namespace

TEST_CASE("The unmodified client works", "[openstack]") {
  ApiRig rig;
  auto server = HttpServer::start({.port = 0}, rig.router);
  REQUIRE(server);
  run_steps((*server)->port(), steps);
  CHECK(rig.ask("GET", "/network/v2.0/networks").size("networks") == 0);
  CHECK(rig.ask("GET", "/identity/v3/projects").size("projects") == 1);
}

TEST_CASE("The unmodified client sees the past", "[openstack]") {
  ApiRig rig;
  auto server = HttpServer::start({.port = 0}, rig.router);
  REQUIRE(server);
  const auto made = rig.ask("POST", "/identity/v3/projects", R"({"project":{"name":"ghost"}})");
  const auto network = rig.ask("POST", "/network/v2.0/networks", R"({"network":{"name":"ghostly"}})");
  const auto seq = rig.projection->head().seq;
  REQUIRE(rig.ask("DELETE", "/identity/v3/projects/" + made.text("project.id")).status() == 204);
  REQUIRE(rig.ask("DELETE", "/network/v2.0/networks/" + network.text("network.id")).status() == 204);
  const std::string commands =
      "project list -f value -c Name\nnetwork show ghostly -f value -c name\nnetwork create new\n";
  const auto past = openstack((*server)->port(), commands, fmt::format("/at/{}", seq));
  INFO(past);
  CHECK(past.find("ghost\n") != past.npos);
  CHECK(past.find("ghostly\n") != past.npos);
  CHECK(past.find("The past can be read, not changed") != past.npos);
  const auto now = openstack((*server)->port(), "project list -f value -c Name\nnetwork list\n");
  INFO(now);
  CHECK(now.find("admin\n") != now.npos);
  CHECK(now.find("ghost") == now.npos);
}

// For trying things by hand: REPRISE_TRY_PORT=8701 api_openstack_test [try]; ends when its standard input
// does.
TEST_CASE("A server to try clients on", "[.][try]") {
  ApiRig rig;
  const char* port = std::getenv("REPRISE_TRY_PORT");
  auto server =
      HttpServer::start({.port = static_cast<std::uint16_t>(port ? std::stoi(port) : 8701)}, rig.router);
  REQUIRE(server);
  fmt::print("http://127.0.0.1:{}/identity/v3 admin secret admin\n", (*server)->port());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

}  // namespace reprise::api
