#include "agents/core/daemon.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

namespace reprise {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds back_off_first{100};
constexpr milliseconds back_off_most{1'600};
constexpr milliseconds ran_well{5'000};  // after that long an end is a mishap, not a wrong start

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// Start time in clock ticks since boot: with the pid it names a process for good.
std::uint64_t start_time(pid_t pid) {
  const std::string stat = slurp(fmt::format("/proc/{}/stat", pid));
  const auto after_name = stat.rfind(')');
  if (after_name == std::string::npos) return 0;
  std::istringstream fields(stat.substr(after_name + 2));
  std::string field;
  for (int i = 3; i <= 22 && fields >> field; ++i) {
    if (i == 3 && field == "Z") return 0;
    if (i == 22) return std::strtoull(field.c_str(), nullptr, 10);
  }
  return 0;
}

std::vector<std::string> argv_of(pid_t pid) {
  std::vector<std::string> argv;
  std::istringstream line(slurp(fmt::format("/proc/{}/cmdline", pid)));
  for (std::string argument; std::getline(line, argument, '\0');) argv.push_back(argument);
  return argv;
}

bool same_file(const std::string& one, const std::string& other) {
  struct stat a, b;
  return stat(one.c_str(), &a) == 0 && stat(other.c_str(), &b) == 0 && a.st_ino == b.st_ino &&
         a.st_dev == b.st_dev;
}

bool is_as_wanted(pid_t pid, const DaemonSpec& spec) {
  const std::string netns = spec.netns.empty() ? "/proc/thread-self/ns/net" : spec.netns;
  return argv_of(pid) == spec.argv && same_file(fmt::format("/proc/{}/ns/net", pid), netns) &&
         same_file(fmt::format("/proc/{}/ns/pid", pid), "/proc/self/ns/pid");
}

// The process that the pid file names, if it is still the same one.
std::optional<pid_t> named_by(const std::string& pid_file) {
  std::istringstream content(slurp(pid_file));
  pid_t pid = 0;
  std::uint64_t started = 0;
  if (!(content >> pid >> started) || pid <= 0 || started == 0 || start_time(pid) != started)
    return std::nullopt;
  return pid;
}

bool has_mark(pid_t pid, const DaemonSpec& spec) {
  const auto argv = argv_of(pid);
  return !argv.empty() && argv[0] == spec.argv[0] &&
         std::find(argv.begin(), argv.end(), spec.mark) != argv.end() &&
         same_file(fmt::format("/proc/{}/ns/pid", pid), "/proc/self/ns/pid");
}

std::optional<pid_t> find_by_mark(const DaemonSpec& spec) {
  std::optional<pid_t> found;
  DIR* proc = opendir("/proc");
  if (!proc) return found;
  while (const dirent* entry = readdir(proc)) {
    const pid_t pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid > 0 && has_mark(pid, spec) && start_time(pid) != 0) found = pid;
  }
  closedir(proc);
  return found;
}

Status write_pid_file(const std::string& path, pid_t pid) {
  const std::string fresh = path + ".new";
  std::ofstream file(fresh, std::ios::trunc);
  file << pid << '\n' << start_time(pid) << '\n';
  file.close();
  if (!file || rename(fresh.c_str(), path.c_str()) != 0)
    return {Errc::denied, fmt::format("cannot write the pid file {}: {}", path, std::strerror(errno))};
  return {};
}

Fd open_pidfd(pid_t pid) { return Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

bool wait_readable(int fd, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    pollfd one{fd, POLLIN, 0};
    const int got = poll(&one, 1, left > 0 ? static_cast<int>(left) : 0);
    if (got > 0) return true;
    if (got == 0 && left <= 0) return false;
  }
}

// A namespace counts for the thread that starts the child, so it is entered and left around the spawn.
class InNetns {
 public:
  explicit InNetns(const std::string& path) {
    if (path.empty()) return;
    Fd theirs(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ours_ = Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!theirs || !ours_ || setns(theirs.get(), CLONE_NEWNET) != 0) error_ = errno;
  }
  ~InNetns() {
    if (ours_ && error_ == 0) CHECK(setns(ours_.get(), CLONE_NEWNET) == 0);
  }
  int error() const { return error_; }

 private:
  Fd ours_;
  int error_ = 0;
};

Result<pid_t> spawn(const DaemonSpec& spec) {
  InNetns inside(spec.netns);
  if (inside.error() != 0)
    return {Errc::not_found, fmt::format("{}: cannot enter the network namespace {}: {}", spec.name,
                                         spec.netns, std::strerror(inside.error()))};
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t files;
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_init(&files);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const std::string log = spec.log_file.empty() ? "/dev/null" : spec.log_file;
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0640);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawn_file_actions_addclosefrom_np(&files, 3);
  std::vector<char*> argv;
  for (const auto& argument : spec.argv) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, argv[0], &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error == 0) return pid;
  return {
      error == ENOENT ? Errc::not_found : Errc::denied,
      fmt::format("{}: cannot start {} (log {}): {}", spec.name, spec.argv[0], log, std::strerror(error))};
}

