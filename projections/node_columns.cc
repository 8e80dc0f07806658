#include "projections/node_columns.h"

#include <algorithm>

#include "projections/state.h"

namespace reprise {

void NodeColumns::set_row(const State& from, std::size_t i) {
  const Node& node = from.nodes.at(ids[i]);
  const NodeUse* use = from.node_use.find(ids[i]);
  const NodeUse none;
  if (!use) use = &none;
  state[i] = node.state != NodeState::up ? lost : node.disabled ? disabled : node.in_trouble() ? in_trouble : usable;
  zone[i] = zones.emplace(node.zone, static_cast<std::uint32_t>(zones.size())).first->second;
  free_vcpus[i] = static_cast<std::int64_t>(node.vcpus) - use->vcpus;
  free_ram_mib[i] = static_cast<std::int64_t>(node.ram_mib) - use->ram_mib;
  free_disk_gib[i] = static_cast<std::int64_t>(node.disk_gib) - use->disk_gib;
}

void NodeColumns::rebuild(const State& from) {
  ids.clear();
  zones.clear();
  from.nodes.each([&](const Node& node) { ids.push_back(node.id); });
  const std::size_t count = ids.size();
  state.resize(count), zone.resize(count), free_vcpus.resize(count), free_ram_mib.resize(count), free_disk_gib.resize(count);
  for (std::size_t i = 0; i < count; ++i) set_row(from, i);
}

void NodeColumns::refresh(const State& from) {
  // A node that came or went moves the others' places.
  for (auto at = stale.begin(); !all_stale && at != stale.end(); ++at) {
    const auto place = std::lower_bound(ids.begin(), ids.end(), *at);
    if (place == ids.end() || *place != *at || !from.nodes.contains(*at)) {
      all_stale = true;
    } else {
      set_row(from, static_cast<std::size_t>(place - ids.begin()));
    }
  }
  if (all_stale) rebuild(from);
  stale.clear();
  all_stale = false;
}

}  // namespace reprise
