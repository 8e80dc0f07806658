#include "controlplane/leases.h"

#include "tests/sim/prng.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

constexpr std::int64_t lease_ms = 1000, beat_ms = lease_ms / 6, wait_ms = lease_ms / 4;

// Nodes 1 to `count`, up.
void add_nodes(State& state, std::uint64_t first, std::uint64_t last) {
  Digest ignored;
  for (auto n = first; n <= last; ++n)
    state.nodes.load(Node{.id = NodeId{1, n}, .state = NodeState::up}, Hash{}, ignored);
}

void set_lost(State& state, NodeId node) {
  state.nodes.edit(node).state = NodeState::lost;
  state.settle();
}

TEST_CASE("a node lapses a lease and a heartbeat's wait after it was last heard of, whoever else was heard of") {
  State state;
  add_nodes(state, 1, 4);
  Leases leases(lease_ms);
  leases.start(state, 0);
  for (std::int64_t now = 0; now <= 1700; ++now) {
    if (now % 100 == 0)
      for (std::uint64_t n = 2; n <= 4; ++n) leases.heard({1, n}, now);
    if (now == 250) leases.heard({1, 1}, now);
    const auto lapsed = leases.lapsed(state, now);
    CHECK(lapsed.held.empty());
    CHECK(lapsed.lost == (now > 1250 + wait_ms ? std::vector<NodeId>{{1, 1}} : std::vector<NodeId>{}));
  }
}

TEST_CASE("many that lapse together are held at every look, until they are heard of again") {
  State state;
  add_nodes(state, 1, 3);
  Leases leases(lease_ms);
  leases.start(state, 0);
  leases.heard({1, 3}, 900);
  CHECK(leases.lapsed(state, 1000 + wait_ms).held.empty());
  for (const std::int64_t now : {1251, 1252, 1400}) {
    CHECK(leases.lapsed(state, now).held == std::vector<NodeId>{{1, 1}, {1, 2}});
    CHECK(leases.lapsed(state, now).lost.empty());
  }
  leases.heard({1, 1}, 1400);
  CHECK(leases.lapsed(state, 1401).held.empty());
  CHECK(leases.lapsed(state, 1401).lost == std::vector<NodeId>{{1, 2}});
}

TEST_CASE("a node that was admitted since the last look is lost a lease and the wait after it was last heard of") {
  State state;
  add_nodes(state, 1, 1);
  Leases leases(lease_ms);
  leases.start(state, 0);
  CHECK(leases.lapsed(state, 1).lost.empty());
  add_nodes(state, 2, 2);
  leases.heard({1, 2}, 10);
  for (std::int64_t now = 10; now <= 1010 + wait_ms; ++now) {
    leases.heard({1, 1}, now);
    CHECK(leases.lapsed(state, now).lost.empty());
  }
  CHECK(leases.lapsed(state, 1011 + wait_ms).lost == std::vector<NodeId>{{1, 2}});
}

TEST_CASE("a takeover starts every lease anew") {
  State state;
  add_nodes(state, 1, 1);
  Leases leases(lease_ms);
  leases.start(state, 0);
  CHECK(leases.lapsed(state, 900).lost.empty());
  leases.start(state, 950);
  CHECK(leases.lapsed(state, 1950 + wait_ms).lost.empty());
  CHECK(leases.lapsed(state, 1951 + wait_ms).lost == std::vector<NodeId>{{1, 1}});
}

// Beats at a period, each a little late; the rack falls silent at one moment. Whatever the phases, none of a rack that is
// more than a third is given out as lost, and all of one that is not are.
TEST_CASE("a rack that falls silent within one heartbeat period is held or lost as a whole, however its beats fall") {
  sim::Prng prng(7);
  for (int round = 0; round < 400; ++round) {
    State state;
    const auto nodes = static_cast<std::uint64_t>(prng.between(2, 30)), rack = static_cast<std::uint64_t>(prng.between(1, static_cast<std::int64_t>(nodes)));
    add_nodes(state, 1, nodes);
    Leases leases(lease_ms);
    leases.start(state, 0);
    const std::int64_t silent_at = prng.between(300, 3000), step = prng.between(1, 40);
    std::map<std::uint64_t, std::int64_t> beats;
    for (auto n = 1u; n <= nodes; ++n) beats[n] = prng.between(0, beat_ms);
    std::set<NodeId> lost, held;
    for (std::int64_t now = 0; now < silent_at + 3 * lease_ms; now += step) {
      for (auto& [n, at] : beats) {
        if (at > now || (n <= rack && at >= silent_at)) continue;
        leases.heard({1, n}, now);  // at the next look, up to a step late
        at += beat_ms;
      }
      const auto lapsed = leases.lapsed(state, now);
      held.insert(lapsed.held.begin(), lapsed.held.end());
      for (const NodeId node : lapsed.lost) lost.insert(node), set_lost(state, node);
    }
    INFO("round " << round << ": " << rack << " of " << nodes << ", step " << step);
    const bool many = rack >= 2 && rack * 3 > nodes;
    CHECK(lost.size() == (many ? 0 : rack));
    CHECK(held.size() == (many ? rack : 0));
  }
}

TEST_CASE("one after the other within a lease is together too, against those that were up before") {
  State state;
  add_nodes(state, 1, 6);
  Leases leases(lease_ms);
  leases.start(state, 0);
  std::set<NodeId> lost, held;
  for (std::int64_t now = 0; now < 6000; now += 10) {
    for (std::uint64_t n = 1; n <= 6; ++n)
      if (n > 3 || now < static_cast<std::int64_t>(n) * 600) leases.heard({1, n}, now);  // the first three, 600 ms apart
    const auto lapsed = leases.lapsed(state, now);
    held.insert(lapsed.held.begin(), lapsed.held.end());
    for (const NodeId node : lapsed.lost) lost.insert(node), set_lost(state, node);
  }
  CHECK(lost == std::set<NodeId>{{1, 1}, {1, 2}});  // two of six are no more than a third
  CHECK(held == std::set<NodeId>{{1, 3}});          // the third is
}

}  // namespace
}  // namespace reprise
