// When was each node last heard of? The controller's own soft state on its steady clock: every
// takeover starts all leases anew. (After an hour's outage every node was "lost" at once without that.)
#pragma once

#include <map>
#include <set>
#include <vector>

#include "projections/state.h"

namespace reprise {

class Leases {
 public:
  explicit Leases(std::int64_t lease_ms) : lease_ms_(lease_ms) {}

  // A takeover: every node counts as heard of now.
  void start(const State& state, std::int64_t steady_ms);
  void heard(NodeId node, std::int64_t steady_ms) { heard_[node] = steady_ms; }

  struct Lapsed {
    std::vector<NodeId> lost;   // to be declared lost
    std::vector<NodeId> held;   // more than a third, and at least two, lapsed together: wait
  };
  // Asked at every step: looks at the nodes only when a lease may have ended since it last did. Of a node that was
  // admitted meanwhile the lease begins when it is heard of, or at the next look. After a first lapse it waits a little
  // longer than a heartbeat period: those that fell silent together lapse within one. Together is within one lease: those
  // that were lost in the last one count too, against all that were up before.
  Lapsed lapsed(const State& state, std::int64_t steady_ms);
  // When the next lease ends, if nobody is heard of until then.
  std::int64_t next_check_ms(std::int64_t steady_ms) const { return steady_ms + lease_ms_ / 4; }
  // An agent beats six times a lease (agents/core/node_agent.cc), and some beats are on their way for longer than others.
  std::int64_t wait_ms() const { return lease_ms_ / 4; }

 private:
  std::int64_t lease_ms_;
  std::map<NodeId, std::int64_t> heard_;
  std::map<NodeId, std::int64_t> lost_ms_;  // given out as lost, when; for one lease
  std::set<NodeId> held_;                   // they had their wait
  std::int64_t none_before_ms_ = 0;  // no lease ends before that, nor then
};

}  // namespace reprise
