// One agent's loop (design, section 5): observe, report, do one step, look again.
//
// A machine without threads or clock: step(now) observes, reports what changed, and performs at most
// one action (which may block, in a driver). It acts only on an assignment at a head that this process
// confirmed, and begins exclusive work only while that confirmation is younger than half a lease.
#pragma once

#include <map>
#include <set>

#include "agents/compute/plan.h"
#include "agents/core/node_view.h"
#include "agents/core/outbox.h"
#include "agents/network/plan.h"
#include "agents/storage/plan.h"

namespace reprise {

struct ReconcilerOptions {
  std::int64_t lease_ms = 20'000;
  std::int64_t full_report_ms = 300'000;
};

// What the kinds differ in.
struct ComputeKind {
  static constexpr AgentKind kind = AgentKind::compute;
  using Driver = compute::Driver;
  using Have = compute::Have;
  using Action = compute::Action;
  using Seen = ServerSeen;
  static std::optional<Action> plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip);
  static bool is_exclusive(const Action& action) { return compute::is_exclusive(action); }
  static AnyId key(const Action& action) { return action.server.id.as<AnyId>(); }
  static Seq since(const Action& action) { return action.server.since; }
  static std::string words(const Action& action);
  static std::map<AnyId, Seen> seen(const Assignment& want, const Have& have);
  static auto& list(Observed& observed) { return observed.servers; }
};

struct StorageKind {
  static constexpr AgentKind kind = AgentKind::storage;
  using Driver = storage::Driver;
  using Have = storage::Have;
  using Action = storage::Action;
  using Seen = DiskSeen;
  static std::optional<Action> plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip);
  // With what is here and nobody wished for, wished away; in a pool that is others'.
  static Assignment cleared(Assignment want, const Have& have);
  static bool is_exclusive(const Action& action) { return action.step == storage::Step::create; }
  static AnyId key(const Action& action) { return action.step == storage::Step::fence ? action.fence.node.as<AnyId>() : action.disk.id; }
  static Seq since(const Action& action) { return action.step == storage::Step::fence ? action.fence.lost : action.disk.since; }
  static std::string words(const Action& action);
  static std::map<AnyId, Seen> seen(const Assignment& want, const Have& have);
  static auto& list(Observed& observed) { return observed.disks; }
};

struct NetworkKind {
  static constexpr AgentKind kind = AgentKind::network;
  using Driver = network::Driver;
  using Have = network::Have;
  using Action = network::Action;
  using Seen = PortSeen;
  static std::optional<Action> plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip);
  static bool is_exclusive(const Action&) { return false; }
  static AnyId key(const Action&) { return {}; }
  static Seq since(const Action&) { return 0; }
  static std::string words(const Action& action);
  static std::map<AnyId, Seen> seen(const Assignment& want, const Have& have);
  static auto& list(Observed& observed) { return observed.ports; }
};

// What `status` shows of an agent.
struct AgentStatus {
  std::string trouble;            // why the driver cannot observe; empty: it can
  std::string last_error;         // of the last action that failed
  std::uint64_t actions = 0;
  std::uint64_t failures = 0;
  Seq realized = 0;
  Seq settled = 0;                // the head at which nothing was left to do; 0: something is
};

class AgentLoop {
 public:
  virtual ~AgentLoop() = default;
  // Returns the steady time at which to be called again; sooner when woken.
  virtual std::int64_t step(std::int64_t steady_ms) = 0;
  virtual AgentStatus status() const = 0;
};

template <class Kind>
class Reconciler final : public AgentLoop {
 public:
  Reconciler(typename Kind::Driver& driver, NodeBoard& board, Outbox& outbox, ReconcilerOptions options)
      : driver_(driver), board_(board), outbox_(outbox), options_(options) {}

  std::int64_t step(std::int64_t steady_ms) override;
  AgentStatus status() const override { return std::lock_guard(status_mutex_), status_; }

 private:
  // An object whose action failed, or had no effect yet: tried again after a while.
  struct Waiting {
    std::int64_t until_ms = 0;
    std::uint32_t attempts = 0;
    Seq since = 0;
    std::string error;            // reported once it is certain to be one
  };

  std::set<AnyId> waiting_now(std::int64_t steady_ms, std::int64_t& next) const;
  void put_off(const typename Kind::Action& action, const Status& result, std::int64_t steady_ms);
  void report(const NodeView& view, const typename Kind::Have& have, Seq realized, std::int64_t steady_ms);
  void settle(Seq head);
  bool full_is_due(const NodeView& view, std::int64_t steady_ms) const;

  typename Kind::Driver& driver_;
  NodeBoard& board_;
  Outbox& outbox_;
  const ReconcilerOptions options_;
  std::map<AnyId, Waiting> waiting_;
  std::optional<typename Kind::Action> last_action_;
  std::map<AnyId, typename Kind::Seen> reported_;
  std::vector<FenceSeen> reported_fences_;
  Seq reported_incarnation_ = 0;
  Seq reported_claim_ = 0;
  Seq full_at_ = 0;               // head of the last full report
  std::int64_t full_ms_ = 0;
  bool full_while_lost_ = false;  // made on a confirmed head, since the node was taken for lost
  std::uint32_t observe_failures_ = 0;
  mutable std::mutex status_mutex_;
  AgentStatus status_;
};

extern template class Reconciler<ComputeKind>;
extern template class Reconciler<StorageKind>;
extern template class Reconciler<NetworkKind>;

}  // namespace reprise
