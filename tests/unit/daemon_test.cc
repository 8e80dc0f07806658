// Daemons that are kept running: started, missed, adopted, replaced, ended; and never another's.
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "agents/core/daemon.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

class Folder {
 public:
  Folder() {
    char name[] = "/tmp/daemon_test.XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
    REQUIRE(mkfifo((path + "/fifo").c_str(), 0600) == 0);  // to wait at, without a child
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

// A daemon that counts its starts, says by a file that it serves, and keeps its argument vector.
DaemonSpec keeper(const Folder& folder, const std::string& extra = "") {
  DaemonSpec spec;
  spec.name = "sleeper";
  spec.argv = {"/bin/sh", "-c", "echo x >> $0/starts; echo well > $0/serving; read nothing < $0/fifo",
               folder.path, extra};
  spec.mark = folder.path;
  spec.pid_file = folder.path + "/pid";
  spec.log_file = folder.path + "/log";
  spec.ready_file = folder.path + "/serving";
  return spec;
}

std::size_t starts(const Folder& folder) {
  std::ifstream file(folder.path + "/starts");
  std::size_t lines = 0;
  for (std::string line; std::getline(file, line);) ++lines;
  return lines;
}

class News {
 public:
  std::function<void(const std::string&)> told() {
    return [this](const std::string&) {
      std::lock_guard lock(mutex_);
      ++count_;
      heard_.notify_all();
    };
  }
  // Until `done`, looked at after every news.
  template <class Done>
  bool until(Done done) {
    std::unique_lock lock(mutex_);
    return heard_.wait_for(lock, std::chrono::seconds(20), done);
  }

 private:
  std::mutex mutex_;
  std::condition_variable heard_;
  int count_ = 0;
};

bool ends(pid_t pid) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return true;
  pollfd one{fd, POLLIN, 0};
  const int got = poll(&one, 1, 10'000);
  close(fd);
  return got == 1;
}

}  // namespace

TEST_CASE("a daemon is started once, and serves when keep() returns") {
  Folder folder;
  Supervisor supervisor;
  const auto spec = keeper(folder);
  REQUIRE(supervisor.keep(spec).ok());
  CHECK(std::filesystem::exists(spec.ready_file));
  const auto pid = supervisor.pid("sleeper");
  REQUIRE(pid);
  CHECK(Supervisor::running(spec.pid_file) == pid);
  REQUIRE(supervisor.keep(spec).ok());
  CHECK(supervisor.pid("sleeper") == pid);
  CHECK(starts(folder) == 1);
  REQUIRE(supervisor.stop(spec).ok());
  CHECK(ends(*pid));
  CHECK_FALSE(std::filesystem::exists(spec.pid_file));
  CHECK_FALSE(supervisor.pid("sleeper"));
  CHECK(supervisor.stop(spec).ok());
}

TEST_CASE("one that is killed is started again, and it is told") {
  Folder folder;
  News news;
  Supervisor supervisor(news.told());
  const auto spec = keeper(folder);
  REQUIRE(supervisor.keep(spec).ok());
  auto last = supervisor.pid("sleeper");
  for (int i = 0; i < 3; ++i) {
    REQUIRE(kill(*last, SIGKILL) == 0);
    REQUIRE(news.until([&] {
      const auto now = supervisor.pid("sleeper");
      return now && now != last;
    }));
    last = supervisor.pid("sleeper");
    CHECK(Supervisor::running(spec.pid_file) == last);
  }
  REQUIRE(supervisor.keep(spec).ok());
  CHECK(supervisor.stop(spec).ok());
}

TEST_CASE("it outlives its supervisor, and the next one adopts it") {
  Folder folder;
  const auto spec = keeper(folder);
  pid_t pid = 0;
  {
    Supervisor supervisor;
    REQUIRE(supervisor.keep(spec).ok());
    pid = *supervisor.pid("sleeper");
  }
  REQUIRE(kill(pid, 0) == 0);
  SECTION("by its pid file") {}
  SECTION("by its mark, when we died before the pid file was written") {
    std::filesystem::remove(spec.pid_file);
  }
  SECTION("by its mark, when the pid file names somebody else") {
    std::ofstream(spec.pid_file) << getpid() << "\n1\n";
  }
  News news;
  Supervisor supervisor(news.told());
  REQUIRE(supervisor.keep(spec).ok());
  CHECK(supervisor.pid("sleeper") == pid);
  CHECK(starts(folder) == 1);
  REQUIRE(kill(pid, SIGKILL) == 0);
  waitpid(pid, nullptr, 0);
  REQUIRE(news.until([&] {
    const auto now = supervisor.pid("sleeper");
    return now && now != pid;
  }));
  CHECK(supervisor.stop(spec).ok());
}

TEST_CASE("with another argument vector it is replaced, in this life and in the next") {
  Folder folder;
  const auto spec = keeper(folder), other = keeper(folder, "other"), third = keeper(folder, "third");
  pid_t first = 0, second = 0;
  {
    Supervisor supervisor;
    REQUIRE(supervisor.keep(spec).ok());
    first = *supervisor.pid("sleeper");
    REQUIRE(supervisor.keep(other).ok());
    second = *supervisor.pid("sleeper");
    CHECK(ends(first));
  }
  CHECK(first != second);
  Supervisor supervisor;
  REQUIRE(supervisor.keep(third).ok());
  CHECK(ends(second));
  CHECK(starts(folder) == 3);
  CHECK(supervisor.stop(third).ok());
}

TEST_CASE("stop ends what a former life started") {
  Folder folder;
  const auto spec = keeper(folder);
  pid_t pid = 0;
  {
    Supervisor supervisor;
    REQUIRE(supervisor.keep(spec).ok());
    pid = *supervisor.pid("sleeper");
  }
  SECTION("named by its pid file") {}
  SECTION("known by its mark") { std::filesystem::remove(spec.pid_file); }
  Supervisor supervisor;
  REQUIRE(supervisor.stop(spec).ok());
  CHECK(ends(pid));
}

TEST_CASE("what goes wrong is said") {
  Folder folder;
  Supervisor supervisor;
  auto spec = keeper(folder);
  SECTION("no such program") {
    spec.argv[0] = "/nowhere/program";
    const auto kept = supervisor.keep(spec);
    CHECK(kept.error().code == Errc::not_found);
    CHECK(kept.error().text.find("/nowhere/program") != std::string::npos);
  }
  SECTION("it ends at once: status and last words") {
    spec.argv[2] = "echo bad option; exit 3";
    const auto kept = supervisor.keep(spec);
    CHECK(kept.error().code == Errc::unreachable);
    CHECK(kept.error().text.find("bad option") != std::string::npos);
  }
  SECTION("it never serves") {
    spec.argv[2] = "read nothing < $0/fifo";
    spec.ready_within = std::chrono::milliseconds(50);
    const auto kept = supervisor.keep(spec);
    CHECK(kept.error().code == Errc::unreachable);
    CHECK(kept.error().text.find("/serving") != std::string::npos);
  }
  SECTION("no such namespace") {
    spec.netns = "/run/netns/nowhere";
    CHECK(supervisor.keep(spec).error().code == Errc::not_found);
  }
  SECTION("a signal to one that is not kept") {
    CHECK(supervisor.signal("nobody", SIGHUP).error().code == Errc::not_found);
  }
  CHECK(supervisor.stop(spec).ok());
}

}  // namespace reprise
