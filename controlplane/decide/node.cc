#include "controlplane/decide/decide.h"
#include "controlplane/decide/evacuate.h"
#include "controlplane/decide/server.h"

namespace reprise {

Events decide_lost(const State& s, NodeId id, const std::string& reason, std::int64_t elsewhere_ms) {
  const Node* node = s.nodes.find(id);
  if (!node || node->state != NodeState::up) return {};
  return {NodeLost{.id = id, .reason = reason, .deadline_ms = evacuate::is_asked_for(s, *node) ? elsewhere_ms : 0}};
}

namespace node {
namespace {

Events not_admin() { return refuse(Refusal::not_allowed, "Only an admin may do this to a node."); }
Events no_node(NodeId id) {
  return refuse(Refusal::no_such_node, fmt::format("Node {} could not be found; `reprise status` lists them.", id.str()), id.as<AnyId>());
}

// A dead node holds nothing any more: its servers are released from it, its local disks are lost.
void clear_server(const State& s, const Server& row, const std::string& name, std::int64_t at_ms, server::Before& before, Events& events) {
  const std::string reason = fmt::format("node {} was declared dead, and its boot disk was there", name);
  if (row.task != TaskState::deleting) events.push_back(ServerFailed{.id = row.id, .reason = reason});
  if (row.tenure == Tenure::placed) events.push_back(ServerUnplaced{.id = row.id, .reason = reason, .deadline_ms = at_ms + deadline::unplace_ms});
  if (!row.compute_released) events.push_back(ServerReleased{.id = row.id, .agent = wire::AgentKind::compute});
  if (!row.disk_released) events.push_back(ServerReleased{.id = row.id, .agent = wire::AgentKind::storage});
  s.ports.each_by(Port::by_server, encode_key(row.id), [&](const Port& port) {
    if (!port.released) events.push_back(PortReleased{.id = port.id});
    return true;
  });
  Server gone = row;
  gone.tenure = Tenure::unplacing;
  gone.retry = false;
  for (auto& event : server::after_vacated(s, gone, at_ms, before)) events.push_back(std::move(event));
}

// Nothing that was left behind there answers any more; a server that was only waiting for that is deleted.
void clear_leftovers(const State& s, NodeId id, std::int64_t at_ms, server::Before& before, Events& events) {
  std::set<ServerId> of;
  s.leftovers.each_by(Leftover::by_node, encode_key(id), [&](const Leftover& row) {
    events.push_back(LeftoverGone{.node = id, .object = row.id.object});
    before.leftovers_gone.insert(row.id);
    return of.insert(row.server), true;
  });
  for (const auto& server : of) {
    const Server& row = s.servers.at(server);
    if (row.task != TaskState::deleting || row.tenure != Tenure::none) continue;
    for (auto& event : server::after_vacated(s, row, at_ms, before)) events.push_back(std::move(event));
  }
}

void clear_volume(const Volume& row, const std::string& name, const State& s, Events& events) {
  const Server* server = row.server ? s.servers.find(row.server) : nullptr;
  const bool gone_with_server = server && server->task == TaskState::deleting;
  if (row.server && !gone_with_server) events.push_back(VolumeDetached{.id = row.id});
  if (row.status == VolumeStatus::deleting) events.push_back(VolumeDeleted{.id = row.id});
  else events.push_back(VolumeFailed{.id = row.id, .reason = fmt::format("node {} was declared dead, and the volume was there", name)});
}

}  // namespace

Events declare_dead(const State& s, const DeclareNodeDead& i, const Context& c) {
  if (!c.rights.admin) return not_admin();
  const Node* node = s.nodes.find(i.id);
  if (!node) return no_node(i.id);
  if (node->state == NodeState::up)
    return refuse(Refusal::wrong_state,
                  fmt::format("Node {} is up: it was heard of. Power it off first, and wait until it is lost.", node->name), node->object());
  if (node->state == NodeState::dead)
    return refuse(Refusal::wrong_state, fmt::format("Node {} was declared dead already.", node->name), node->object());
  // After a gap everything is told anew, by whoever has seen it: the same holds here (see agent_started()).
  Events events{NodeDead{.id = i.id, .by = c.user()}, ReportsSkipped{.node = i.id}};
  server::Before before;
  clear_leftovers(s, i.id, c.at_ms, before, events);
  if (!node->storage_pool.empty()) {
    // It counts as fenced. Should it be alive after all, the fence comes a little later.
    if (!node->fenced) events.push_back(evacuate::fencing(s, *node, c.at_ms));
    for (auto& event : evacuate::events(s, *node, true, c.at_ms, before)) events.push_back(std::move(event));
    return events;
  }
  s.servers.each_by(Server::by_node, encode_key(i.id), [&](const Server& row) {
    clear_server(s, row, node->name, c.at_ms, before, events);
    return true;
  });
  s.volumes.each_by(Volume::by_node, encode_key(i.id), [&](const Volume& row) {
    clear_volume(row, node->name, s, events);
    return true;
  });
  return events;
}

Events set_enabled(const State& s, const SetNodeEnabled& i, const Context& c) {
  if (!c.rights.admin) return not_admin();
  if (!s.nodes.contains(i.id)) return no_node(i.id);
  return {NodeEnabledSet{.id = i.id, .enabled = i.enabled, .reason = i.reason}};
}

Events confirm_lost(const State& s, const ConfirmLostNodes& i, const Context& c) {
  if (!c.rights.admin) return not_admin();
  Events events;
  for (const auto& id : i.ids) {
    if (!s.nodes.contains(id)) return no_node(id);
    for (auto& event : decide_lost(s, id, "an admin confirmed that it is lost", c.at_ms + deadline::elsewhere_ms)) events.push_back(std::move(event));
  }
  if (events.empty()) return refuse(Refusal::wrong_state, "None of these nodes is up: there is nothing to confirm.");
  return events;
}

}  // namespace node
}  // namespace reprise
