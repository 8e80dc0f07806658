// Reports into events. A report says what an agent saw; only what differs from the State matters, and
// only what answers the present wish (`since`) is believed about absence and readiness.
#include "controlplane/decide/decide.h"
#include "controlplane/decide/evacuate.h"
#include "controlplane/decide/server.h"

#include <algorithm>

namespace reprise {
namespace {

class ReportDecider {
 public:
  ReportDecider(const State& state, const Node& node, const Observed& seen, std::int64_t at_ms)
      : state_(state), node_(node), seen_(seen), at_ms_(at_ms) {}

  Events events() {
    condition();
    if (!seen_.trouble.empty()) return std::move(events_);
    for (const auto& one : seen_.servers) leftover({node_.id, one->id.as<AnyId>()}, one->born, one->since, one->present);
    for (const auto& one : seen_.ports) leftover({node_.id, one->id.as<AnyId>()}, one->born, one->since, one->present);
    if (has_returned()) add(NodeReturned{.id = node_.id});
    for (const auto& one : seen_.fences) fence(*one);
    for (const auto& one : seen_.servers) server(*one);
    for (const auto& one : seen_.disks) disk(*one);
    for (const auto& one : seen_.ports) port(*one);
    for (const auto id : concerned_) finish_if_released(state_.servers.at(id));
    return std::move(events_);
  }

 private:
  void add(Event event) { events_.push_back(std::move(event)); }

  // What the agent says of the node as a whole.
  void condition() {
    if (node_.trouble(seen_.agent) != seen_.trouble) add(NodeTroubled{.id = node_.id, .agent = seen_.agent, .reason = seen_.trouble});
    if (seen_.disk_gib && seen_.disk_gib != node_.disk_gib) add(NodeMeasured{.id = node_.id, .disk_gib = seen_.disk_gib});
  }

  // The server of an observation, if it is that one and it is here.
  const Server* ours(ServerId id, Born born) const {
    const Server* server = state_.servers.find(id);
    return server && server->born == born && server->node == node_.id ? server : nullptr;
  }
  bool confirmed() const { return seen_.realized != 0; }

  // It was heard of since it was lost, and no domain is left that was evacuated from it.
  bool has_returned() const {
    if (node_.state != NodeState::lost || !confirmed() || seen_.realized < std::max(node_.incarnation, node_.lost_seq)) return false;
    bool left = false;
    state_.leftovers.each_by(Leftover::by_node, encode_key(node_.id), [&](const Leftover& row) {
      left = row.agent == wire::AgentKind::compute && !before_.leftovers_gone.contains(row.id);
      return !left;
    });
    return !left;
  }

  void leftover(const LeftoverKey& key, Born born, Seq since, bool present) {
    const Leftover* row = state_.leftovers.find(key);
    if (!row || row->born != born || since < row->since || present || !confirmed()) return;
    const bool is_port = row->agent != wire::AgentKind::compute;
    if (is_port && state_.leftovers.contains({key.node, row->server.as<AnyId>()})) return;  // it may come again with the domain
    add(LeftoverGone{.node = key.node, .object = key.object});
    before_.leftovers_gone.insert(key);
    const Server& server = state_.servers.at(row->server);
    if (server.task == TaskState::deleting && server.tenure == Tenure::none) concerned_.insert(server.id);
  }

  // Only the answer to the loss by which it is lost now counts: a former one may have been slept over.
  void fence(const FenceSeen& seen) {
    const Node* lost = state_.nodes.find(seen.node);
    if (!lost || lost->state == NodeState::up || !lost->fencer || lost->fenced) return;
    if (seen.identity != lost->identity() || seen.lost != lost->lost_seq) return;
    add(NodeFenced{.id = lost->id, .identity = seen.identity, .lost = seen.lost, .by = node_.id});
    if (lost->state == NodeState::dead) return;  // it counted as fenced
    for (auto& event : evacuate::events(state_, *lost, false, at_ms_, before_)) add(std::move(event));
  }

  void server(const ServerSeen& seen) {
    const Server* row = ours(seen.id, seen.born);
    if (!row || seen.since < row->want_seq) return;  // of a former wish: the answer to this one will come
    if (row->tenure == Tenure::unplacing) return server_leaving(*row, seen);
    if (!seen.error.empty()) return server_trouble(*row, seen);
    trouble_over(*row);
    server_power(*row, seen);
    server_volumes(*row, seen);
  }

  // What stood in its way does so no more; what a PAUSED or failed one has to say stands.
  void trouble_over(const Server& row) {
    const bool says_why = row.status == ServerStatus::error || row.status == ServerStatus::paused || row.deadline_ms;
    if (!row.fault.empty() && !says_why) add(ServerTroubled{.id = row.id});
  }

