// The unmodified `openstack` client in tests: one process of it reads all commands from its standard input,
// as an operator would type them. Needs python3-openstackclient.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "tests/unit/api_catch.h"
#include "tests/unit/temporary_folder.h"

namespace reprise::api {

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What the client printed, stdout and stderr together.
inline std::string openstack(std::uint16_t port, const std::string& commands, const std::string& at = "",
                             const std::vector<std::string>& more = {}) {
  reprise::testing::TemporaryFolder folder;
  const auto in = folder.path("in"), out = folder.path("out");
  std::ofstream(in) << commands;
  std::vector<std::string> environment = {
      fmt::format("OS_AUTH_URL=http://127.0.0.1:{}{}/identity/v3", port, at),
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
  environment.insert(environment.end(), more.begin(), more.end());
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

// All commands in one client, the folder in place of their %F; what each expects must stand in what was printed,
// in that order.
inline void run_steps(std::uint16_t port, std::span<const Step> steps, std::string_view folder = "",
                      const std::vector<std::string>& more = {}) {
  std::string commands;
  for (const auto& step : steps) commands += std::string(step.command) + "\n";
  for (auto at = commands.find("%F"); at != commands.npos; at = commands.find("%F", at + folder.size()))
    commands.replace(at, 2, folder);
  const auto printed = openstack(port, commands, "", more);
  INFO(printed);
  std::size_t at = 0;
  for (const auto& step : steps) {
    INFO(step.command);
    const auto found = printed.find(step.expect, at);
    REQUIRE(found != printed.npos);
    at = found + std::string_view(step.expect).size();
  }
}

}  // namespace reprise::api
