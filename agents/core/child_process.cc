#include "agents/core/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace reprise {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kept_bytes_max = 1 << 20;

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Pipe {
  Fd read_end, write_end;
  bool open() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
    return true;
  }
};

// The environment that a child gets: ours, but in English.
std::vector<std::string> child_environment() {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (text.substr(0, 3) != "LC_" && text.substr(0, 5) != "LANG=" && text.substr(0, 9) != "LANGUAGE=")
      environment.emplace_back(text);
  }
  environment.emplace_back("LC_ALL=C");
  return environment;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

int spawn(std::vector<std::string> argv, const Pipe& out, const Pipe& err, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write_end.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write_end.get(), STDERR_FILENO);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  auto environment = child_environment();
  const int error = posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes, pointers(argv).data(),
                                 pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error;
}

// False at the end of the stream.
bool take(const Fd& fd, std::string& into) {
  std::array<char, 16384> buffer;
  const auto got = read(fd.get(), buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  const auto room = kept_bytes_max - std::min(kept_bytes_max, into.size());
  into.append(buffer.data(), std::min(room, static_cast<std::size_t>(got)));
  return got > 0;
}

// Reads both streams to their ends; false when the deadline passed first.
bool drain(Pipe& out, Pipe& err, ChildEnd& end, std::chrono::milliseconds deadline) {
  const auto until = Clock::now() + deadline;
  std::array<pollfd, 2> fds{{{out.read_end.get(), POLLIN, 0}, {err.read_end.get(), POLLIN, 0}}};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    int wait_ms = -1;
    if (deadline != no_deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
      if (left <= 0) return false;
      wait_ms = static_cast<int>(std::min<long long>(left, 3'600'000));
    }
    if (poll(fds.data(), fds.size(), wait_ms) < 0 && errno != EINTR) return false;
    if (fds[0].revents != 0 && !take(out.read_end, end.out)) fds[0].fd = -1;
    if (fds[1].revents != 0 && !take(err.read_end, end.err)) fds[1].fd = -1;
    fds[0].revents = fds[1].revents = 0;
  }
  return true;
}

}  // namespace

std::string ChildEnd::words() const {
  std::string said = err.empty() ? out : err;
  while (!said.empty() && (said.back() == '\n' || said.back() == ' ')) said.pop_back();
  if (said.size() > 600) said = "…" + said.substr(said.size() - 600);
  if (timed_out) return fmt::format("killed at its deadline{}{}", said.empty() ? "" : ": ", said);
  if (signal != 0) return fmt::format("ended by signal {}{}{}", signal, said.empty() ? "" : ": ", said);
  return fmt::format("exit code {}{}{}", exit_code, said.empty() ? "" : ": ", said);
}

Result<ChildEnd> run_child(const std::vector<std::string>& argv, std::chrono::milliseconds deadline) {
  CHECK(!argv.empty());
  Pipe out, err;
  if (!out.open() || !err.open())
    return Error{Errc::no_space, fmt::format("no pipe for {}: {}", argv[0], std::strerror(errno))};
  // posix_spawn cannot set a parent-death signal; setpriv (util-linux, on every Debian) can.
  std::vector<std::string> full{"setpriv", "--pdeathsig", "KILL", "--"};
  full.insert(full.end(), argv.begin(), argv.end());
  pid_t pid = -1;
  if (const int error = spawn(std::move(full), out, err, pid); error != 0)
    return Error{error == ENOENT ? Errc::not_found : Errc::no_space,
                 fmt::format("cannot start {} through setpriv (package util-linux): {}", argv[0],
                             std::strerror(error))};
  out.write_end.reset();
  err.write_end.reset();
  ChildEnd end;
  if (!drain(out, err, end, deadline)) {
    end.timed_out = true;
    kill(pid, SIGKILL);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (end.exit_code == 127 && end.err.find("failed to execute") != std::string::npos)
    return Error{Errc::not_found, fmt::format("{} is not installed on this node", argv[0])};
  return end;
}

}  // namespace reprise
