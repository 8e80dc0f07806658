// The processes of a simulated cloud. Each lives on one client of the simulated log and can be paused,
// cut off or killed at any moment; what survives a kill is the host, what it has folded (mostly), and the log.
#pragma once

#include <algorithm>

#include "agents/core/node_agent.h"
#include "agents/core/simulated_host.h"
#include "controlplane/controller.h"
#include "projections/replay.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/sim_log.h"

namespace reprise::sim {

inline constexpr std::int64_t usual_work_ms_max = 20;

class Follower;

inline constexpr int store_lost_permille = 250;  // of the processes that start again: they fold from the first record

// What all processes share.
struct Ground {
  EventQueue queue{1'000'000};
  std::int64_t wall_offset_ms = 1'700'000'000'000;
  const std::uint64_t seed;
  std::int64_t work_ms_max = usual_work_ms_max;  // of an agent's one step
  std::unique_ptr<SimLog> log;
  const Follower* api = nullptr;    // the one process that is never killed
  bool trace = false;
  std::string violation;            // the first one
  std::uint64_t fingerprint = 1469598103934665603u;

  explicit Ground(std::uint64_t seed) : seed(seed) {}
  // The randomness of one part of the world.
  Prng prng(std::string_view part) const { return Prng(seed).fork(part); }
  Now now() const { return {queue.now_ms(), queue.now_ms() + wall_offset_ms}; }
  void violate(const std::string& what) {
    if (violation.empty()) violation = what;  // an empty one is none
  }
  // When traced.
  void say(const std::string& who, const std::string& text) const;
  void mix(std::uint64_t value) { fingerprint = (fingerprint ^ value) * 1099511628211u; }
};

// What a projection keeps on its disk.
struct Projected {
  State state{false, false};
  Head head;
  MemoryHashes seen;
};

inline constexpr std::int64_t follower_retry_ms = 500;  // the log did not answer, or what was read of it is not there

// Follows the events topic: what a projection is, without a store.
class Follower {
 public:
  Follower(Ground& ground, Log& log, std::function<void()> wake, Projected stored = {});
  // Goes on where it is, through another connection.
  void reopen(Log& log);
  // Folds what is there. `folded` is called for each record, at its border.
  void pump(const std::function<void(const Step&, const State::Touched&)>& folded);

  // What its process leaves behind; it is of no use any more.
  Projected take() { return std::move(stored_); }

  const State& state() const { return stored_.state; }
  const Head& head() const { return stored_.head; }
  const SeenHashes& seen() const { return stored_.seen; }
  bool reading() const { return reader_ != nullptr; }
  std::int64_t position() const { return reader_ ? reader_->position() : 0; }
  std::uint64_t voids() const { return voids_; }
  const std::string& broken() const { return broken_; }

 private:
  Ground& ground_;
  Log* log_;
  std::function<void()> wake_;
  std::unique_ptr<Reader> reader_;
  Projected stored_;
  std::uint64_t voids_ = 0;
  std::string broken_;
};

// A thing that is called when woken or when its time has come, unless paused or dead.
class Task {
 public:
  Task(Ground& ground, std::function<std::int64_t()> step) : ground_(ground), self_(std::make_shared<Self>()) {
    self_->step = std::move(step);
  }
  ~Task() { self_->step = nullptr; }
  void wake(std::int64_t after_ms = 0) { schedule(ground_, self_, ground_.queue.now_ms() + after_ms); }
  void pause(bool paused) {
    self_->paused = paused;
    if (!paused) wake();
  }

 private:
  struct Self {
    std::function<std::int64_t()> step;
    std::int64_t due = -1;
    bool paused = false;
  };
  static void schedule(Ground& ground, const std::shared_ptr<Self>& self, std::int64_t at) {
    if (self->due >= 0 && self->due <= at) return;
    self->due = at;
    ground.queue.at(at, [&ground, self, at] {
      if (!self->step || self->due != at) return;
      self->due = -1;
      if (self->paused) return;
      const std::int64_t next = self->step();
      if (self->step) schedule(ground, self, std::max(next, ground.queue.now_ms() + 1));
    });
  }
  Ground& ground_;
  std::shared_ptr<Self> self_;
};

class ControllerProcess {
 public:
  ControllerProcess(Ground& ground, std::string name);
  ~ControllerProcess() { kill(); }
  void start();
  void kill();
  void pause(bool paused);
  // Its wall clock is that much off.
  void skew(std::int64_t ms) { skew_ms_ = ms; }
  const Controller* controller() const { return controller_.get(); }
  const std::string& client_name() const { return client_name_; }