std::string last_words(const std::string& log_file) {
  std::string log = slurp(log_file);
  while (!log.empty() && log.back() == '\n') log.pop_back();
  const auto line = log.rfind('\n');
  std::string words = line == std::string::npos ? log : log.substr(line + 1);
  return words.substr(0, 300);
}

// TERM, then KILL. False: it does not end.
bool end_process(const Fd& pidfd, milliseconds grace) {
  for (const int number : {SIGTERM, SIGKILL}) {
    syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
    if (!wait_readable(pidfd.get(), Clock::now() + grace)) continue;
    siginfo_t info;
    (void)waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED | WNOHANG);
    return true;
  }
  return false;
}

}  // namespace

struct Supervisor::Inner {
  struct Kept {
    DaemonSpec spec;
    pid_t pid = 0;  // 0: down
    Fd pidfd;
    Clock::time_point started, again_at;
    milliseconds back_off{0};
    std::string last_end;  // how it ended
  };

  mutable std::mutex mutex;
  std::mutex one_call;  // keep() and stop() come one after the other
  std::map<std::string, Kept> kept;
  std::function<void(const std::string&)> told;
  Fd wake{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  bool ending = false;
  std::thread thread;

  void nudge() { CHECK(eventfd_write(wake.get(), 1) == 0); }

  void run();
  void ended(Kept& daemon);
  Status start(Kept& daemon);
  bool adopt(Kept& daemon);
  Status await_ready(const DaemonSpec& spec);
};

// With the lock.
Status Supervisor::Inner::start(Kept& daemon) {
  std::error_code ignored;
  for (const auto& file : {daemon.spec.pid_file, daemon.spec.log_file})
    if (!file.empty())
      std::filesystem::create_directories(std::filesystem::path(file).parent_path(), ignored);
  if (!daemon.spec.ready_file.empty()) std::filesystem::remove(daemon.spec.ready_file, ignored);
  auto pid = spawn(daemon.spec);
  if (!pid) return pid.error();
  daemon.pid = *pid;
  daemon.pidfd = open_pidfd(*pid);
  daemon.started = Clock::now();
  return write_pid_file(daemon.spec.pid_file, *pid);
}

// With the lock. One that is not as wanted, but was ours, is ended.
bool Supervisor::Inner::adopt(Kept& daemon) {
  const auto find = [&] {
    auto former = named_by(daemon.spec.pid_file);
    return former ? former : find_by_mark(daemon.spec);
  };
  const auto former = find();
  if (!former) return false;
  Fd pidfd = open_pidfd(*former);
  if (!pidfd || find() != former) return false;  // ended meanwhile: the number says nothing
  if (is_as_wanted(*former, daemon.spec)) {
    daemon.pid = *former;
    daemon.pidfd = std::move(pidfd);
    daemon.started = Clock::now();
    (void)write_pid_file(daemon.spec.pid_file, *former);
    return true;
  }
  end_process(pidfd, milliseconds{5'000});
  return false;
}

// With the lock: its pidfd says that it has ended.
void Supervisor::Inner::ended(Kept& daemon) {
  siginfo_t info{};
  daemon.last_end = "ended";
  if (waitid(P_PIDFD, static_cast<id_t>(daemon.pidfd.get()), &info, WEXITED | WNOHANG) == 0 &&
      info.si_pid != 0)
    daemon.last_end = info.si_code == CLD_EXITED ? fmt::format("exited with status {}", info.si_status)
                                                 : fmt::format("was ended by signal {}", info.si_status);
  const bool well = Clock::now() - daemon.started >= ran_well;
  daemon.back_off =
      well ? milliseconds{0} : std::min(back_off_most, std::max(back_off_first, daemon.back_off * 2));
  // The first end of a daemon that served is no reason to wait either.
  daemon.again_at = Clock::now() + (daemon.back_off == back_off_first ? milliseconds{0} : daemon.back_off);
  daemon.pid = 0;
  daemon.pidfd = Fd();
}

void Supervisor::Inner::run() {
  for (;;) {
    std::vector<pollfd> fds{{wake.get(), POLLIN, 0}};
    std::vector<std::string> names{""};
    Clock::time_point next = Clock::time_point::max();
    {
      std::lock_guard lock(mutex);
      if (ending) return;
      for (auto& [name, daemon] : kept) {
        if (daemon.pid == 0) next = std::min(next, daemon.again_at);
        if (daemon.pid == 0) continue;
        fds.push_back({daemon.pidfd.get(), POLLIN, 0});
        names.push_back(name);
      }
    }
    int timeout = -1;
    if (next != Clock::time_point::max())
      timeout = static_cast<int>(
          std::max<std::int64_t>(0, std::chrono::ceil<milliseconds>(next - Clock::now()).count()));
    if (poll(fds.data(), fds.size(), timeout) < 0 && errno != EINTR) CHECK(false);
    eventfd_t drained;
    (void)eventfd_read(wake.get(), &drained);

    std::vector<std::string> news;
    {
      std::lock_guard lock(mutex);
      for (std::size_t i = 1; i < fds.size(); ++i) {
        const auto it = kept.find(names[i]);
        if (!(fds[i].revents & POLLIN) || it == kept.end() || it->second.pidfd.get() != fds[i].fd) continue;
        // The number may have been given anew since: only a pidfd that is readable now has ended.
        if (!wait_readable(fds[i].fd, Clock::now())) continue;
        ended(it->second);
        news.push_back(names[i]);
      }
      for (auto& [name, daemon] : kept) {
        if (daemon.pid != 0 || daemon.again_at > Clock::now()) continue;
        if (!start(daemon)) daemon.again_at = Clock::now() + back_off_most;
        news.push_back(name);
      }
    }
    if (told)
      for (const auto& name : news) told(name);
  }
}

// Without the lock: the daemon's end and its restarts are seen meanwhile.
Status Supervisor::Inner::await_ready(const DaemonSpec& spec) {
  if (spec.ready_file.empty()) return {};
  const std::filesystem::path file(spec.ready_file);
  Fd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  if (!watch || inotify_add_watch(watch.get(), file.parent_path().c_str(), IN_CREATE | IN_MOVED_TO) < 0)
    return {Errc::denied, fmt::format("{}: cannot watch {}: {}", spec.name, file.parent_path().string(),
                                      std::strerror(errno))};
  const auto deadline = Clock::now() + spec.ready_within;
  while (access(spec.ready_file.c_str(), F_OK) != 0) {
    Fd alive;
    std::string last_end;
    {
      std::lock_guard lock(mutex);
      const auto it = kept.find(spec.name);
      CHECK(it != kept.end());
      last_end = it->second.last_end;
      if (it->second.pid != 0) alive = Fd(fcntl(it->second.pidfd.get(), F_DUPFD_CLOEXEC, 3));
    }
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
    pollfd fds[] = {{watch.get(), POLLIN, 0}, {alive.get(), POLLIN, 0}};
    const bool news = left > 0 && poll(fds, 2, static_cast<int>(left)) > 0;
    if (!alive || (fds[1].revents & POLLIN))
      return {Errc::unreachable,
              fmt::format("{} {} right after its start; its last words: \"{}\"; the rest is in {}", spec.name,
                          last_end.empty() ? "ended" : last_end, last_words(spec.log_file), spec.log_file)};
    if (!news)
      return {Errc::unreachable, fmt::format("{} runs, but did not make {} within {} ms; see {}", spec.name,
                                             spec.ready_file, spec.ready_within.count(), spec.log_file)};
    char buffer[4096];
    while (read(watch.get(), buffer, sizeof buffer) > 0) continue;
  }
  return {};
}

Supervisor::Supervisor(std::function<void(const std::string&)> told) : inner_(new Inner) {
  inner_->told = std::move(told);
  inner_->thread = std::thread([this] { inner_->run(); });
}

Supervisor::~Supervisor() {
  {
    std::lock_guard lock(inner_->mutex);
    inner_->ending = true;
  }
  inner_->nudge();
  inner_->thread.join();
}

Status Supervisor::keep(const DaemonSpec& spec) {
  CHECK(!spec.name.empty() && !spec.argv.empty() && !spec.pid_file.empty() && !spec.mark.empty());
  std::unique_lock one(inner_->one_call);
  bool replace = false;
  {
    std::lock_guard lock(inner_->mutex);
    const auto it = inner_->kept.find(spec.name);
    replace = it != inner_->kept.end() &&
              (it->second.spec != spec || (it->second.pid != 0 && !is_as_wanted(it->second.pid, spec)));
  }
  if (replace) {
    one.unlock();
    if (auto stopped = stop(spec); !stopped) return stopped;
    one.lock();
  }
  {
    std::lock_guard lock(inner_->mutex);
    auto [it, fresh] = inner_->kept.try_emplace(spec.name);
    if (fresh) {
      it->second.spec = spec;
      if (!inner_->adopt(it->second)) {
        if (auto started = inner_->start(it->second); !started) {
          inner_->kept.erase(it);
          return started;
        }
      }
    }
  }
  inner_->nudge();
  return inner_->await_ready(spec);
}

Status Supervisor::stop(const DaemonSpec& spec, milliseconds grace) {
  std::lock_guard one(inner_->one_call);
  Inner::Kept daemon;
  {
    std::lock_guard lock(inner_->mutex);
    if (auto it = inner_->kept.find(spec.name); it != inner_->kept.end()) {
      daemon = std::move(it->second);
      inner_->kept.erase(it);
    } else {
      auto former = named_by(spec.pid_file);
      if (!former) former = find_by_mark(spec);
      daemon.pid = former.value_or(0);
      if (former) daemon.pidfd = open_pidfd(*former);
    }
  }
  inner_->nudge();
  if (daemon.pid != 0 && daemon.pidfd && !end_process(daemon.pidfd, grace))
    return {Errc::timed_out, fmt::format("{} (pid {}) does not end, even by SIGKILL: look at it with ps",
                                         spec.name, daemon.pid)};
  unlink(spec.pid_file.c_str());
  if (!daemon.spec.pid_file.empty()) unlink(daemon.spec.pid_file.c_str());
  return {};
}

Status Supervisor::signal(const std::string& name, int number) {
  std::lock_guard lock(inner_->mutex);
  const auto it = inner_->kept.find(name);
  if (it == inner_->kept.end() || it->second.pid == 0)
    return {Errc::not_found, fmt::format("{} is not running", name)};
  if (syscall(SYS_pidfd_send_signal, it->second.pidfd.get(), number, nullptr, 0) != 0)
    return {Errc::not_found, fmt::format("{} has just ended: {}", name, std::strerror(errno))};
  return {};
}

std::optional<pid_t> Supervisor::pid(const std::string& name) const {
  std::lock_guard lock(inner_->mutex);
  const auto it = inner_->kept.find(name);
  if (it == inner_->kept.end() || it->second.pid == 0) return std::nullopt;
  return it->second.pid;
}

std::optional<pid_t> Supervisor::running(const std::string& pid_file) { return named_by(pid_file); }

}  // namespace reprise
