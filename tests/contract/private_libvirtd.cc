#include "tests/contract/private_libvirtd.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include <catch2/catch.hpp>

namespace reprise {
namespace {

constexpr int answer_deadline_ms = 30'000;

}  // namespace

PrivateLibvirtd::PrivateLibvirtd(std::string folder) : folder_(std::move(folder)) {
  int in[2], out[2];
  REQUIRE(pipe2(in, O_CLOEXEC) == 0);
  REQUIRE(pipe2(out, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  std::vector<std::string> argv{"setpriv",      "--pdeathsig",
                                "KILL",         "--",
                                "unshare",      "--net",
                                "--mount",      "--pid",
                                "--ipc",        "--fork",
                                "--kill-child", "--mount-proc",
                                "bash",         REPRISE_PRIVATE_LIBVIRTD_SCRIPT,
                                folder_};
  std::vector<char*> pointers;
  for (auto& text : argv) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  const int error = posix_spawnp(&pid_, "setpriv", &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  to_host_ = in[1];
  from_host_ = out[0];
  REQUIRE(error == 0);
  REQUIRE(tell("start") == "started");
}

PrivateLibvirtd::~PrivateLibvirtd() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  // The answers' pipe ends when the last process of the host is gone.
  char rest[256];
  pollfd fd{from_host_, POLLIN, 0};
  close(to_host_);
  while (poll(&fd, 1, answer_deadline_ms) > 0 && read(from_host_, rest, sizeof rest) > 0) {
  }
  close(from_host_);
}

std::string PrivateLibvirtd::tell(const std::string& command) {
  const auto line = command + "\n";
  REQUIRE(write(to_host_, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
  std::string answer;
  for (;;) {
    pollfd fd{from_host_, POLLIN, 0};
    char c = 0;
    if (poll(&fd, 1, answer_deadline_ms) <= 0) FAIL("the test's host does not answer to: " << command);
    if (read(from_host_, &c, 1) != 1) FAIL("the test's host ended at: " << command << " " << answer);
    if (c == '\n') break;
    answer += c;
  }
  if (answer.rfind("failed", 0) == 0) FAIL("the test's host: " << answer);
  return answer;
}

}  // namespace reprise
