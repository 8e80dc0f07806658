#include "projections/table.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours
#include "projections/state.h"
#include "tests/unit/story.h"

namespace reprise {
namespace {

using namespace testing;

NodeId id(std::uint64_t n) { return {1, n}; }

// A table, settled after each step.
struct Settled {
  Table<Node> table;
  Digest digest;
  Changes changes;
  void settle() {
    table.settle(digest, &changes, true, [](const Node*, const Node*) {});
  }
  // The digest that its rows make when they are hashed anew.
  Digest recomputed() const {
    Digest sum;
    table.each([&](const Node& row) { sum.add(Table<Node>::row_hash(encode_key(row.id), encode_row(row))); });
    return sum;
  }
};

TEST_CASE("what one event does to a row is one change, or none") {
  struct Case {
    const char* what;
    std::function<void(Table<Node>&)> edits;
    std::size_t rows, entries;
  };
  const Node one{.id = id(1), .name = "one"};
  const Case cases[] = {
      {"nothing", [](auto&) {}, 0, 0},
      {"edited to what it was", [](auto& t) { t.edit(id(1)).vcpus = 7, t.edit(id(1)).vcpus = 0; }, 0, 0},
      {"edited", [](auto& t) { t.edit(id(1)).vcpus = 7; }, 1, 0},
      {"filed elsewhere", [](auto& t) { t.edit(id(1)).name = "uno"; }, 1, 2},
      {"made", [](auto& t) { t.insert({.id = id(2), .name = "two"}); }, 1, 1},
      {"made and erased", [](auto& t) { t.insert({.id = id(2), .name = "two"}), t.erase(id(2)); }, 0, 0},
      {"erased", [](auto& t) { t.erase(id(1)); }, 1, 1},
      {"erased and made again the same", [&](auto& t) { t.erase(id(1)), t.insert(one); }, 0, 0},
      {"erased and made again, then edited",
       [&](auto& t) { t.erase(id(1)), t.insert(one), t.edit(id(1)).vcpus = 1; }, 1, 0},
      {"made, erased and made again",
       [](auto& t) {
         t.insert({.id = id(2), .name = "x"}), t.erase(id(2)), t.insert({.id = id(2), .name = "y"});
       },
       1, 1},
  };
  for (const auto& c : cases) {
    INFO(c.what);
    Settled s;
    s.table.insert(one);
    s.settle();
    s.changes.clear();
    c.edits(s.table);
    s.settle();
    CHECK(s.changes.rows.size() == c.rows);
    CHECK(s.changes.indexes.size() == c.entries);
    CHECK(s.digest == s.recomputed());
    // And the next edit takes away what is really in the digest.
    if (s.table.contains(id(1))) s.table.edit(id(1)).disk_gib = 9;
    s.settle();
    CHECK(s.digest == s.recomputed());
    s.table.roll_back(1);
    CHECK(s.table.at(id(1)) == one);
    CHECK(s.table.size() == 1);
    CHECK(s.table.any_by(Node::by_name, KeyWriter().word("one")));
    CHECK(!s.table.any_by(Node::by_name, KeyWriter().word("uno")));
  }
}

TEST_CASE("rows are found by the beginning of an index key, in order") {
  Settled s;
  for (std::uint64_t n : {3, 1, 2}) s.table.insert({.id = id(n), .name = n == 3 ? "ab" : "a"});
  s.settle();
  std::vector<std::uint64_t> seen;
  s.table.each_by(Node::by_name, KeyWriter().word("a"),
                  [&](const Node& row) { return seen.push_back(row.id.lo), true; });
  CHECK(seen == std::vector<std::uint64_t>{1, 2});
  seen.clear();
  s.table.each_by(Node::by_name, "a",
                  [&](const Node& row) { return seen.push_back(row.id.lo), seen.size() < 2; });
  CHECK(seen == std::vector<std::uint64_t>{1, 2});
  CHECK(s.table.last_by(Node::by_name, "a")->id == id(3));
  CHECK(s.table.last_by(Node::by_name, "b") == nullptr);
}

// What placement scans is kept beside the rows, through folds and roll backs: as if made anew.
bool columns_are_right(const State& state) {
  NodeColumns anew;
  anew.refresh(state);
  const NodeColumns& kept = state.node_columns();
  const auto zone_names = [](const NodeColumns& columns) {
    std::vector<std::string> names;
    for (const auto number : columns.zone)
      for (const auto& [name, at] : columns.zones)
        if (at == number) names.push_back(name);
    return names;
  };
  return kept.ids == anew.ids && kept.state == anew.state && zone_names(kept) == zone_names(anew) &&
         kept.free_vcpus == anew.free_vcpus && kept.free_ram_mib == anew.free_ram_mib &&
         kept.free_disk_gib == anew.free_disk_gib;
}

TEST_CASE("any fold can be undone to any mark, and the state is then as a copy made there") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Scribe scribe;
    BusyCloud busy(scribe, seed);
    busy.begin();
    for (int i = 0; i < 40; ++i) busy.step();
    State state(false, true);
    struct Point {
      State::Mark mark;
      std::string image;
      std::size_t next;  // record to go on with
    };
    std::vector<Point> points;
    sim::Prng prng(seed);
    std::size_t next = 0;
    while (next < scribe.records.size()) {
      if (prng.chance(400)) points.push_back({state.mark(), image_of(state), next});
      fold(state, scribe.records[next++].record);
      if (!points.empty() && prng.chance(150)) {
        points.resize(1 + prng.below(points.size()));
        state.roll_back(points.back().mark);
        next = points.back().next;
        REQUIRE(image_of(state) == points.back().image);
      }
      if (prng.chance(700)) REQUIRE(columns_are_right(state));
      if (points.size() > 2 && prng.chance(100)) {  // the oldest can no longer be gone back to
        points.erase(points.begin());
        const auto gone = state.forget_before(points[0].mark);
        for (auto& point : points)
          for (std::size_t i = 0; i < gone.size(); ++i) point.mark.sizes[i] -= gone[i];
      }
    }
    CHECK(image_of(state) == image_of(scribe.state));
  }
}

}  // namespace
}  // namespace reprise