  void server_leaving(const Server& row, const ServerSeen& seen) {
    if (!seen.error.empty() && seen.error != row.fault) add(ServerTroubled{.id = row.id, .reason = seen.error});
    if (seen.present || row.compute_released || !confirmed()) return;
    add(ServerReleased{.id = row.id, .agent = wire::AgentKind::compute});
    compute_released_.insert(row.id);
    concerned_.insert(row.id);
  }

  void server_trouble(const Server& row, const ServerSeen& seen) {
    if (row.task == TaskState::spawning) return give_up(row, seen.error);
    bool attaching = false;
    state_.volumes.each_by(Volume::by_server, encode_key(row.id), [&](const Volume& volume) {
      if (volume.status != VolumeStatus::attaching || seen.since < volume.attach_seq) return true;
      attaching = true;
      add(VolumeDetaching{.id = volume.id, .reason = seen.error, .deadline_ms = at_ms_ + deadline::detach_ms});
      return true;
    });
    if (attaching) return;
    // It went down with its host, and does not come up again.
    const bool is_down = row.task == TaskState::none && row.on && seen.present && !seen.running && row.status != ServerStatus::error;
    if (is_down && row.running) add(ServerStopped{.id = row.id, .cause = StopCause::host});
    if (is_down) return add(ServerFailed{.id = row.id, .reason = seen.error});
    if (seen.error != row.fault && !row.disk_gone) add(ServerTroubled{.id = row.id, .reason = seen.error});
  }

  void server_power(const Server& row, const ServerSeen& seen) {
    if (seen.running) {
      if (!row.on || seen.power_seq < row.power_seq) return;  // still on its way to being off, or from before the wish
      const bool reboot_wished = row.task == TaskState::rebooting || row.task == TaskState::rebooting_hard;
      if (reboot_wished && seen.reboot_seq < row.reboot_seq) return;
      return server_runs(row, seen, reboot_wished);
    }
    if (!seen.present || seen.power_seq < row.power_seq) return;
    if (!row.on) {
      if ((row.status != ServerStatus::shutoff && !row.disk_gone) || row.task != TaskState::none || row.running)
        add(ServerStopped{.id = row.id, .cause = StopCause::asked});
      return;
    }
    // It was started as wished and stands still: the guest powered off or QEMU died. After a restart of
    // the host the agent starts it again by itself.
    const bool by_itself = seen.cause == StopCause::guest || seen.cause == StopCause::killed;
    if (by_itself && !seen.host_restarted) add(ServerStopped{.id = row.id, .cause = seen.cause});
  }

  void server_runs(const Server& row, const ServerSeen& seen, bool reboot_wished) {
    if (reboot_wished && !seen.paused.empty() && row.task == TaskState::rebooting_hard) return;  // it ends with a guest that runs
    const bool was_paused = row.status == ServerStatus::paused && row.task == TaskState::none && row.running;
    const bool was_gone = row.status == ServerStatus::error && row.disk_gone;  // it runs on without a name for its disk
    if (reboot_wished) add(ServerRebooted{.id = row.id});
    else if (was_paused && seen.paused.empty()) add(ServerResumed{.id = row.id});
    else if (!was_paused && !was_gone && (!row.running || row.status != ServerStatus::active || row.task != TaskState::none))
      add(ServerStarted{.id = row.id});
    if (!seen.paused.empty() && !was_gone && !(was_paused && row.fault == seen.paused)) add(ServerPaused{.id = row.id, .reason = seen.paused});
  }

  void server_volumes(const Server& row, const ServerSeen& seen) {
    if (!seen.present) return;
    state_.volumes.each_by(Volume::by_server, encode_key(row.id), [&](const Volume& volume) {
      if (seen.since < volume.attach_seq) return true;
      const bool there = std::find(seen.volumes.begin(), seen.volumes.end(), volume.id) != seen.volumes.end();
      if (volume.status == VolumeStatus::attaching && there) add(VolumeAttached{.id = volume.id});
      if (volume.status == VolumeStatus::detaching && !there && confirmed()) add(VolumeDetached{.id = volume.id});
      return true;
    });
  }

  void give_up(const Server& row, const std::string& reason) {
    if (!gave_up_.insert(row.id).second) return;
    for (auto& event : server::give_up_place(state_, row, fmt::format("{} (on node {})", reason, node_.name), at_ms_)) add(std::move(event));
  }

