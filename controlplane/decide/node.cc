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
  // It counts as fenced. Should it be alive after all, the fence comes a little later.
  if (!node->storage_pool.empty() && !node->fenced) events.push_back(evacuate::fencing(s, *node, c.at_ms));
  server::Before before;
  for (auto& event : evacuate::events(s, *node, true, c.at_ms, before)) events.push_back(std::move(event));
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
