#include "controlplane/decide/evacuate.h"

#include <boost/algorithm/string/predicate.hpp>

namespace reprise::evacuate {
namespace {

// So many objects in one decision: it has to fit in a record, and everybody else waits for it. The rest follows at once.
constexpr std::size_t at_once = 16;

// It failed for good, or is being deleted: only its disk has to go yet.
bool is_leaving_for_good(const Server& row) { return row.tenure == Tenure::unplacing && !row.retry; }

class Evacuation {
 public:
  Evacuation(const State& state, const Node& node, bool dead, std::int64_t at_ms, server::Before& before)
      : state_(state), node_(node), dead_(dead), at_ms_(at_ms), before_(before) {}

  Events events() {
    if (dead_) clear_leftovers();
    state_.servers.each_by(Server::by_node, encode_key(node_.id), [&](const Server& row) {
      if (leave_the_rest()) return false;
      if (node_.storage_pool.empty()) clear_server(row);
      else if (dead_ || (is_asked_for(row) && !is_leaving_for_good(row))) move_server(row);
      return true;
    });
    state_.volumes.each_by(Volume::by_node, encode_key(node_.id), [&](const Volume& row) {
      if (leave_the_rest()) return false;
      node_.storage_pool.empty() ? clear_volume(row) : move_volume(row);
      return true;
    });
    if (more_)
      add(NodeWaiting{.id = node_.id, .reason = "the rest of its servers and volumes follow", .deadline_ms = at_ms_});
    else if (no_room_)
      add(NodeWaiting{.id = node_.id, .reason = fmt::format("{} servers and volumes wait for room on another node of storage pool {}; "
                                                            "free some there, or add a node", no_room_, node_.storage_pool),
                      .deadline_ms = at_ms_ + deadline::evacuate_again_ms});
    return std::move(events_);
  }

 private:
  void add(Event event) { events_.push_back(std::move(event)); }
  // It has taken as much as one decision takes: what is still there is left to the next.
  bool leave_the_rest() { return more_ = gone_ >= at_once; }
  void after_vacated(const Server& row) {
    for (auto& event : server::after_vacated(state_, row, at_ms_, before_)) add(std::move(event));
  }

  // Nothing that was left behind there answers any more; a server that was only waiting for that is deleted.
  void clear_leftovers() {
    std::set<ServerId> of;
    state_.leftovers.each_by(Leftover::by_node, encode_key(node_.id), [&](const Leftover& row) {
      if (leave_the_rest()) return false;
      add(LeftoverGone{.node = node_.id, .object = row.id.object});
      before_.leftovers_gone.insert(row.id);
      of.insert(row.server), ++gone_;
      return true;
    });
    for (const auto& server : of)
      if (const Server& row = state_.servers.at(server); row.task == TaskState::deleting && row.tenure == Tenure::none) after_vacated(row);
  }

  // Its disks were its own: they are lost, and its servers are released from it.
  void clear_server(const Server& row) {
    const std::string reason = fmt::format("node {} was declared dead, and its boot disk was there", node_.name);
    if (row.task != TaskState::deleting) add(ServerFailed{.id = row.id, .reason = reason});
    if (row.tenure == Tenure::placed) add(ServerUnplaced{.id = row.id, .reason = reason, .deadline_ms = at_ms_ + deadline::unplace_ms});
    if (!row.compute_released) add(ServerReleased{.id = row.id, .agent = wire::AgentKind::compute});
    if (!row.disk_released) add(ServerReleased{.id = row.id, .agent = wire::AgentKind::storage});
    state_.ports.each_by(Port::by_server, encode_key(row.id), [&](const Port& port) {
      if (!port.released) add(PortReleased{.id = port.id});
      return true;
    });
    Server gone = row;
    gone.tenure = Tenure::unplacing;
    gone.retry = false;
    after_vacated(gone);
    ++gone_;
  }

