// Daemons that outlive us and are kept running: ovsdb-server, ovs-vswitchd, dnsmasq, libvirtd.
//
// Promises of a Supervisor:
// - keep() starts a daemon, or adopts the one that a former life of this process started: that is the
//   process that its pid file names (pid and start time), or, when we died before it was written, the one
//   of this pid namespace that runs the same program with `mark` among its arguments. One with another
//   argument vector or in another network namespace is replaced. Safe to repeat; returns once it serves.
// - A daemon that ends is noticed at once (pidfd) and started again: at once if it had run for a while,
//   else with a back-off that stays under two seconds.
// - It ends only what keep() started or adopted. Its own end, orderly or by kill -9, leaves the daemons
//   running: under systemd that asks for KillMode=process.
// - `told` is called from the supervisor's thread after every end and every new start of a daemon. It
//   must not call back into the supervisor.
// - The programs must stay in the foreground: no --detach, no -d.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/result.h"

namespace reprise {

struct DaemonSpec {
  std::string name;               // the key within one supervisor, for people too
  std::vector<std::string> argv;  // argv[0] is a path
  std::string pid_file;           // ours: "PID\nSTART\n"; the daemon's own must be another file
  std::string log_file;           // its stdout and stderr, appended
  std::string netns;              // path of the network namespace to start it in; empty: ours
  std::string mark;               // an argument that only this daemon has: its own socket, folder, pid file
  std::string ready_file;         // appears when it serves (its socket, its own pid file); empty: at once
  std::chrono::milliseconds ready_within{10'000};
  bool operator==(const DaemonSpec&) const = default;
};

class Supervisor {
 public:
  explicit Supervisor(std::function<void(const std::string& name)> told = {});
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Errors: not_found (no such program), denied, unreachable (it ended, or did not serve in time; the text
  // has its exit status and the end of its log). After an error of the last kind it is kept all the same.
  Status keep(const DaemonSpec& spec);
  // Ends it (TERM, then KILL after `grace`) and forgets it; well if there is none. Also what a former life
  // started and this one has not adopted.
  Status stop(const DaemonSpec& spec, std::chrono::milliseconds grace = std::chrono::milliseconds{5'000});
  Status signal(const std::string& name, int number);
  // The running process; none while it is down.
  std::optional<pid_t> pid(const std::string& name) const;
  // The process that the pid file names, whoever started it and whether it is kept or not.
  static std::optional<pid_t> running(const std::string& pid_file);

 private:
  struct Inner;
  std::unique_ptr<Inner> inner_;
};

}  // namespace reprise
