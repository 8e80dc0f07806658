#include "tests/sim/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "events/check.h"

extern char** environ;

namespace reprise::sim {

Child::Child(const std::vector<std::string>& words) {
  int ends[2];
  CHECK(pipe2(ends, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> arguments{const_cast<char*>("simulate")};
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  CHECK(posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  pipe_ = ends[0];
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pipe_(std::exchange(other.pipe_, -1)), said_(std::move(other.said_)) {}

Child::~Child() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (pipe_ >= 0) close(pipe_);
}

bool Child::join() {
  char piece[4096];
  for (ssize_t got = 0; (got = read(pipe_, piece, sizeof piece)) > 0;) said_.append(piece, static_cast<std::size_t>(got));
  int status = 0;
  CHECK(waitpid(std::exchange(pid_, -1), &status, 0) > 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace reprise::sim
