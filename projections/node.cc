#include "projections/node.h"

#include "projections/state.h"

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
}

void lost(State& s, const NodeLost& e, const Meta&) {
  Node& node = s.nodes.edit(e.id);
  node.state = NodeState::lost;
  node.reason = e.reason;
}

void returned(State& s, const NodeReturned& e, const Meta&) {
  Node& node = s.nodes.edit(e.id);
  node.state = NodeState::up;
  node.reason.clear();
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

void reports_skipped(State& s, const ReportsSkipped& e, const Meta& m) {
  Node& node = s.nodes.edit(e.node);
  node.skipped_at = m.born.seq;
  if (e.got > node.reports) node.reports = e.got;
}

}  // namespace reprise::node
