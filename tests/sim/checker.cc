#include "tests/sim/checker.h"

#include <fmt/format.h>

#include <algorithm>

#include "controlplane/decide/context.h"
#include "events/print.h"
#include "projections/references.h"

namespace reprise::sim {

void Checker::effect(std::size_t node, AgentKind agent, const std::string& what, AnyId object) {
  const std::pair here{object.as<ServerId>(), nodes_[node]->facts().id};
  if (agent == AgentKind::compute && (what == "start" || what == "define") && released_.contains(here) &&
      !placed_again(here.first, here.second, released_.at(here)))
    ground_.violate(fmt::format("{} of server {} on {}, which had confirmed that it holds nothing of it", what, object.str(), name(node)));
  if (agent == AgentKind::network) network_gone_.erase(node);
  if (agent == AgentKind::storage && what == "remove")  // wished away: what it is made of next time is another thing
    for (const auto& [key, disk] : nodes_[node]->host().disks().disks)
      if (key.first == object) content_.erase(key);
  if (what == "start" || what == "reboot_soft" || what == "reboot_hard") ++boots_[object];
  if (!looking_.insert(node).second) return;
  ground_.queue.at(ground_.queue.now_ms(), [this, node] {
    looking_.erase(node);
    look_at(node);
  });
}

NodeProcess* Checker::process(NodeId id) const {
  const auto at = std::ranges::find(nodes_, id, [](const auto& one) { return one->facts().id; });
  return at == nodes_.end() ? nullptr : at->get();
}

// What is folded here may lag behind the agent: the log itself knows.
bool Checker::placed_again(ServerId server, NodeId node, Seq since) const {
  for (const auto& stored : ground_.log->stored(Topic::events)) {
    const auto record = decode_record(stored.bytes);
    if (!record || record->seq <= since) continue;
    for (const auto& decision : record->decisions)
      for (const auto& event : decision.events)
        if (event.is<ServerPlaced>() && event.as<ServerPlaced>().id == server && (!node || event.as<ServerPlaced>().node == node)) return true;
  }
  return false;
}

bool Checker::dead_in_log(std::size_t node) const {
  const NodeId id = nodes_[node]->facts().id;
  bool is = false;
  for (const auto& stored : ground_.log->stored(Topic::events)) {
    const auto record = decode_record(stored.bytes);
    if (!record) continue;
    for (const auto& decision : record->decisions)
      for (const auto& event : decision.events) {
        if (event.is<NodeDead>() && event.as<NodeDead>().id == id) is = true;
        if (event.is<NodeAdmitted>() && event.as<NodeAdmitted>().id == id) is = false;
      }
  }
  return is;
}

void Checker::look_at(std::size_t node) {
  const auto servers = nodes_[node]->host().servers();
  for (const auto& [key, server] : servers.servers)
    if (server.running) look_at_server(node, server);
  const auto ports = nodes_[node]->host().ports();
  for (std::size_t other = 0; other < nodes_.size(); ++other) {
    if (other == node) continue;
    const auto theirs = nodes_[other]->host().servers();
    for (const auto& [key, server] : theirs.servers) {
      const auto here = servers.servers.find(key);
      const bool both = server.running && here != servers.servers.end() && here->second.running;
      const bool write = both && nodes_[node]->host().may_write(here->second) && nodes_[other]->host().may_write(server);
      // Who vouches for a node that lives has two until the fence is there, which then follows.
      if (write && !dead_in_log(node) && !dead_in_log(other))
        ground_.violate(fmt::format("server {} runs on {} and on {}", key.first.str(), name(node), name(other)));
    }
    if (dead(node) || dead(other)) continue;
    // A fence does not silence a guest's network: a server that goes elsewhere takes its port along.
    const auto fenced = [&](std::size_t one) { return nodes_[one]->host().was_fenced(); };
    const auto their_ports = nodes_[other]->host().ports();
    for (const auto& [key, port] : their_ports.ports)
      if (ports.ports.contains(key) && !fenced(node) && !fenced(other) && !dead_in_log(node) && !dead_in_log(other))
        ground_.violate(fmt::format("port {} is on {} and on {}", key.first.str(), name(node), name(other)));
  }
  look_at_addresses(node);
  look_at_disks(node);
}

bool Checker::vanishes(AnyId disk, Born born) {
  const State& s = ground_.api->state();
  const Server* server = s.servers.find(disk.as<ServerId>());
  const Volume* volume = s.volumes.find(disk.as<VolumeId>());
  const bool is_servers = server && server->born == born && server->disk_made() && server->tenure == Tenure::placed && server->task == TaskState::none;
  const bool is_volumes = volume && volume->born == born && (volume->status == VolumeStatus::available || volume->status == VolumeStatus::in_use);
  return (is_servers || is_volumes) && vanished_.insert({disk, born}).second;
}

// What guests wrote is what is there, and what was lost stays lost: nothing is made anew behind their backs.
void Checker::look_at_disks(std::size_t node) {
  const auto& bytes = nodes_[node]->host().bytes();
  for (const auto& [key, disk] : bytes.have().disks) {
    if (vanished_.contains(key)) ground_.violate(fmt::format("disk {} was lost, and is on {} again, made anew", key.first.str(), name(node)));
    const auto written = content_.find(key);
    if (written != content_.end() && bytes.content(key.first, key.second) != written->second)
      ground_.violate(fmt::format("disk {} on {} is not what its guest wrote", key.first.str(), name(node)));
  }
}

// No address is two ports', on whatever hosts.
void Checker::look_at_addresses(std::size_t node) {
  if (dead(node)) return;
  std::map<std::pair<SubnetId, Ipv4>, PortId> here;
  const auto each = [](const network::Have& have, auto&& f) {
    for (const auto& [key, port] : have.ports)
      if (const auto at = have.applied.ports.find(key.first); at != have.applied.ports.end())
        for (const auto& one : at->second.addresses) f(key.first, std::pair{one.subnet, one.address});
  };
  each(nodes_[node]->host().ports(), [&](PortId port, const auto& address) { here.emplace(address, port); });
  if (here.empty()) return;
  for (std::size_t other = 0; other < nodes_.size(); ++other) {
    if (dead(other)) continue;
    each(nodes_[other]->host().ports(), [&](PortId port, const auto& address) {
      const auto at = here.find(address);
      if (at != here.end() && at->second != port && !dead_in_log(node) && !dead_in_log(other))
        ground_.violate(fmt::format("{} is answered for by port {} on {} and by {} on {}", address.second.str(), at->second.str(), name(node),
                                    port.str(), name(other)));
    });
  }
}

// What a running guest stands on is there, and no other guest writes to it.
void Checker::look_at_server(std::size_t node, const compute::ServerHave& server) {
  const bool writes = nodes_[node]->host().may_write(server);
  for (std::size_t other = 0; writes && other < nodes_.size(); ++other) {
    const auto theirs = nodes_[other]->host().servers();
    for (const auto& [key, guest] : theirs.servers) {
      if (!guest.running || key.first == server.id || !nodes_[other]->host().may_write(guest)) continue;
      for (const auto& disk : guest.disks)
        if (std::ranges::find(server.disks, disk.id, &compute::DiskLink::id) != server.disks.end())
          ground_.violate(fmt::format("disk {} is attached to server {} on {} and to {} on {}", disk.id.str(), server.id.str(), name(node),
                                      guest.id.str(), name(other)));
    }
  }
  const auto disks = nodes_[node]->host().disks();
  for (const auto& disk : server.disks)
    if (writes && !disks.disks.contains({disk.id, disk.born}) && !vanished_.contains({disk.id, disk.born}))  // one that is shut out reads nothing either
      ground_.violate(fmt::format("server {} runs on {} without its disk {}", server.id.str(), name(node), disk.id.str()));
  if (network_gone_.contains(node) || dead(node)) return;
  const auto ports = nodes_[node]->host().ports();
  const auto is_broken = [&](PortId port) {
    const auto at = ports.applied.ports.find(port);
    return at != ports.applied.ports.end() && ports.troubles.contains(at->second.network.as<AnyId>());
  };
  for (const auto& nic : server.nics)
    if (!ports.ports.contains({nic.port, nic.born}) && !is_broken(nic.port))
      ground_.violate(fmt::format("server {} runs on {} without its port {}", server.id.str(), name(node), nic.port.str()));
}

// ---- each record

// Not where an agent can do nothing, but for one that comes back to where its disk is.
void Checker::check_placed_well(const Record& record, const State& state) {
  std::set<NodeId> just_now;
  for (const auto& decision : record.decisions)
    for (const auto& event : decision.events)
      if (event.is<NodeTroubled>()) just_now.insert(event.as<NodeTroubled>().id);
  for (const auto& decision : record.decisions)
    for (const auto& event : decision.events) {
      if (!event.is<ServerPlaced>() || evacuated_.contains(event.as<ServerPlaced>().id)) continue;
      const Node* node = state.nodes.find(event.as<ServerPlaced>().node);
      if (node && node->in_trouble() && !just_now.contains(node->id))
        ground_.violate(fmt::format("server {} was placed on {}, whose agents can do nothing", event.as<ServerPlaced>().id.str(), node->name));
    }
}

// A server that comes to a node has no disk there yet.
void Checker::check_placed(const Record& record, const State& state) {
  std::set<ServerId> placed;
  for (const auto& decision : record.decisions)
    for (const auto& event : decision.events) {
      if (event.is<ServerPlaced>()) placed.insert(event.as<ServerPlaced>().id);
      if (event.is<ServerDiskReady>()) placed.erase(event.as<ServerDiskReady>().id);
    }
  check_placed_well(record, state);
  for (const auto& id : placed)
    if (const Server* row = state.servers.find(id); row && row->disk_ready) ground_.violate("the disk of a former place counts: " + id.str());
}

// Load spreads: when the last server of a record was placed, no other node that would have held it had more free memory.
void Checker::check_spread(const Record& record, const State& state) {
  const ServerPlaced* placed = nullptr;
  NodeId left;  // where it came from
  for (const auto& decision : record.decisions)
    for (const auto& event : decision.events) {
      // What was free, or usable, only after that is no choice.
      if (event.is<ServerVacated>() || event.is<VolumeDeleted>() || event.is<VolumeFailed>() || event.is<NodeEnabledSet>() ||
          event.is<NodeReturned>() || event.is<NodeStarted>() || event.is<NodeTroubled>() ||
          event.is<NodeMeasured>() || event.is<ServerEvacuated>()) placed = nullptr;
      if (event.is<ServerPlaced>()) placed = &event.as<ServerPlaced>(), left = decision.node;
    }
  const Server* server = placed ? state.servers.find(placed->id) : nullptr;
  if (!server || server->node != placed->node || evacuated_.contains(server->id)) return;
  const auto sum = [](const auto& row) {
    return NodeUse{.vcpus = row.vcpus, .ram_mib = static_cast<std::int64_t>(row.ram_mib),
                   .disk_gib = static_cast<std::int64_t>(row.disk_gib)};
  };
  const auto room = [&](const Node& row) {  // what is free there now
    const NodeUse* use = state.node_use.find(row.id);
    NodeUse free = sum(row);
    if (use) free.vcpus -= use->vcpus, free.ram_mib -= use->ram_mib, free.disk_gib -= use->disk_gib;
    return free;
  };
  // One that comes from a node of a storage pool stays in that pool.
  const Node* from = state.nodes.find(left);
  const std::string pool = from ? from->storage_pool : "";
  const NodeUse asked = sum(*server);
  const Node* taken = state.nodes.find(placed->node);
  const std::int64_t before = taken ? room(*taken).ram_mib + asked.ram_mib : 0;
  state.nodes.each([&](const Node& row) {
    const NodeUse free = room(row);
    const bool fits = row.state == NodeState::up && !row.disabled && !row.in_trouble() && free.vcpus >= asked.vcpus && free.disk_gib >= asked.disk_gib;
    if (!pool.empty() && row.storage_pool != pool) return;
    if (taken && fits && row.id != taken->id && row.id != left && free.ram_mib > before)
      ground_.violate(fmt::format("server {} was placed on {}, although {} had more room", server->id.str(), taken->name, row.name));
  });
}

// No clock here has a witness: log time follows one by a tenth, and jumps only to one that is near.
void Checker::check_time(const Step& step) {
  constexpr std::int64_t near_ms = 300'000, late_ms = 120'000;
  const auto& stored = ground_.log->stored(Topic::events);
  const auto at = std::ranges::lower_bound(stored, step.offset, {}, &Stored::offset);
  if (at == stored.end() || at->offset != step.offset) return;
  const std::int64_t passed = step.record.at_ms - last_at_ms_, real = at->at_ms - last_written_ms_;
  if (last_at_ms_ >= 0 && passed > real + real / 10 + near_ms + late_ms)
    ground_.violate(fmt::format("log time jumped by {} ms within {} ms at seq {}", passed, real, step.record.seq));
  last_at_ms_ = step.record.at_ms;
  last_written_ms_ = at->at_ms;
}

void Checker::folded(const Step& step, const State& state) {
  check_time(step);
  quota_set_.clear();
  evacuated_.clear();
  look_at_reports();
  for (const auto& decision : step.record.decisions)
    for (const auto& event : decision.events)
      if (event.is<ServerEvacuated>()) evacuated_.insert(event.as<ServerEvacuated>().id);
  for (const auto& decision : step.record.decisions) {
    bool refused = false;
    for (const auto& event : decision.events) {
      refused = refused || event.is<IntentRefused>();
      check_event(event, step.record.seq, state);
    }
    if (decision.cause == Cause::report) check_report(decision, step.record.seq), check_released(decision, step.record.seq);
    note_skipped(decision);
    if (decision.cause != Cause::intent || refused) continue;
    const auto intent = decode_intent(decision.intent);
    if (intent) check_owner(*intent, state);
    if (intent && step.record.at_ms > intent->expires_ms)
      ground_.violate(fmt::format("intent {} was done {} ms after its expiry", intent->id.str(), step.record.at_ms - intent->expires_ms));
  }
  check_placed(step.record, state);
  check_spread(step.record, state);
  check_state(state);
}

// Reports are taken without gaps: what stands between two that were decided was there, and changed nothing.
void Checker::check_report(const Decision& decision, Seq seq) {
  const auto is = [](auto& event) { return event.template is<ReportsSkipped>(); };
  Taken& taken = taken_[decision.node];
  for (const auto& event : decision.events)
    if (event.is<NodeStarted>()) taken = {.incarnation = seq};
  if (!decision.report) return;
  const std::uint64_t before = std::exchange(taken.number, decision.report);
  if (std::ranges::any_of(decision.events, is) || decision.report == before + 1) return;
  if (forgotten_) return;  // nobody knows
  const auto& told = told_[{decision.node, taken.incarnation}];
  for (auto number = before + 1; number <= decision.report; ++number)
    if (!told.contains(number))
      ground_.violate(fmt::format("report {} of node {} was taken at seq {} after {}", decision.report, decision.node.str(), seq, before));
}

void Checker::look_at_reports() {
  const auto& stored = ground_.log->stored(Topic::reports);
  if (stored.empty()) return;
  if (stored.front().offset > looked_at_) {
    forgotten_ = true;
    for (auto& [node, taken] : taken_) taken.skipped = false;  // nobody knows
  }
  for (auto one = std::ranges::lower_bound(stored, looked_at_, {}, &Stored::offset); one != stored.end(); ++one) {
    const auto report = decode_report(one->bytes);
    if (!report) continue;
    const auto* seen = report->body.AsObserved();
    told_[{report->node, report->incarnation}][report->number] = seen && seen->full ? std::optional(seen->agent) : std::nullopt;
  }
  looked_at_ = stored.back().offset + 1;
}

// After a gap everything is told again.
void Checker::note_skipped(const Decision& decision) {
  if (decision.cause == Cause::intent) return;  // its death, of which it may never know
  for (const auto& event : decision.events) {
    if (!event.is<ReportsSkipped>()) continue;
    Taken& taken = taken_[event.as<ReportsSkipped>().node];
    taken.skipped = true;
    taken.skipped_number = std::max(taken.number, event.as<ReportsSkipped>().got);
  }
}

// What a node said that it does not hold any more is gone from it by then, unless it came there again.
void Checker::check_released(const Decision& decision, Seq seq) {
  NodeProcess* node = process(decision.node);
  const auto holds = [](const auto& all, AnyId id) {
    return std::ranges::any_of(all, [id](const auto& one) { return one.first.first.template as<AnyId>() == id; });
  };
  for (const auto& event : decision.events) {
    if (!event.is<ServerReleased>() || !node) continue;
    const auto& e = event.as<ServerReleased>();
    const AnyId id = e.id.as<AnyId>();
    const bool domain = e.agent == wire::AgentKind::compute;
    const bool held = domain ? holds(node->host().servers().servers, id) : holds(node->host().disks().disks, id);
    const bool shared = !domain && !node->facts().storage_pool.empty();  // whoever has it next makes it there too
    if (held && !placed_again(e.id, shared ? NodeId{} : decision.node, shared ? seq - 1 : seq))
      ground_.violate(fmt::format("{} of server {} is said to be gone from {}, and is there", domain ? "the domain" : "the disk",
                                  e.id.str(), node->facts().name));
  }
}

std::string Checker::silent_after_gap() {
  look_at_reports();
  for (const auto& node : nodes_) {
    const auto at = taken_.find(node->facts().id);
    if (at == taken_.end() || !at->second.skipped || !node->incarnation() || node->held()) continue;
    std::set<wire::AgentKind> told;
    for (const auto& [number, full] : told_[{node->facts().id, node->incarnation()}])
      if (full && number > at->second.skipped_number) told.insert(*full);
    if (told.size() < 3)
      return fmt::format("{} has not told everything again after reports of it were missing: {} of 3 agents since report {} of incarnation {}",
                         node->facts().name, told.size(), at->second.skipped_number, node->incarnation());
  }
  return {};
}

// None: it is not there, or nobody's.
static ProjectId project_of(const State& s, AnyId id) {
  if (const auto* row = s.servers.find(id.as<ServerId>())) return row->project;
  if (const auto* row = s.volumes.find(id.as<VolumeId>())) return row->project;
  if (const auto* row = s.networks.find(id.as<NetworkId>())) return row->project;
  if (const auto* row = s.subnets.find(id.as<SubnetId>())) return row->project;
  if (const auto* row = s.ports.find(id.as<PortId>())) return row->project;
  if (const auto* row = s.images.find(id.as<ImageId>())) return row->project;
  return {};
}

// One project never changes another's.
void Checker::check_owner(const Intent& intent, const State& state) {
  if (const auto project = project_of(state, intent.object)) owners_.try_emplace(intent.object, project);
  const auto owner = owners_.find(intent.object);
  if (owner == owners_.end() || owner->second == intent.project || admins_.contains({intent.user, intent.project})) return;
  ground_.violate(fmt::format("a member of project {} changed {} of project {}", intent.project.str(), intent.object.str(), owner->second.str()));
}

// What must not be said when nothing goes wrong; null: it may. What was lost before is missed only now.
static const char* trouble(const Event& event) {
  if (event.is<ServerFailed>()) return "a server failed";
  if (event.is<ServerTroubled>()) return "a server is in trouble";
  if (event.is<ServerOverdue>()) return "a server is overdue";
  if (event.is<VolumeFailed>()) return "a volume failed";
  if (event.is<VolumeOverdue>()) return "a volume is overdue";
  if (event.is<VolumeDetachFailed>()) return "a volume was not let go of";
  if (event.is<NodeLost>()) return "a node was lost";
  return nullptr;
}

const compute::ServerHave* Checker::domain_of(const Server& row) {
  for (const auto& node : nodes_) {
    if (node->facts().id != row.node) continue;
    have_ = node->host().servers();
    const auto at = have_.servers.find({row.id, row.born});
    return at == have_.servers.end() ? nullptr : &at->second;
  }
  return nullptr;
}

// A host is ahead of what is said of it: what an event says was done by then.
void Checker::check_event(const Event& event, Seq seq, const State& state) {
  const auto done = [&](ServerId id, const char* what, auto&& is_done) {
    const Server* row = state.servers.find(id);
    if (evacuated_.contains(id)) return;
    const auto* domain = row ? domain_of(*row) : nullptr;
    if (domain && !is_done(*row, *domain)) ground_.violate(fmt::format("server {} is said to be {}, but its host has not done it", id.str(), what));
  };
  if (event.is<RoleAssigned>()) {
    const auto& e = event.as<RoleAssigned>();
    const Role* role = state.roles.find(e.role);
    if (role && role->name == "admin") admins_.insert({e.user, e.project});
  }
  if (event.is<QuotaSet>()) quota_set_.insert(event.as<QuotaSet>().project);
  const bool no_room = !room_ && (event.is<ServerFailed>() || event.is<VolumeFailed>());
  if (calm_ && trouble(event) && !no_room) ground_.violate(fmt::format("in the calm {}: {}", trouble(event), print_words(event)));
  if (event.is<NodeDead>()) dead_.insert(event.as<NodeDead>().id);
  if (event.is<NodeAdmitted>()) dead_.erase(event.as<NodeAdmitted>().id);
  if (event.is<NodeFenced>()) {
    const auto& e = event.as<NodeFenced>();
    NodeProcess* node = process(e.id);
    if (node && !node->host().disks().shuts_out(e.id, e.identity))
      ground_.violate(fmt::format("{} is said to be fenced at seq {}, and its storage pool lets it in", node->facts().name, seq));
  }
  if (event.is<LeftoverGone>()) {
    const auto& e = event.as<LeftoverGone>();
    released_[{e.object.as<ServerId>(), e.node}] = seq;
  }
  if (event.is<ServerPlaced>()) {
    const auto& e = event.as<ServerPlaced>();
    released_.erase({e.id, e.node});
  } else if (event.is<ServerReleased>()) {
    const auto& e = event.as<ServerReleased>();
    const Server* row = state.servers.find(e.id);
    if (row && row->node && e.agent == wire::AgentKind::compute) released_[{e.id, row->node}] = seq;
  } else if (event.is<ServerStarted>()) {
    done(event.as<ServerStarted>().id, "started", [seq](const Server& row, const auto& have) {
      return have.power_seq >= row.power_seq || !row.on || row.power_seq == seq;  // wished anew in this very record
    });
  } else if (event.is<ServerRebooted>()) {
    done(event.as<ServerRebooted>().id, "rebooted", [seq](const Server& row, const auto& have) {
      return have.reboot_seq >= row.reboot_seq || row.reboot_seq == seq;
    });
  }
}

void Checker::check_state(const State& s) {
  s.usage.each([&](const Usage& row) {
    for (std::size_t i = 0; i < row.used.size(); ++i) {
      const auto limit = quota_limit(s, row.project, static_cast<Resource>(i));
      // A quota may be set below what is used already.
      const auto [known, is_new] = quotas_.try_emplace({row.project, i}, Counted{0, limit});
      const bool allowed = limit < 0 || known->second.limit < 0 || row.used[i] <= std::max(limit, known->second.limit);
      const bool grew = row.used[i] > known->second.used;
      known->second = {row.used[i], limit};
      if (grew && !allowed && !is_new && !quota_set_.contains(row.project))
        ground_.violate(fmt::format("project {} has {} {}, its quota is {}", row.project.str(), row.used[i], resource_name(static_cast<Resource>(i)), limit));
    }
  });
  s.node_use.each([&](const NodeUse& use) {
    const Node* row = s.nodes.find(use.node);
    if (row && (use.ram_mib > static_cast<std::int64_t>(row->ram_mib) || use.vcpus > row->vcpus || use.disk_gib > static_cast<std::int64_t>(row->disk_gib)))
      ground_.violate("more is placed on " + row->name + " than it holds");
  });
}

// ---- at rest

void Checker::at_rest(const State& s) {
  if (const auto wrong = check_counters(s); !wrong.empty()) return ground_.violate(wrong);
  if (const auto wrong = check_references(s); !wrong.empty()) return ground_.violate(wrong);
  running_.clear();
  for (const auto& node : nodes_) compare_host(*node, s);
  s.servers.each([&](const Server& row) {
    if (row.status == ServerStatus::active && !running_.contains(row.id)) ground_.violate("server is ACTIVE and runs nowhere: " + row.id.str());
  });
  check_orphans(s);
  std::set<std::pair<SubnetId, Ipv4>> addresses;
  s.ports.each([&](const Port& row) {
    for (const auto& ip : row.fixed)
      if (!addresses.insert({ip.subnet, ip.address}).second) ground_.violate("two ports have " + ip.address.str());
  });
  std::set<std::uint16_t> vlans;
  s.networks.each([&](const Network& row) {
    if (!vlans.insert(row.vlan).second) ground_.violate("two networks have VLAN " + std::to_string(row.vlan));
  });
}

void Checker::compare_host(NodeProcess& node, const State& s) {
  const auto& id = node.facts().id;
  const auto ports = node.host().ports();
  for (const auto& [key, server] : node.host().servers().servers) {
    const Server* row = s.servers.find(key.first);
    if (!row || row->node != id) return ground_.violate(fmt::format("{} holds domain {}, which is not its own", node.facts().name, key.first.str()));
    if (server.running && !running_.emplace(key.first, node.facts().name).second) return ground_.violate("a server runs twice: " + key.first.str());
    if (row->disk_gone) continue;  // in error, whatever its guest does
    const auto as_it_runs = server.pause == compute::Pause::none ? ServerStatus::active : ServerStatus::paused;
    if (server.running ? row->status != as_it_runs : row->status == ServerStatus::active || row->status == ServerStatus::paused)
      return ground_.violate(fmt::format("server {} runs: {}, but its status is {}", key.first.str(), server.running,
                                         static_cast<int>(row->status)));
    if (!server.running) continue;
    if (!node.host().may_write(server)) return ground_.violate(fmt::format("server {} runs and cannot write to its disks", key.first.str()));
    s.ports.each_by(Port::by_server, encode_key(row->id), [&](const Port& port) {
      if (!ports.in_force || !ports.ports.contains({port.id, port.born}))
        ground_.violate(fmt::format("server {} runs without its port {}", row->id.str(), port.id.str()));
      return true;
    });
  }
  compare_disks(node, s);
  for (const auto& [key, disk] : node.host().disks().disks)
    if (!s.servers.contains(key.first.as<ServerId>()) && !s.volumes.contains(key.first.as<VolumeId>()))
      return ground_.violate(fmt::format("{} holds disk {} of nothing", node.facts().name, key.first.str()));
  for (const auto& [key, port] : ports.ports)
    if (!s.ports.contains(key.first)) return ground_.violate("a port of nothing is on a host: " + key.first.str());
}

// Made from what it was to be made from; gone where the state says so, and nowhere else.
void Checker::compare_disks(NodeProcess& node, const State& s) {
  const auto& bytes = node.host().bytes();
  const auto compare = [&](AnyId id, Born born, ImageId image, bool made, bool gone) {
    const auto from = bytes.made_from(id, born);
    if (from && *from != image) ground_.violate(fmt::format("disk {} was made from {}, not from {}", id.str(), from->str(), image.str()));
    if (made && bool(from) == gone) ground_.violate(fmt::format("disk {} is on {}: {}, and the state says otherwise", id.str(), node.facts().name, bool(from)));
  };
  s.servers.each_by(Server::by_node, encode_key(node.facts().id), [&](const Server& row) {
    if (row.tenure == Tenure::placed) compare(row.id.as<AnyId>(), row.born, row.image, row.disk_made(), row.disk_gone);
    return true;
  });
  s.volumes.each_by(Volume::by_node, encode_key(node.facts().id), [&](const Volume& row) {
    const bool made = row.gone || (row.status != VolumeStatus::creating && row.status != VolumeStatus::error && row.status != VolumeStatus::deleting);
    compare(row.id.as<AnyId>(), row.born, row.image, made, row.gone);
    return true;
  });
}

// Nothing of what was deleted is left, and nothing open of what ended.
void Checker::check_orphans(const State& s) {
  s.ports.each([&](const Port& row) {
    if (row.server && !s.servers.contains(row.server)) ground_.violate(fmt::format("port {} is of server {}, which is gone", row.id.str(), row.server.str()));
    if (!s.networks.contains(row.network)) ground_.violate(fmt::format("port {} is in network {}, which is gone", row.id.str(), row.network.str()));
  });
  s.subnets.each([&](const Subnet& row) {
    if (!s.networks.contains(row.network)) ground_.violate(fmt::format("subnet {} is of network {}, which is gone", row.id.str(), row.network.str()));
  });
  s.volumes.each([&](const Volume& row) {
    if (row.server && !s.servers.contains(row.server)) ground_.violate(fmt::format("volume {} is of server {}, which is gone", row.id.str(), row.server.str()));
    if (!row.gone && bool(row.server) != (row.status == VolumeStatus::in_use || row.status == VolumeStatus::attaching || row.status == VolumeStatus::detaching))
      ground_.violate(fmt::format("volume {} has status {} and server {}", row.id.str(), static_cast<int>(row.status), row.server.str()));
  });
  s.instance_actions.each([&](const InstanceAction& row) {
    const Server* server = s.servers.find(row.id.server);
    if (!server) ground_.violate("an action of a server that is gone: " + row.id.server.str());
    else if (!row.finish_ms && server->task == TaskState::none) ground_.violate(fmt::format("action {} of server {} never ends", row.action, server->id.str()));
  });
}

}  // namespace reprise::sim
