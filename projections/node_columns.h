// What placement scans: the nodes' free resources as columns, kept beside the rows. A cache: it can be
// made anew from `nodes` and `node_use` at any time, and is no part of the digest.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "events/ids.h"

namespace reprise {

struct State;

struct NodeColumns {
  static constexpr std::uint8_t usable = 0, lost = 1, disabled = 2, in_trouble = 3;
  static constexpr std::uint32_t any_zone = ~0u;
  static constexpr std::uint32_t no_such_zone = ~0u - 1;

  std::vector<NodeId> ids;               // in order
  std::vector<std::uint8_t> state;
  std::vector<std::uint32_t> zone;       // number of the zone's name
  std::vector<std::int64_t> free_vcpus;
  std::vector<std::int64_t> free_ram_mib;
  std::vector<std::int64_t> free_disk_gib;
  std::map<std::string, std::uint32_t> zones;

  std::uint32_t zone_of(const std::string& name) const {
    const auto at = zones.find(name);
    return at == zones.end() ? no_such_zone : at->second;
  }

  // Nodes whose rows changed since the last refresh; `all` when that is not known.
  std::set<NodeId> stale;
  bool all_stale = true;
  void refresh(const State& from);

 private:
  void rebuild(const State& from);
  void set_row(const State& from, std::size_t i);
};

}  // namespace reprise
