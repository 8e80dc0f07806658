#include "projections/node.h"

#include "projections/state.h"

namespace reprise {

std::uint64_t reports_taken(const State& state, const Node& node) {
  const NodeReports* row = state.node_reports.find(node.id);
  return row ? row->taken : node.reports;
}

}  // namespace reprise

namespace reprise::node {

void admitted(State& s, const NodeAdmitted& e, const Meta& m) {
  if (s.nodes.contains(e.id)) s.nodes.erase(e.id);  // declared dead before, back and empty: a new life
  s.nodes.insert({.id = e.id, .born = m.born, .name = e.name});
}

void started(State& s, const NodeStarted& e, const Meta& m) {
  Node& node = s.nodes.edit(e.id);
  node.nonce = e.nonce;
  node.incarnation = m.born.seq;
  node.reports = 0;
  if (s.node_reports.contains(e.id)) s.node_reports.erase(e.id);
  node.skipped_at = 0;
  node.boot_id = e.boot_id;
  node.zone = e.zone;
  node.vcpus = e.vcpus;
  node.ram_mib = e.ram_mib;
  node.disk_gib = e.disk_gib;
  node.compute_driver = e.compute_driver;
  node.storage_driver = e.storage_driver;
  node.network_driver = e.network_driver;
  node.address = e.address;
  node.version = e.version;
  node.storage_pool = e.storage_pool;
  node.waiting.clear();
}

void lost(State& s, const NodeLost& e, const Meta& m) {
  Node& node = s.nodes.edit(e.id);
  node.state = NodeState::lost;
  node.reason = e.reason;
  node.deadline_ms = e.deadline_ms;
  if (!node.storage_pool.empty()) node.lost_seq = m.born.seq;
}

void returned(State& s, const NodeReturned& e, const Meta& m) {
  Node& node = s.nodes.edit(e.id);
  node.state = NodeState::up;
  node.reason.clear();
  if (node.fencer) node.renewed = m.born.seq;  // whoever was asked may carry it out at any later time
  node.lost_seq = 0;
  node.fencer = {};
  node.fenced = false;
  node.deadline_ms = 0;
  node.waiting.clear();
}

void dead(State& s, const NodeDead& e, const Meta&) {
  Node& node = s.nodes.edit(e.id);
  node.state = NodeState::dead;
  node.reason = "declared dead by an admin";
}

void enabled_set(State& s, const NodeEnabledSet& e, const Meta&) {
  Node& node = s.nodes.edit(e.id);
  node.disabled = !e.enabled;
  node.reason = e.enabled ? std::string{} : e.reason;
}

void fencing(State& s, const NodeFencing& e, const Meta&) {
  Node& node = s.nodes.edit(e.id);
  CHECK(node.state != NodeState::up);
  node.fencer = e.by;
  node.deadline_ms = e.deadline_ms;
  node.waiting.clear();
}

void fenced(State& s, const NodeFenced& e, const Meta&) {
  Node& node = s.nodes.edit(e.id);
  CHECK(node.state != NodeState::up && e.identity == node.identity() && e.lost == node.lost_seq);
  node.fenced = true;
  if (node.state == NodeState::lost) node.deadline_ms = 0;
}

void waiting(State& s, const NodeWaiting& e, const Meta&) {
  Node& node = s.nodes.edit(e.id);
  node.deadline_ms = e.deadline_ms;
  node.waiting = e.reason;
}

void leftover_gone(State& s, const LeftoverGone& e, const Meta& m) {
  const Leftover& gone = s.leftovers.at({e.node, e.object});
  std::vector<LeftoverKey> ports;
  s.leftovers.each_by(Leftover::by_server, encode_key(gone.server), [&](const Leftover& row) {
    if (row.id.node == e.node && row.agent != gone.agent) ports.push_back(row.id);
    return true;
  });
  if (gone.agent == wire::AgentKind::compute)
    for (const auto& key : ports) s.leftovers.edit(key).since = m.born.seq;  // only now are they wished away
  s.leftovers.erase({e.node, e.object});
}

void troubled(State& s, const NodeTroubled& e, const Meta&) { s.nodes.edit(e.id).trouble(e.agent) = e.reason; }

void measured(State& s, const NodeMeasured& e, const Meta&) { s.nodes.edit(e.id).disk_gib = e.disk_gib; }

void reports_skipped(State& s, const ReportsSkipped& e, const Meta& m) {
  s.nodes.edit(e.node).skipped_at = m.born.seq;
  count_reports(s, e.node, e.got);
}

void count_reports(State& s, NodeId id, std::uint64_t number) {
  const Node* node = s.nodes.find(id);
  if (!node || number <= reports_taken(s, *node)) return;
  if (s.the_cloud().level < level::counts_apart) s.nodes.edit(id).reports = number;
  else if (s.node_reports.contains(id)) s.node_reports.edit(id).taken = number;
  else s.node_reports.insert({.node = id, .taken = number});
}

void set_counts_apart(State& s) {
  std::vector<NodeReports> counts;
  s.nodes.each([&](const Node& row) { if (row.reports) counts.push_back({.node = row.id, .taken = row.reports}); });
  for (const auto& count : counts) {
    s.nodes.edit(count.node).reports = 0;
    s.node_reports.insert(count);
  }
}

}  // namespace reprise::node
