#include "controlplane/leases.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

constexpr std::int64_t lease_ms = 1000;

// Nodes 1 to `count`, up.
void add_nodes(State& state, std::uint64_t first, std::uint64_t last) {
  Digest ignored;
  for (auto n = first; n <= last; ++n)
    state.nodes.load(Node{.id = NodeId{1, n}, .state = NodeState::up}, Hash{}, ignored);
}

TEST_CASE("a node lapses a lease after it was last heard of, not a moment earlier, whoever else was heard of") {
  State state;
  add_nodes(state, 1, 4);
  Leases leases(lease_ms);
  leases.start(state, 0);
  for (std::int64_t now = 0; now <= 1500; ++now) {
    if (now % 100 == 0)
      for (std::uint64_t n = 2; n <= 4; ++n) leases.heard({1, n}, now);
    if (now == 250) leases.heard({1, 1}, now);
    const auto lapsed = leases.lapsed(state, now);
    CHECK(lapsed.held.empty());
    CHECK(lapsed.lost == (now > 1250 ? std::vector<NodeId>{{1, 1}} : std::vector<NodeId>{}));
  }
}

TEST_CASE("many that lapse together are held at every look, until they are heard of again") {
  State state;
  add_nodes(state, 1, 3);
  Leases leases(lease_ms);
  leases.start(state, 0);
  leases.heard({1, 3}, 900);
  CHECK(leases.lapsed(state, 1000).held.empty());
  for (const std::int64_t now : {1001, 1002, 1400}) {
    CHECK(leases.lapsed(state, now).held == std::vector<NodeId>{{1, 1}, {1, 2}});
    CHECK(leases.lapsed(state, now).lost.empty());
  }
  leases.heard({1, 1}, 1400);
  CHECK(leases.lapsed(state, 1401).held.empty());
  CHECK(leases.lapsed(state, 1401).lost == std::vector<NodeId>{{1, 2}});
}

TEST_CASE("a node that was admitted since the last look is lost a lease after it was last heard of") {
  State state;
  add_nodes(state, 1, 1);
  Leases leases(lease_ms);
  leases.start(state, 0);
  CHECK(leases.lapsed(state, 1).lost.empty());
  add_nodes(state, 2, 2);
  leases.heard({1, 2}, 10);
  for (std::int64_t now = 10; now <= 1010; ++now) {
    leases.heard({1, 1}, now);
    CHECK(leases.lapsed(state, now).lost.empty());
  }
  CHECK(leases.lapsed(state, 1011).lost == std::vector<NodeId>{{1, 2}});
}

TEST_CASE("a takeover starts every lease anew") {
  State state;
  add_nodes(state, 1, 1);
  Leases leases(lease_ms);
  leases.start(state, 0);
  CHECK(leases.lapsed(state, 900).lost.empty());
  leases.start(state, 950);
  CHECK(leases.lapsed(state, 1950).lost.empty());
  CHECK(leases.lapsed(state, 1951).lost == std::vector<NodeId>{{1, 1}});
}

}  // namespace
}  // namespace reprise
