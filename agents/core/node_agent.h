// One node's agents together: who they are to the controller (incarnation, heartbeats, confirmed
// heads), and the three loops. A machine without threads or clock: the host (agent_host.h) or the
// simulation calls update() at record borders, tick() now and then, and each loop's step().
#pragma once

#include <memory>

#include "agents/core/reconciler.h"

namespace reprise {

struct NodeFacts {
  NodeId id;
  std::string name;
  std::string zone = "nova";
  std::string boot_id;
  std::uint32_t vcpus = 0;         // with overcommitment
  std::uint64_t ram_mib = 0;
  std::uint64_t disk_gib = 0;
  std::string compute_driver, storage_driver, network_driver;
  std::string address;
  std::string version;
  std::string storage_pool;        // shared with other nodes; empty: disks of its own
};

class NodeAgent {
 public:
  struct Ports {
    Log* log = nullptr;
    std::function<std::uint64_t()> random;
    // Calls back when the node's projection has folded all that was in the log at a moment after this
    // call; an error: the log cannot be reached.
    std::function<void(std::function<void(Status)>)> confirm;
    std::function<void()> wake;            // any thread: tick() has something to do
    std::function<void()> wake_loops;      // any thread: step() of all three has something to do
    Workers* workers[3] = {};              // of compute, storage and network; they outlive the agent's last step
    std::function<void(const std::string&)> say;
  };

  NodeAgent(Ports ports, NodeFacts facts, ReconcilerOptions options, compute::Driver& compute, storage::Driver& storage,
            network::Driver& network);

  // A record was folded that may concern this node.
  void update(const State& state, const Head& head);
  // Announces, confirms, beats, sends again. Returns the steady time at which to be called again.
  std::int64_t tick(std::int64_t steady_ms);

  AgentLoop& loop(AgentKind kind);
  NodeId id() const { return facts_.id; }
  const NodeFacts& facts() const { return facts_; }
  NodeBoard& board() { return *board_; }
  const Outbox& outbox() const { return outbox_; }
  // Why these agents stopped for good; empty: they did not.
  std::string stopped() const { return std::lock_guard(mutex_), stopped_; }

 private:
  void announce(std::int64_t steady_ms);
  void beat(std::int64_t steady_ms);
  void ask_to_confirm(std::int64_t steady_ms);
  void take_view(NodeView& view);
  bool cleared() const;

  const Ports ports_;
  const NodeFacts facts_;
  const ReconcilerOptions options_;
  std::shared_ptr<NodeBoard> board_ = std::make_shared<NodeBoard>();
  Outbox outbox_;
  Reconciler<ComputeKind> compute_;
  Reconciler<StorageKind> storage_;
  Reconciler<NetworkKind> network_;

  mutable std::mutex mutex_;
  AnyId nonce_;
  std::string stopped_;
  // Another announcement took this node's place: `by` that one, from our `own`; known: it had done so before.
  struct Superseded {
    std::int64_t at_ms = 0;
    AnyId by, own;
    bool known = false;
  };
  std::vector<Superseded> superseded_;
  AnyId superseded_by_;            // just now; none: nobody
  Born born_;                      // of the node's life that was confirmed last
  Seq dead_at_ = 0;                // the head at which this node was seen declared dead; 0: all of that life is gone
  std::int64_t announce_ms_ = 0, beat_ms_ = 0, confirm_ms_ = 0;   // steady: next
  std::shared_ptr<std::atomic<bool>> confirming_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace reprise
