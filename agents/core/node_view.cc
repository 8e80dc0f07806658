#include "agents/core/node_view.h"

namespace reprise {

NodeView node_view(const State& state, NodeId id, const Head& head) {
  NodeView view{.assignment = assignment(state, id, head.seq), .head = head.seq, .claimed_at = state.the_cloud().claimed_at};
  for (const auto& position : state.the_cloud().positions)
    if (position.topic == Topic::reports) view.reports_read = position.offset;
  if (const Node* node = state.nodes.find(id)) {
    view.incarnation = node->incarnation;
    view.nonce = node->nonce;
    view.reports = reports_taken(state, *node);
    view.skipped_at = node->skipped_at;
    view.born = node->born;
    view.lost = node->state == NodeState::lost;
    view.dead = node->state == NodeState::dead;
  }
  return view;
}

}  // namespace reprise
