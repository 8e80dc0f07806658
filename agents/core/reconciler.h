// One agent's loop (design, section 5): observe, report, do one step, look again.
//
// A machine without threads or clock: step(now) observes, reports what changed, and begins at most one action, which its
// workers carry out: one at a time for an object, whose observation counts again once that has ended. It acts only on an
// assignment at a head that this process confirmed, and begins exclusive work only while that confirmation is younger than
// half a lease. Cut off, the network that was in force at a confirmed head is put back when it is lost.
#pragma once

#include "agents/core/agent_kinds.h"
#include "agents/core/outbox.h"
#include "agents/core/workers.h"

namespace reprise {

struct ReconcilerOptions {
  std::int64_t lease_ms = 20'000;
  std::int64_t full_report_ms = 300'000;
};

// What `status` shows of an agent.
struct AgentStatus {
  std::string trouble;            // why the driver cannot observe; empty: it can
  std::string last_error;         // of the last action that failed
  std::uint64_t actions = 0;
  std::uint64_t failures = 0;
  std::int64_t busy_since_ms = 0; // steady: when the oldest action that is still under way began; 0: none is
  std::string busy_with;          // that action
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
  // `wake`, from any thread: step() has something to do.
  Reconciler(typename Kind::Driver& driver, NodeBoard& board, Outbox& outbox, ReconcilerOptions options, Workers& workers,
             std::function<void()> wake)
      : driver_(driver), board_(board), outbox_(outbox), options_(options), workers_(workers), wake_(std::move(wake)) {}

  std::int64_t step(std::int64_t steady_ms) override;
  AgentStatus status() const override { return std::lock_guard(status_mutex_), status_; }

 private:
  using Action = typename Kind::Action;
  using Have = typename Kind::Have;

  // An object whose action failed, or had no effect yet: tried again after a while.
  struct Waiting {
    std::int64_t until_ms = 0;
    std::uint32_t attempts = 0;
    Seq since = 0;
    std::string error;            // reported once it is certain to be one
  };
  // An action under way. `given_up`: a forced one ended the guest meanwhile; what it still does may come late.
  struct Flight {
    Action action;
    std::int64_t begun_ms = 0;
    bool forced = false, given_up = false;
  };
  struct Ended {
    std::uint64_t ticket = 0;
    Status result;
  };
  // The workers' side of it: outlives this.
  struct Results {
    std::mutex mutex;
    std::vector<Ended> ended;
    bool wakes = true;            // not while one is begun: whoever begins it looks right after
  };
  // Its disk was not seen; with words once it is certain that it is not there.
  struct Lacking {
    Seq since = 0;
    std::int64_t begun_ms = 0;
    std::string words;
  };

  std::set<AnyId> waiting_now(std::int64_t steady_ms, std::int64_t& next) const;
  void put_off(const Action& action, const Status& result, std::int64_t steady_ms);
  bool begin(const Action& action, std::int64_t steady_ms, bool forced);
  void collect(std::int64_t steady_ms);
  void ended(const Flight& flight, const Status& result, std::int64_t steady_ms);
  void show_busy();
  bool leaves_out(AnyId key, bool present) const;
  std::map<AnyId, typename Kind::Seen> all_seen(const NodeView& view, const Have& have, std::int64_t steady_ms) const;
  void note_silence(const Have& have, std::int64_t steady_ms);
  bool full_is_due(const NodeView& view, std::int64_t steady_ms) const;
  void report(const NodeView& view, const Have& have, Seq realized, std::int64_t steady_ms);
  void report_trouble(const Error& error, const NodeView& view, std::int64_t steady_ms);
  void settle(Seq head);
  std::optional<Action> plan(const Assignment& want, const Have& have, std::set<AnyId>& skip, std::int64_t steady_ms);
  std::optional<Action> forced_step(const Assignment& want, const Have& have, std::int64_t steady_ms, std::int64_t& next) const;
  bool put_back(const Have& have, std::int64_t steady_ms, std::int64_t& next);
  std::int64_t act(const NodeView& view, const Have& have, const Confirmed& confirmed, std::int64_t steady_ms, std::int64_t next);

  typename Kind::Driver& driver_;
  NodeBoard& board_;
  Outbox& outbox_;
  const ReconcilerOptions options_;
  Workers& workers_;
  const std::function<void()> wake_;
  std::map<AnyId, Waiting> waiting_;
  std::map<std::uint64_t, Flight> flights_;        // by ticket: the oldest first
  std::uint64_t next_ticket_ = 1;
  const std::shared_ptr<Results> results_ = std::make_shared<Results>();
  std::map<AnyId, Action> done_;                   // carried out well, and not yet seen to be so
  std::map<AnyId, Lacking> lacking_;
  std::map<AnyId, std::int64_t> silent_since_ms_;
  std::map<AnyId, typename Kind::Seen> reported_;
  std::vector<FenceSeen> reported_fences_;
  std::uint64_t reported_gib_ = 0;
  std::string reported_trouble_;
  Seq trouble_incarnation_ = 0;
  Seq reported_incarnation_ = 0;
  Seq reported_claim_ = 0;
  Seq full_at_ = 0;               // head of the last full report
  std::int64_t full_ms_ = 0;
  bool full_while_lost_ = false;  // made on a confirmed head, since the node was taken for lost
  std::uint32_t observe_failures_ = 0;
  std::int64_t blind_since_ms_ = 0, trouble_ms_ = 0;
  mutable std::mutex status_mutex_;
  AgentStatus status_;
};

extern template class Reconciler<ComputeKind>;
extern template class Reconciler<StorageKind>;
extern template class Reconciler<NetworkKind>;

}  // namespace reprise
