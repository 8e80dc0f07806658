#include "controlplane/leases.h"

namespace reprise {

void Leases::start(const State& state, std::int64_t steady_ms) {
  heard_.clear();
  none_before_ms_ = 0;
  state.nodes.each([&](const Node& node) { heard_[node.id] = steady_ms; });
}

Leases::Lapsed Leases::lapsed(const State& state, std::int64_t steady_ms) {
  Lapsed lapsed;
  if (steady_ms <= none_before_ms_) return lapsed;
  none_before_ms_ = steady_ms + lease_ms_;  // of a node that is admitted from now on
  std::size_t up = 0;
  state.nodes.each([&](const Node& node) {
    if (node.state != NodeState::up) {
      heard_.erase(node.id);  // when it is back, its lease begins anew
      return;
    }
    ++up;
    const auto [at, is_new] = heard_.emplace(node.id, steady_ms);  // admitted since: its lease begins now
    none_before_ms_ = std::min(none_before_ms_, at->second + lease_ms_);
    if (!is_new && steady_ms - at->second > lease_ms_) lapsed.lost.push_back(node.id);
  });
  if (lapsed.lost.size() >= 2 && lapsed.lost.size() * 3 > up) std::swap(lapsed.lost, lapsed.held);
  return lapsed;
}

}  // namespace reprise
