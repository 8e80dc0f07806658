// Placement: looks at every node, filters, then weighs (design, section 1; nova's filter scheduler).
// Pure: the same state and request give the same node, so that `why` can run it again at a past seq.
#pragma once

#include "controlplane/decide/context.h"

namespace reprise {

struct PlacementRequest {
  std::int64_t vcpus = 0;
  std::int64_t ram_mib = 0;
  std::int64_t disk_gib = 0;
  std::string zone;       // empty: any
  std::string host;       // node name; empty: any
  NodeId not_on;          // excluded; none: no exclusion
  std::string pool;       // storage pool; empty: any
  const std::vector<NodeUse>* promised = nullptr;  // by the same decision before: the State does not show it yet
};

inline constexpr std::size_t placement_reasons = 9;   // of PlacementReason
inline constexpr std::size_t verdicts_max = 16;       // nodes named in a refusal

struct Placement {
  NodeId node;            // none: nothing fits
  std::uint32_t considered = 0;
  std::uint32_t fitting = 0;
  std::array<std::uint32_t, placement_reasons> counts{};
  std::vector<NodeVerdict> verdicts;  // of the first nodes that do not fit, when nothing fits
};

Placement place(const State& state, const PlacementRequest& request);

// Every node with why it does not fit, or its weight: the whole table, for people.
struct NodeWeighed {
  NodeId node;
  PlacementReason reason = PlacementReason::fits;
  std::int64_t weight = 0;
};
std::vector<NodeWeighed> weigh_all(const State& state, const PlacementRequest& request);

const char* placement_reason_text(PlacementReason reason);
// The refusal of a placement that found nothing, in words and as counts per reason.
Events refuse_placement(const Placement& placement, const PlacementRequest& request, AnyId object);

}  // namespace reprise
