#include "controlplane/decide/placement.h"

namespace reprise {
namespace {

NodeUse promised_on(NodeId node, const PlacementRequest& request) {
  NodeUse sum;
  if (!request.promised) return sum;
  for (const auto& one : *request.promised) {
    if (one.node != node) continue;
    sum.vcpus += one.vcpus, sum.ram_mib += one.ram_mib, sum.disk_gib += one.disk_gib;
  }
  return sum;
}

// One node's verdict out of its columns.
PlacementReason judge_row(const NodeColumns& columns, std::size_t i, const PlacementRequest& request, std::uint32_t zone) {
  if (columns.state[i] == NodeColumns::lost) return PlacementReason::node_lost;
  if (columns.state[i] == NodeColumns::disabled) return PlacementReason::node_disabled;
  if (columns.state[i] == NodeColumns::in_trouble) return PlacementReason::in_trouble;
  if (zone != NodeColumns::any_zone && columns.zone[i] != zone) return PlacementReason::wrong_zone;
  const NodeUse promised = promised_on(columns.ids[i], request);
  if (columns.free_vcpus[i] - promised.vcpus < request.vcpus) return PlacementReason::no_vcpus;
  if (columns.free_ram_mib[i] - promised.ram_mib < request.ram_mib) return PlacementReason::no_ram;
  if (columns.free_disk_gib[i] - promised.disk_gib < request.disk_gib) return PlacementReason::no_disk;
  return PlacementReason::fits;
}

// A host or node that is excluded by name, or by its storage pool: rare cases, kept out of the scan.
bool excluded(const NodeColumns& columns, std::size_t i, const State& state, const PlacementRequest& request) {
  if (request.not_on && columns.ids[i] == request.not_on) return true;
  if (request.host.empty() && request.pool.empty()) return false;
  const Node& node = state.nodes.at(columns.ids[i]);
  return (!request.host.empty() && node.name != request.host) || (!request.pool.empty() && node.storage_pool != request.pool);
}

// What the columns alone do not tell.
bool one_by_one(const PlacementRequest& request) {
  return request.not_on || !request.host.empty() || !request.pool.empty() || (request.promised && !request.promised->empty());
}

// The most free memory first: load spreads, and a tie goes to the lower id.
std::int64_t weight(const NodeColumns& columns, std::size_t i) { return columns.free_ram_mib[i]; }

struct Best {
  std::int64_t weight = -1;
  std::size_t at = 0;
  std::uint32_t fitting = 0;
};

// Weights of all nodes (or -1) in one pass without branches, then their maximum.
Best scan(const NodeColumns& columns, const PlacementRequest& request, std::uint32_t zone) {
  const std::size_t count = columns.ids.size();
  const auto* state = columns.state.data();
  const auto* zones = columns.zone.data();
  const auto* vcpus = columns.free_vcpus.data();
  const auto* ram = columns.free_ram_mib.data();
  const auto* disk = columns.free_disk_gib.data();
  Best best;
  for (std::size_t i = 0; i < count; ++i) {
    const bool fits = (state[i] == NodeColumns::usable) & ((zone == NodeColumns::any_zone) | (zones[i] == zone)) &
                      (vcpus[i] >= request.vcpus) & (ram[i] >= request.ram_mib) & (disk[i] >= request.disk_gib);
    best.fitting += fits;
    const std::int64_t here = fits ? ram[i] : -1;
    if (here > best.weight) best.weight = here, best.at = i;
  }
  return best;
}

}  // namespace

Placement place(const State& state, const PlacementRequest& request) {
  const NodeColumns& columns = state.node_columns();
  const std::uint32_t zone = request.zone.empty() ? NodeColumns::any_zone : columns.zone_of(request.zone);
  Placement placement;
  placement.considered = static_cast<std::uint32_t>(columns.ids.size());
  if (!one_by_one(request)) {
    const Best best = scan(columns, request, zone);
    placement.fitting = best.fitting;
    if (best.fitting) {
      placement.node = columns.ids[best.at];
      return placement;
    }
  }
  std::int64_t best = -1;
  for (std::size_t i = 0; i < columns.ids.size(); ++i) {
    const auto reason = excluded(columns, i, state, request) ? PlacementReason::excluded : judge_row(columns, i, request, zone);
    ++placement.counts[static_cast<std::size_t>(reason)];
    if (reason != PlacementReason::fits) {
      if (placement.verdicts.size() < verdicts_max)
        placement.verdicts.push_back({columns.ids[i], static_cast<std::uint8_t>(reason)});
      continue;
    }
    ++placement.fitting;
    const auto here = weight(columns, i) - promised_on(columns.ids[i], request).ram_mib;
    if (here > best) best = here, placement.node = columns.ids[i];
  }
  return placement;
}

std::vector<NodeWeighed> weigh_all(const State& state, const PlacementRequest& request) {
  const NodeColumns& columns = state.node_columns();
  const std::uint32_t zone = request.zone.empty() ? NodeColumns::any_zone : columns.zone_of(request.zone);
  std::vector<NodeWeighed> all;
  for (std::size_t i = 0; i < columns.ids.size(); ++i) {
    const auto reason = excluded(columns, i, state, request) ? PlacementReason::excluded : judge_row(columns, i, request, zone);
    all.push_back({columns.ids[i], reason, weight(columns, i)});
  }
  return all;
}

const char* placement_reason_text(PlacementReason reason) {
  switch (reason) {
    case PlacementReason::fits: return "fits";
    case PlacementReason::node_lost: return "not heard of, or declared dead";
    case PlacementReason::node_disabled: return "disabled by an admin";
    case PlacementReason::wrong_zone: return "in another availability zone";
    case PlacementReason::no_vcpus: return "not enough vCPUs free";
    case PlacementReason::no_ram: return "not enough RAM free";
    case PlacementReason::no_disk: return "not enough disk free";
    case PlacementReason::excluded: return "excluded by the request";
    case PlacementReason::in_trouble: return "in trouble: an agent there can do nothing (see status)";
  }
  return "?";
}

Events refuse_placement(const Placement& placement, const PlacementRequest& request, AnyId object) {
  std::string text = fmt::format("No valid host was found for {} vCPUs, {} MiB of RAM and {} GiB of disk", request.vcpus,
                                 request.ram_mib, request.disk_gib);
  if (!request.zone.empty()) text += fmt::format(" in zone {}", request.zone);
  if (!request.host.empty()) text += fmt::format(" on host {}", request.host);
  text += fmt::format(". {} nodes were looked at", placement.considered);
  const char* separator = ": ";
  for (std::size_t reason = 1; reason < placement_reasons; ++reason) {
    if (!placement.counts[reason]) continue;
    text += fmt::format("{}{} {}", separator, placement.counts[reason],
                        placement_reason_text(static_cast<PlacementReason>(reason)));
    separator = ", ";
  }
  text += ". Choose a smaller flavor, free something, or add a node.";
  return {IntentRefused{.refusal = static_cast<std::uint16_t>(Refusal::no_valid_host), .text = std::move(text),
                        .object = object,
                        .counts = {placement.counts.begin(), placement.counts.end()}, .nodes = placement.verdicts}};
}

}  // namespace reprise