  void disk(const DiskSeen& seen) {
    if (const Server* row = ours(seen.id.as<ServerId>(), seen.born)) return boot_disk(*row, seen);
    const Volume* row = state_.volumes.find(seen.id.as<VolumeId>());
    if (!row || row->born != seen.born || row->node != node_.id || seen.since < row->want_seq) return;
    if (row->status == VolumeStatus::creating) {
      if (!seen.error.empty()) add(VolumeFailed{.id = row->id, .reason = seen.error});
      else if (seen.present) add(VolumeReady{.id = row->id});
    }
    if (row->status == VolumeStatus::deleting && !seen.present && confirmed()) add(VolumeDeleted{.id = row->id});
    if (row->gone && seen.present) add(VolumeFound{.id = row->id});
    const bool was_ready = row->status == VolumeStatus::available || row->status == VolumeStatus::attaching ||
                           row->status == VolumeStatus::in_use || row->status == VolumeStatus::detaching;
    if (was_ready && !row->gone && !seen.present && confirmed()) gone(*row);
  }
  void gone(const Volume& row) {
    add(VolumeGone{.id = row.id, .reason = gone_words("its bytes are")});
    if (row.status == VolumeStatus::attaching)  // nobody waits for what cannot come
      add(VolumeDetaching{.id = row.id, .reason = gone_words("its bytes are"), .deadline_ms = at_ms_ + deadline::detach_ms});
  }
  std::string gone_words(const char* what) const {
    return fmt::format("{} gone from node {}: bring them back, or delete it", what, node_.name);
  }

  void boot_disk(const Server& row, const DiskSeen& seen) {
    if (seen.since < row.want_seq) return;
    if (row.tenure == Tenure::placed) {
      if (!seen.error.empty() && row.task == TaskState::spawning) return give_up(row, seen.error);
      if (seen.present && !row.disk_ready) add(ServerDiskReady{.id = row.id});
      if (seen.present && row.disk_gone) add(ServerDiskFound{.id = row.id});
      if (!seen.present && row.disk_made() && !row.disk_gone && confirmed())
        add(ServerDiskGone{.id = row.id, .reason = fmt::format("its disk is gone from node {}", node_.name)});
      return;
    }
    if (!row.compute_released || row.disk_released || seen.present || !confirmed()) return;
    add(ServerReleased{.id = row.id, .agent = wire::AgentKind::storage});
    disk_released_.insert(row.id);
    concerned_.insert(row.id);
  }

  void port(const PortSeen& seen) {
    const Port* row = state_.ports.find(seen.id);
    if (!row || row->born != seen.born) return;
    const Server* server = state_.servers.find(row->server);
    if (!server || server->node != node_.id || seen.since < std::max(server->want_seq, row->want_seq)) return;
    if (server->tenure == Tenure::placed) {
      if (!seen.error.empty() && server->task == TaskState::spawning) return give_up(*server, seen.error);
      if (seen.ready && row->status == PortStatus::build) add(PortReady{.id = row->id});
      return;
    }
    if (!server->compute_released || row->released || seen.present || !confirmed()) return;
    add(PortReleased{.id = row->id});
    ports_released_.insert(row->id);
    concerned_.insert(server->id);
  }

  // With what this report confirmed, does its node hold nothing of it any more?
  void finish_if_released(const Server& row) {
    if (row.tenure == Tenure::none) return finish(row);
    if (!row.compute_released && !compute_released_.contains(row.id)) return;
    if (!row.disk_released && !disk_released_.contains(row.id) && !keeps_disk(state_, row)) return;
    bool ports = true;
    state_.ports.each_by(Port::by_server, encode_key(row.id), [&](const Port& port) {
      ports = port.released || ports_released_.contains(port.id);
      return ports;
    });
    if (ports) finish(row);
  }
  void finish(const Server& row) {
    for (auto& event : server::after_vacated(state_, row, at_ms_, before_)) add(std::move(event));
  }