 private:
  Ground& ground_;
  const std::string name_;
  Prng prng_;
  int lives_ = 0;
  std::int64_t skew_ms_ = 0;
  std::string client_name_;
  std::unique_ptr<Log> client_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<Task> task_;
};

// Carries out what agents begin: mostly at once, else after a while, with the effect at its beginning or its end. What is under
// way when its process is killed is not done, if it was not.
class SimWorkers final : public Workers {
 public:
  SimWorkers(Ground& ground, Prng prng, std::function<std::int64_t()> hang_ms, std::shared_ptr<bool> life)
      : ground_(ground), prng_(prng), hang_ms_(std::move(hang_ms)), life_(std::move(life)) {}
  bool run(std::function<Status()> work, std::function<void(Status)> done, bool urgent) override;
  std::size_t under_way() const { return *under_way_; }

 private:
  static constexpr std::size_t most = 4;
  Ground& ground_;
  Prng prng_;
  const std::function<std::int64_t()> hang_ms_;
  const std::shared_ptr<bool> life_;
  const std::shared_ptr<std::size_t> under_way_ = std::make_shared<std::size_t>(0);
};

class NodeProcess {
 public:
  NodeProcess(Ground& ground, NodeFacts facts, std::shared_ptr<SimulatedDisks> disks, SimulatedHost::Hooks hooks);
  ~NodeProcess() { kill(); }
  void start();
  void kill();
  void cut(bool off);
  void pause(bool paused);
  // For how long an action that is begun now hangs; 0: it does not.
  std::function<std::int64_t(AgentKind)> hang_ms = [](AgentKind) { return 0; };
  // One driver answers so much later.
  void hang(AgentKind agent, std::int64_t ms) { hangs_until_[static_cast<int>(agent)] = ground_.queue.now_ms() + ms; }
  bool hangs() const {
    return std::ranges::max(hangs_until_) > ground_.queue.now_ms() ||
           std::ranges::any_of(workers_, [](const auto& one) { return one && one->under_way(); });
  }
  // Nothing that it says from now on is heard: it is about to be killed.
  void fall_silent() { if (agent_) ground_.log->kill(client_name_); }
  void restart_host();
  // It stays down, or cut off, whoever wants otherwise; until it is let go.
  void hold() { held_ = true; }
  bool held() const { return held_; }
  void let_go();
  const std::string& client_name() const { return client_name_; }
  bool alive() const { return agent_ != nullptr; }
  // Of its present process, as far as that knows; 0: it is not taken yet.
  Seq incarnation() const { return agent_ ? agent_->board().incarnation() : 0; }
  // What it has seen and the controller has not taken yet.
  std::size_t reports_waiting() const { return agent_ ? agent_->outbox().waiting() : 0; }
  SimulatedHost& host() { return host_; }
  const NodeFacts& facts() const { return facts_; }

 private:
  void pump();
  std::int64_t work_ms() { return prng_.between(1, ground_.work_ms_max); }

  Ground& ground_;
  NodeFacts facts_;
  Prng prng_;
  SimulatedHost host_;
  int lives_ = 0, boots_ = 1;
  bool held_ = false, cut_ = false;
  std::int64_t hangs_until_[3] = {};
  std::string client_name_;
  std::unique_ptr<Log> client_;
  Projected stored_;                   // while it is down
  std::unique_ptr<Follower> follower_;
  struct Confirming {
    std::int64_t end = 0;
    std::function<void(Status)> done;
  };
  std::vector<Confirming> confirming_;
  std::unique_ptr<Task> pump_, tick_, loops_[3];
  std::unique_ptr<SimWorkers> workers_[3];
  std::unique_ptr<NodeAgent> agent_;
  std::shared_ptr<bool> life_;      // false once killed: answers of the log to a dead process are dropped
};

}  // namespace reprise::sim
