#include "controlplane/leases.h"

namespace reprise {

void Leases::start(const State& state, std::int64_t steady_ms) {
  heard_.clear();
  lost_ms_.clear();
  held_.clear();
  none_before_ms_ = 0;
  state.nodes.each([&](const Node& node) { heard_[node.id] = steady_ms; });
}

Leases::Lapsed Leases::lapsed(const State& state, std::int64_t steady_ms) {
  Lapsed lapsed;
  if (steady_ms <= none_before_ms_) return lapsed;
  none_before_ms_ = steady_ms + lease_ms_;  // of a node that is admitted from now on
  if (held_.empty())  // who waits does so for the sake of these, too
    std::erase_if(lost_ms_, [&](const auto& one) { return steady_ms - one.second > lease_ms_ + wait_ms(); });
  std::size_t up = 0;
  std::int64_t first_end_ms = steady_ms;
  std::vector<NodeId> silent;
  state.nodes.each([&](const Node& node) {
    if (node.state != NodeState::up) {
      heard_.erase(node.id);  // when it is back, its lease begins anew
      held_.erase(node.id);
      return;
    }
    ++up;
    const auto [at, is_new] = heard_.emplace(node.id, steady_ms);  // admitted since: its lease begins now
    const std::int64_t end_ms = at->second + lease_ms_;
    if (!is_new && steady_ms > end_ms) {
      silent.push_back(node.id);
      first_end_ms = std::min(first_end_ms, end_ms);
      none_before_ms_ = std::min(none_before_ms_, held_.empty() ? end_ms + wait_ms() : end_ms);
    } else {
      held_.erase(node.id);
      none_before_ms_ = std::min(none_before_ms_, end_ms);
    }
  });
  // Others that fell silent with the first may have been heard of a little later.
  if (silent.empty() || (held_.empty() && steady_ms <= first_end_ms + wait_ms())) return lapsed;
  std::size_t lately = 0;
  for (const auto& [node, at_ms] : lost_ms_)
    if (const Node* row = state.nodes.find(node); row && row->state == NodeState::lost) ++lately;
  const std::size_t together = silent.size() + lately;
  if (together >= 2 && together * 3 > up + lately) {
    held_.insert(silent.begin(), silent.end());
    lapsed.held = std::move(silent);
    return lapsed;
  }
  for (const NodeId node : silent) lost_ms_.insert_or_assign(node, steady_ms);
  lapsed.lost = std::move(silent);
  return lapsed;
}

}  // namespace reprise