  const State& state_;
  const Node& node_;
  const Observed& seen_;
  const std::int64_t at_ms_;
  Events events_;
  std::set<ServerId> concerned_, compute_released_, disk_released_, gave_up_;
  std::set<PortId> ports_released_;
  server::Before before_;
};

// An agent speaks for its own kind. What it says of an object several times: the last counts. Each handler may take for
// granted that it sees an object once, and nobody else's word of it.
template <class Seen, class Key>
void keep_last(std::vector<std::unique_ptr<Seen>>& all, Key key) {
  std::set<decltype(key(*all.front()))> known;
  std::erase_if(all, [](const auto& one) { return !one; });
  std::reverse(all.begin(), all.end());
  std::erase_if(all, [&](const auto& one) { return !known.insert(key(*one)).second; });
  std::reverse(all.begin(), all.end());
}
Observed each_once(Observed seen, NodeId by) {
  if (seen.agent != wire::AgentKind::compute) seen.servers.clear();
  if (seen.agent != wire::AgentKind::storage) seen.disks.clear(), seen.fences.clear();
  if (seen.agent != wire::AgentKind::network) seen.ports.clear();
  const auto id = [](const auto& one) { return one.id.template as<AnyId>(); };
  keep_last(seen.servers, id);
  keep_last(seen.disks, id);
  keep_last(seen.ports, id);
  keep_last(seen.fences, [](const FenceSeen& one) { return one.node; });
  std::erase_if(seen.fences, [by](const auto& one) { return one->node == by; });  // nobody fences itself
  for (auto& one : seen.servers) {
    std::sort(one->volumes.begin(), one->volumes.end());
    one->volumes.erase(std::unique(one->volumes.begin(), one->volumes.end()), one->volumes.end());
  }
  return seen;
}

ReportVerdict agent_started(const State& s, const Report& report, const AgentStarted& started, std::int64_t at_ms) {
  const Node* node = s.nodes.find(report.node);
  if (node && node->nonce == started.nonce) return {};  // said twice
  // Sent before it knew of its death, maybe long ago: it clears its host first, and says so again.
  if (node && node->state == NodeState::dead && report.incarnation < node->skipped_at) return {};
  if (node && node->state == NodeState::dead && node->storage_pool.empty() && node->deadline_ms) return {};  // it is being cleared
  const bool holds = node && (s.servers.any_by(Server::by_node, encode_key(node->id)) || s.volumes.any_by(Volume::by_node, encode_key(node->id)));
  if (holds && node->storage_pool != started.storage_pool) {  // their disks would be made anew, empty
    const std::string reason = fmt::format("it has servers or volumes in storage pool '{}', and says now that its pool is '{}': configure it as it "
                                           "was, or delete them first", node->storage_pool, started.storage_pool);
    if (node->waiting == reason) return {};
    return {true, {NodeWaiting{.id = node->id, .reason = reason, .deadline_ms = node->deadline_ms}}};
  }
  Events events;
  if (!node || node->state == NodeState::dead) {
    const Node* namesake = nullptr;
    s.nodes.each_by(Node::by_name, KeyWriter().word(started.name), [&](const Node& row) {
      if (row.id != report.node) namesake = &row;
      return namesake == nullptr;
    });
    if (namesake)
      return {true, refuse(Refusal::name_taken, fmt::format("A node named {} exists with another id ({}); give this one another name.",
                                                            started.name, namesake->id.str()), report.node.as<AnyId>())};
    events.push_back(NodeAdmitted{.id = report.node, .name = started.name});
  }
  events.push_back(NodeStarted{.id = report.node, .nonce = started.nonce, .boot_id = started.boot_id, .zone = started.zone,
                               .vcpus = started.vcpus, .ram_mib = started.ram_mib, .disk_gib = started.disk_gib,
                               .compute_driver = started.compute_driver, .storage_driver = started.storage_driver,
                               .network_driver = started.network_driver, .address = started.address, .version = started.version,
                               .storage_pool = started.storage_pool});
  if (node && node->state == NodeState::dead)
    for (auto& event : evacuate::back(s, *node, std::numeric_limits<Seq>::max(), at_ms)) events.push_back(std::move(event));
  return {true, std::move(events)};
}

}  // namespace

ReportVerdict decide(const State& s, const Report& report, std::int64_t at_ms, std::uint64_t passed) {
  if (report.body.type == wire::ReportBody::AgentStarted)
    return agent_started(s, report, *static_cast<const AgentStarted*>(report.body.value), at_ms);
  const Node* node = s.nodes.find(report.node);
  if (!node || node->state == NodeState::dead || report.incarnation != node->incarnation) return {};
  const std::uint64_t taken = std::max(reports_taken(s, *node), passed);
  if (report.number <= taken) return {};
  if (report.number != taken + 1)
    return {true, {ReportsSkipped{.node = node->id, .after = taken, .got = report.number}}};
  const Observed seen = each_once(*static_cast<const Observed*>(report.body.value), node->id);
  return {true, ReportDecider(s, *node, seen, at_ms).events()};
}

Events put_aside(const State& s, const Report& report) {
  const Node* node = s.nodes.find(report.node);
  if (!node || node->state == NodeState::dead || report.incarnation != node->incarnation) return {};
  if (report.number <= reports_taken(s, *node)) return {};
  return {ReportsSkipped{.node = node->id, .after = reports_taken(s, *node), .got = report.number}};
}

}  // namespace reprise
