// A host that exists only in memory, with the three drivers of its agents: for the simulation, for
// tests, and for clouds of many nodes on one machine. It behaves as the real ones do under the same
// contract tests; faults are decided by hooks, never by itself.
#pragma once

#include <memory>
#include <mutex>
#include <set>

#include "agents/compute/driver.h"
#include "agents/core/simulated_disks.h"
#include "agents/network/driver.h"
#include "agents/storage/driver.h"

namespace reprise {

// What becomes of one call of a driver.
struct SimulatedFault {
  enum Kind {
    none,
    fails,          // no effect, an error
    reply_lost,     // the effect, and an error all the same
    effect_lost,    // no effect, but no error either
  };
  Kind kind = none;
  Error error;
};

class SimulatedHost {
 public:
  struct Hooks {
    // Asked before each perform(); `what` names agent and step, `object` the thing.
    std::function<SimulatedFault(AgentKind agent, const std::string& what, AnyId object)> fault;
    // Asked before each observe().
    std::function<Status(AgentKind agent)> blind;
    // Told of every effect, for checkers.
    std::function<void(AgentKind agent, const std::string& what, AnyId object)> effect;
    // Told of each write of a guest, and what the disk holds then.
    std::function<void(AnyId disk, Born born, std::uint64_t content)> written;
  };

  explicit SimulatedHost(std::string boot_id, std::uint64_t disk_gib = 1'000'000, Hooks hooks = {});
  // One that shares `pool`, as that node.
  SimulatedHost(std::string boot_id, std::shared_ptr<SimulatedDisks> pool, NodeId node, Hooks hooks = {});
  ~SimulatedHost();

  compute::Driver& compute();
  storage::Driver& storage();
  network::Driver& network();

  // What is on it now; for checkers.
  compute::Have servers() const;
  storage::Have disks() const { return disks_->have(); }
  const SimulatedDisks& bytes() const { return *disks_; }
  network::Have ports() const;
  // Can a guest of it write to its disks?
  bool may_write(const compute::ServerHave& server) const { return !disks_->shuts_out(node_, server.identity); }
  // Was it ever shut out of its pool?
  bool was_fenced() const { return disks_->was_fenced(node_); }

  // From outside: the guest powers itself off, its process is killed, the whole host restarts.
  void guest_powers_off(ServerId id);
  void kill_guest(ServerId id);
  void restart(std::string boot_id);
  // Open vSwitch was restarted: what was applied is in force no more.
  void lose_flows();
  // Somebody suspends it on the host, or lets it run again.
  void pause_guest(ServerId id, compute::Pause pause);
  // Its QEMU does not answer, or does again.
  void set_silent(ServerId id, bool silent);
  // There is no room for what guests write: those that run stand still, until they are resumed with room.
  void set_full(bool full);
  bool is_full() const { return std::lock_guard(mutex_), full_; }
  // A network that cannot be carried, and why; empty: it can.
  void set_network_trouble(NetworkId network, const std::string& why);
  // That disk is gone. False: it was not there.
  bool lose_disk(AnyId id, Born born);
  // Guests that do not react to ACPI.
  void set_deaf(ServerId id, bool deaf);

 private:
  struct Compute;
  struct Storage;
  struct Network;
  void stop_guest(ServerId id, compute::StopCause cause);
  // True: the effect takes place. `result` is what the caller is told.
  bool takes_place(AgentKind agent, const std::string& what, AnyId object, Status& result);

  mutable std::mutex mutex_;
  Hooks hooks_;
  const NodeId node_;
  const std::shared_ptr<SimulatedDisks> disks_;
  compute::Have servers_;
  std::map<ServerId, std::string> consoles_;
  std::set<ServerId> deaf_;
  bool full_ = false;
  std::uint64_t writes_ = 0;
  network::Have ports_;
  std::map<NetworkId, std::string> network_troubles_;
  std::function<void()> wake_[3];
  std::unique_ptr<Compute> compute_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<Network> network_;
};

}  // namespace reprise
