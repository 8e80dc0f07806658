// Placement over 5,000 nodes, every one looked at, against one vectorised scan of the same columns.
#include "controlplane/decide/placement.h"
#include "tests/bench/bench.h"

namespace reprise::bench {
namespace {

// Reads all that placement must read, and finds the largest of what fits: the least that any scan does.
std::int64_t plain_scan(const NodeColumns& columns, const PlacementRequest& request) {
  const std::size_t count = columns.ids.size();
  std::int64_t best = -1;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t fits = -static_cast<std::int64_t>((columns.state[i] == 0) & (columns.free_vcpus[i] >= request.vcpus) &
                                                         (columns.free_ram_mib[i] >= request.ram_mib) &
                                                         (columns.free_disk_gib[i] >= request.disk_gib));
    const std::int64_t here = (columns.free_ram_mib[i] & fits) | ~fits;
    best = here > best ? here : best;
  }
  return best;
}

}  // namespace

void placement() {
  constexpr int nodes = 5'000, rounds = 20'000;
  Cloud cloud(nodes, false);
  const PlacementRequest request{.vcpus = 1, .ram_mib = 96, .disk_gib = 1};
  std::int64_t sum = 0;
  double placing = 0, scanning = 0;
  for (int turn = 0; turn < 4; ++turn) {
    placing += seconds([&] {
      for (int i = 0; i < rounds / 4; ++i) sum += static_cast<std::int64_t>(place(cloud.state, request).node.lo);
    });
    scanning += seconds([&] {
      for (int i = 0; i < rounds / 4; ++i) {
        sum += plain_scan(cloud.state.node_columns(), request);
        asm volatile("" : "+r"(sum) : : "memory");
      }
    });
  }
  CHECK(sum != 0);
  print({.name = "placement_5000_nodes", .value = rounds / placing, .unit = "placements/s", .limit = rounds / scanning, .goal = 0.5});
}

}  // namespace reprise::bench
