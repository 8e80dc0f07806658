#include "controlplane/decide/evacuate.h"

#include <boost/algorithm/string/predicate.hpp>

namespace reprise::evacuate {
namespace {

// It failed for good, or is being deleted: only its disk has to go yet.
bool is_leaving_for_good(const Server& row) { return row.tenure == Tenure::unplacing && !row.retry; }

class Evacuation {
 public:
  Evacuation(const State& state, const Node& node, bool dead, std::int64_t at_ms, std::vector<NodeUse>& promised)
      : state_(state), node_(node), dead_(dead), at_ms_(at_ms), promised_(promised) {}

  Events events() {
    state_.servers.each_by(Server::by_node, encode_key(node_.id), [&](const Server& row) {
      if (dead_ || (is_asked_for(row) && !is_leaving_for_good(row))) server(row);
      return true;
    });
    state_.volumes.each_by(Volume::by_node, encode_key(node_.id), [&](const Volume& row) { return volume(row), true; });
    if (waiting_)
      events_.push_back(NodeWaiting{.id = node_.id, .reason = fmt::format("{} servers and volumes wait for room on another node of storage pool {}; "
                                                                          "free some there, or add a node", waiting_, node_.storage_pool),
                                    .deadline_ms = at_ms_ + deadline::evacuate_again_ms});
    return std::move(events_);
  }

 private:
  // A place in the same pool; what this decision has placed already counts there.
  Placement find_place(PlacementRequest request) {
    request.host.clear();  // the one that was wished is the one that is gone
    request.not_on = node_.id;
    request.pool = node_.storage_pool;
    request.promised = &promised_;
    Placement placement = place(state_, request);
    if (placement.node)
      promised_.push_back({.node = placement.node, .vcpus = request.vcpus, .ram_mib = request.ram_mib, .disk_gib = request.disk_gib});
    else
      ++waiting_;
    return placement;
  }

  void server(const Server& row) {
    const Placement placement = find_place(server::placement_request(row));
    if (!placement.node) return;
    const std::string reason = fmt::format("node {} {}", node_.name, dead_ ? "was declared dead" : "was lost, and is fenced");
    events_.push_back(ServerEvacuated{.id = row.id, .reason = reason});
    events_.push_back(server::placed(row.id, placement, at_ms_));
    if (is_leaving_for_good(row))
      events_.push_back(ServerUnplaced{.id = row.id, .reason = row.fault, .deadline_ms = at_ms_ + deadline::unplace_ms});
  }

  void volume(const Volume& row) {
    const Placement placement = find_place({.disk_gib = static_cast<std::int64_t>(row.size_gib), .zone = row.zone});
    if (placement.node) events_.push_back(VolumeMoved{.id = row.id, .node = placement.node});
  }

  const State& state_;
  const Node& node_;
  const bool dead_;
  const std::int64_t at_ms_;
  std::vector<NodeUse>& promised_;
  Events events_;
  std::size_t waiting_ = 0;
};

// The next one after `last` in the order of ids, else the first; none: nobody of the pool is up.
NodeId next_fencer(const State& state, const Node& node, NodeId last) {
  NodeId first, after;
  state.nodes.each([&](const Node& row) {
    if (row.id == node.id || row.state != NodeState::up || row.storage_pool != node.storage_pool) return;
    if (!first) first = row.id;
    if (!after && row.id > last) after = row.id;
  });
  return after ? after : first;
}

}  // namespace

bool is_asked_for(const Server& server) {
  for (std::size_t i = 0; i + 1 < server.metadata.size(); i += 2)
    if (server.metadata[i] == "HA_Enabled") return boost::algorithm::iequals(server.metadata[i + 1], "true");
  return false;
}

bool is_asked_for(const State& state, const Node& node) {
  bool asked = false;
  if (node.storage_pool.empty()) return false;
  state.servers.each_by(Server::by_node, encode_key(node.id), [&](const Server& row) { return !(asked = is_asked_for(row)); });
  return asked;
}

Event fencing(const State& state, const Node& node, std::int64_t at_ms) {
  const NodeId by = next_fencer(state, node, node.fencer);
  if (!by)
    return NodeWaiting{.id = node.id, .reason = fmt::format("no other node of storage pool {} is up to fence it", node.storage_pool),
                       .deadline_ms = at_ms + deadline::evacuate_again_ms};
  return NodeFencing{.id = node.id, .identity = node.identity(), .lost = node.lost_seq, .by = by, .deadline_ms = at_ms + deadline::fence_ms};
}

Events events(const State& state, const Node& node, bool dead, std::int64_t at_ms, server::Before& before) {
  return Evacuation(state, node, dead, at_ms, before.promised).events();
}

Events back(const State& state, const Node& node, std::int64_t at_ms) {
  Events events;
  state.servers.each_by(Server::by_node, encode_key(node.id), [&](const Server& row) {
    if (is_leaving_for_good(row)) return true;
    events.push_back(ServerEvacuated{.id = row.id, .reason = fmt::format("node {} was declared dead, and is back", node.name)});
    events.push_back(server::placed(row.id, {.node = node.id, .considered = 1, .fitting = 1}, at_ms));
    return true;
  });
  return events;
}

Events due(const State& state, const Node& node, std::int64_t at_ms) {
  const bool dead = node.state == NodeState::dead;
  if (!dead && !node.fenced) return {fencing(state, node, at_ms)};
  server::Before before;
  Events all;
  if (dead && !node.fenced && !node.fencer)  // when it was declared dead, there was nobody to ask
    if (Event asked = fencing(state, node, at_ms); asked.is<NodeFencing>()) all.push_back(std::move(asked));
  for (auto& event : events(state, node, dead, at_ms, before)) all.push_back(std::move(event));
  if (all.empty() || !all.back().is<NodeWaiting>()) all.push_back(NodeWaiting{.id = node.id});
  return all;
}

}  // namespace reprise::evacuate