  void clear_volume(const Volume& row) {
    const std::string reason = fmt::format("node {} was declared dead, and the volume was there", node_.name);
    if (row.fault == reason) return;  // the decision before did it
    const Server* server = row.server ? state_.servers.find(row.server) : nullptr;
    const bool gone_with_server = server && server->task == TaskState::deleting;
    if (row.server && !gone_with_server) add(VolumeDetached{.id = row.id});
    if (row.status == VolumeStatus::deleting) add(VolumeDeleted{.id = row.id});
    else add(VolumeFailed{.id = row.id, .reason = reason});
    ++gone_;
  }

  // A place in the same pool; what this decision has placed already counts there.
  Placement find_place(PlacementRequest request) {
    const auto size = std::tuple(request.vcpus, request.ram_mib, request.disk_gib, request.zone);
    request.host.clear();  // the one that was wished is the one that is gone
    request.not_on = node_.id;
    request.pool = node_.storage_pool;
    request.promised = &before_.promised;
    const Placement placement = too_large_.contains(size) ? Placement{} : place(state_, request);
    if (placement.node)
      before_.promised.push_back({.node = placement.node, .vcpus = request.vcpus, .ram_mib = request.ram_mib, .disk_gib = request.disk_gib}), ++gone_;
    else
      too_large_.insert(size), ++no_room_;
    return placement;
  }

  void move_server(const Server& row) {
    const Placement placement = find_place(server::placement_request(row));
    if (!placement.node) return;
    add(ServerEvacuated{.id = row.id, .reason = fmt::format("node {} {}", node_.name, dead_ ? "was declared dead" : "was lost, and is fenced")});
    add(server::placed(row.id, placement, at_ms_));
    if (is_leaving_for_good(row)) add(ServerUnplaced{.id = row.id, .reason = row.fault, .deadline_ms = at_ms_ + deadline::unplace_ms});
  }

  void move_volume(const Volume& row) {
    const Placement placement = find_place({.disk_gib = static_cast<std::int64_t>(row.size_gib), .zone = row.zone});
    if (placement.node) add(VolumeMoved{.id = row.id, .node = placement.node});
  }

  const State& state_;
  const Node& node_;
  const bool dead_;
  const std::int64_t at_ms_;
  server::Before& before_;
  Events events_;
  std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::string>> too_large_;  // for what room is left now
  std::size_t gone_ = 0, no_room_ = 0;
  bool more_ = false;
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
  return Evacuation(state, node, dead, at_ms, before).events();
}

Events back(const State& state, const Node& node, Seq since, std::int64_t at_ms) {
  Events events;
  std::size_t begun = 0;
  state.servers.each_by(Server::by_node, encode_key(node.id), [&](const Server& row) {
    if (is_leaving_for_good(row) || row.want_seq >= since) return true;
    if (begun++ == at_once) {
      events.push_back(NodeWaiting{.id = node.id, .reason = "the rest of its servers follow", .deadline_ms = at_ms});
      return false;
    }
    events.push_back(ServerEvacuated{.id = row.id, .reason = fmt::format("node {} was declared dead, and is back", node.name)});
    events.push_back(server::placed(row.id, {.node = node.id, .considered = 1, .fitting = 1}, at_ms));
    return true;
  });
  return events;
}

Events due(const State& state, const Node& node, std::int64_t at_ms) {
  const bool dead = node.state == NodeState::dead;
  if (node.state == NodeState::lost && !node.fenced) return {fencing(state, node, at_ms)};
  server::Before before;
  Events all;
  if (dead && !node.storage_pool.empty() && !node.fenced && !node.fencer)  // when it was declared dead, there was nobody to ask
    if (Event asked = fencing(state, node, at_ms); asked.is<NodeFencing>()) all.push_back(std::move(asked));
  auto rest = node.state == NodeState::up ? back(state, node, node.born.seq, at_ms) : events(state, node, dead, at_ms, before);
  for (auto& event : rest) all.push_back(std::move(event));
  if (all.empty() || !all.back().is<NodeWaiting>()) all.push_back(NodeWaiting{.id = node.id});
  return all;
}

}  // namespace reprise::evacuate
