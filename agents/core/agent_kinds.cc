#include "agents/core/agent_kinds.h"

#include <fmt/format.h>

namespace reprise {

// ---- compute

std::optional<compute::Action> ComputeKind::plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip) {
  std::set<ServerId> servers;
  for (const auto& id : skip) servers.insert(id.as<ServerId>());
  return compute::next_action(want.compute, have, servers);
}

std::optional<compute::Action> ComputeKind::plan_one(const Assignment& want, const Have& have, AnyId key) {
  const auto id = key.as<ServerId>();
  compute::Want its;
  compute::Have seen{.boot_id = have.boot_id, .servers = {}};
  if (const auto at = want.compute.find(id); at != want.compute.end()) its.insert(*at);
  for (const auto& one : have.servers)
    if (one.first.first == id) seen.servers.insert(one);
  return compute::next_action(its, seen);
}

std::string ComputeKind::words(const Action& action) {
  return fmt::format("{} {}", compute::step_name(action.step), action.server.id.str());
}

std::map<AnyId, ServerSeen> ComputeKind::seen(const Assignment& want, const Have& have) {
  std::map<AnyId, ServerSeen> all;
  for (const auto& [key, server] : have.servers) {
    ServerSeen one{.id = server.id, .born = server.born, .present = true, .running = server.running,
                   .cause = static_cast<wire::StopCause>(server.cause), .power_seq = server.power_seq,
                   .reboot_seq = server.reboot_seq,
                   .host_restarted = !server.running && !server.boot_id.empty() && server.boot_id != have.boot_id};
    if (server.running && server.pause != compute::Pause::none) one.paused = server.paused.empty() ? "paused on its host" : server.paused;
    for (const auto& disk : server.disks)
      if (!disk.boot) one.volumes.push_back(disk.id.as<VolumeId>());
    all[server.id.as<AnyId>()] = std::move(one);
  }
  for (const auto& [id, wished] : want.compute) {
    auto& one = all[id.as<AnyId>()];
    // Another life of that id is not it: this one is absent.
    if (one.born != wished.born) one = {.id = id, .born = wished.born};
    one.since = wished.since;
  }
  return all;
}

// ---- storage

std::optional<storage::Action> StorageKind::plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip) {
  return storage::next_action(want.storage, have, skip, want.fences);
}

Assignment StorageKind::cleared(Assignment want, const Have& have) {
  if (have.shared) return want;
  for (const auto& [key, disk] : have.disks)
    want.storage.try_emplace(disk.id, storage::DiskWant{.id = disk.id, .born = disk.born, .absent = true, .kind = disk.kind});
  return want;
}

AnyId StorageKind::key(const Action& action) {
  switch (action.step) {
    case storage::Step::fence: return action.fence.node.as<AnyId>();
    case storage::Step::evict_image: return action.image.as<AnyId>();
    case storage::Step::create:
    case storage::Step::grow:
    case storage::Step::remove: break;
  }
  return action.disk.id;
}

std::string StorageKind::words(const Action& action) {
  return fmt::format("{} {}", storage::step_name(action.step), key(action).str());
}

std::map<AnyId, DiskSeen> StorageKind::seen(const Assignment& want, const Have& have) {
  std::map<AnyId, DiskSeen> all;
  for (const auto& [key, disk] : have.disks)
    if (!have.shared || want.storage.contains(disk.id)) all[disk.id] = {.id = disk.id, .born = disk.born, .present = true, .size_gib = disk.size_gib};
  for (const auto& [id, wished] : want.storage) {
    auto& one = all[id];
    if (one.born != wished.born) one = {.id = id, .born = wished.born};
    one.since = wished.since;
    if (const auto trouble = have.troubles.find(id); trouble != have.troubles.end()) one.present = true, one.error = trouble->second;
    if (!one.present && !wished.ready && !wished.absent) one.error = wished.unmakable;
  }
  return all;
}

// ---- network

std::optional<network::Action> NetworkKind::plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip) {
  return network::next_action(want.network, have, skip);
}

std::string NetworkKind::words(const Action& action) {
  return fmt::format("{} {} networks, {} ports", network::step_name(action.step), action.want.networks.size(), action.want.ports.size());
}

std::map<AnyId, PortSeen> NetworkKind::seen(const Assignment& want, const Have& have) {
  std::map<AnyId, PortSeen> all;
  for (const auto& [key, port] : have.ports)
    all[port.id.as<AnyId>()] = {.id = port.id, .born = port.born, .present = true, .ready = port.ready};
  const auto trouble = [&](AnyId id) {
    const auto at = have.troubles.find(id);
    return at == have.troubles.end() ? std::string{} : at->second;
  };
  for (const auto& [id, wished] : want.network.ports) {
    auto& one = all[id.as<AnyId>()];
    if (one.born != wished.born) one = {.id = id, .born = wished.born};
    one.since = wished.since;
    if (!wished.absent && !one.ready) one.error = trouble(id.as<AnyId>());
    if (!wished.absent && !one.ready && one.error.empty()) one.error = trouble(wished.network.as<AnyId>());
  }
  return all;
}

}  // namespace reprise
