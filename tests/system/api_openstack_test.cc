// The unmodified `openstack` client against identity and network, over a real socket. One client process reads all
// commands from its standard input, as an operator would type them. Slow: needs python3-openstackclient.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "controlplane/api/http_server.h"
#include "tests/unit/api_rig.h"

namespace reprise::api {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What the client printed, stdout and stderr together.
std::string openstack(std::uint16_t port, const std::string& commands) {
  reprise::testing::TemporaryFolder folder;
  const auto in = folder.path("in"), out = folder.path("out");
  std::ofstream(in) << commands;
  std::vector<std::string> environment = {fmt::format("OS_AUTH_URL=http://127.0.0.1:{}/identity/v3", port),
                                          "OS_USERNAME=admin",
                                          "OS_PASSWORD=secret",
                                          "OS_PROJECT_NAME=admin",
                                          "OS_USER_DOMAIN_ID=default",
                                          "OS_PROJECT_DOMAIN_ID=default",
                                          "OS_IDENTITY_API_VERSION=3",
                                          "PATH=/usr/bin:/bin",
                                          "HOME=" + folder.path(),
                                          "no_proxy=*",
                                          "LC_ALL=C.UTF-8"};
  std::vector<char*> env;
  for (auto& line : environment) env.push_back(line.data());
  env.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, in.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  std::string name = "openstack";
  char* argv[] = {name.data(), nullptr};
  pid_t pid = 0;
  REQUIRE(posix_spawnp(&pid, "openstack", &files, nullptr, argv, env.data()) == 0);
  posix_spawn_file_actions_destroy(&files);
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return read_file(out);
}

struct Step {
  const char* command;
  const char* expect;  // somewhere in what all commands printed, in this order
};

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
    {"user create eve --project lab --password secret --email eve@example.org -f value -c email", "eve@example.org"},
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
    {"subnet create sub --network green --subnet-range 10.1.0.0/24 --dns-nameserver 9.9.9.9 --allocation-pool start=10.1.0.10,end=10.1.0.99 -f value -c gateway_ip", "10.1.0.1"},
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
  std::string commands;
  for (const auto& step : steps) commands += std::string(step.command) + "\n";
  const auto printed = openstack((*server)->port(), commands);
  INFO(printed);
  std::size_t at = 0;
  for (const auto& step : steps) {
    INFO(step.command);
    const auto found = printed.find(step.expect, at);
    REQUIRE(found != printed.npos);
    at = found + std::string_view(step.expect).size();
  }
  CHECK(rig.ask("GET", "/network/v2.0/networks").size("networks") == 0);
  CHECK(rig.ask("GET", "/identity/v3/projects").size("projects") == 1);
}

// For trying things by hand: REPRISE_TRY_PORT=8701 api_openstack_test [try]; ends when its standard input does.
TEST_CASE("A server to try clients on", "[.][try]") {
  ApiRig rig;
  const char* port = std::getenv("REPRISE_TRY_PORT");
  auto server = HttpServer::start({.port = static_cast<std::uint16_t>(port ? std::stoi(port) : 8701)}, rig.router);
  REQUIRE(server);
  fmt::print("http://127.0.0.1:{}/identity/v3 admin secret admin\n", (*server)->port());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

}  // namespace reprise::api
