// The files in events/golden/ are what a log of years ago holds: they are never edited, and whatever is
// built has to read them and mean by them what they meant. With BLESS=1 missing ones are written.
#include <cstdlib>
#include <fstream>
#include <set>

#include <fmt/format.h>

#include "projections/replay.h"
#include "tests/unit/sample_events.h"
#include "tests/unit/story.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

using namespace testing;

const std::string dir = GOLDEN_DIR "/";

bool blessing() { return std::getenv("BLESS") != nullptr; }

std::optional<std::string> read_golden(const std::string& name) {
  std::ifstream in(dir + name, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// The file; written first if it is missing and that is wanted.
std::string golden(const std::string& name, const std::string& fresh) {
  auto bytes = read_golden(name);
  if (!bytes && blessing()) {
    std::ofstream(dir + name, std::ios::binary) << fresh;
    bytes = read_golden(name);
  }
  if (!bytes)
    FAIL("events/golden/" << name << " is missing: run this test with BLESS=1 and commit what it writes");
  return *bytes;
}

constexpr EventType every_event[] = {
#define EVENT(Type, handler, since) EventType::Type,
#include "events/catalog.def"
#undef EVENT
};

TEST_CASE("every event of the catalog reads as it did when it came in") {
  for (const EventType type : every_event) {
    const std::string name = std::string(event_name(type)) + ".v1.bin";
    INFO(name);
    const std::string bytes = golden(name, encode(sample_event(type)));
    const auto event = decode_event(bytes);
    REQUIRE(event.ok());
    CHECK(event->type() == type);
    const auto again = decode_event(encode(*event));
    REQUIRE(again.ok());
    CHECK(*again == *event);
    // Field by field what was put in, in the fields that there were then.
    CHECK(*event == sample_event(type, fields_of(bytes)));
  }
}

struct Replayed {
  State state;
  Head head;
  MemoryHashes seen;
  std::set<EventType> types;
};

// Folds a log from zero as every reader does; fails at the first record that does not fit.
void replay(const std::string& file, Replayed& to) {
  std::int64_t offset = 0;
  for (auto& bytes : unpack_log(file)) {
    const Step step = read_step(to.head, to.seen, {offset++, std::move(bytes)});
    INFO(step.why);
    REQUIRE(step.verdict == Verdict::extends);
    const auto applied = apply_step(to.state, to.head, step);
    INFO((applied ? "" : applied.error().text));
    REQUIRE(applied.ok());
    to.seen.add(step.hash);
    for (const auto& decision : step.record.decisions)
      for (const auto& event : decision.events) to.types.insert(event.type());
  }
}

TEST_CASE("recorded logs replay to their recorded digests") {
  std::set<EventType> types;
  const std::map<std::string, void (*)(Scribe&)> stories{{"spine", tell_spine}, {"pool", tell_pool}, {"edges", tell_edges}};
  for (const auto& [name, tell] : stories) {
    Scribe scribe;
    tell(scribe);
    Replayed replayed;
    replay(golden(name + ".log", pack_log(scribe.records)), replayed);
    const auto& head = replayed.head;
    const std::string line =
        fmt::format("{} {} {}\n", head.seq, head.hash.hex(), replayed.state.digest().hex());
    CHECK(golden(name + ".head", line) == line);
    CHECK(check_counters(replayed.state) == "");
    types.merge(replayed.types);
  }
  for (const EventType type : every_event) {
    if (type == EventType::LevelRaised) continue;  // there is no second level yet
    INFO(event_name(type));
    CHECK(types.contains(type));
  }
}

TEST_CASE("a recorded log with any record left out, changed or moved does not replay") {
  const auto file = read_golden("spine.log");
  REQUIRE(file);
  const auto entries = unpack_log(*file);
  const auto verdict_after = [](const std::vector<Bytes>& bytes) {
    State state;
    Head head;
    MemoryHashes seen;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const Step step = read_step(head, seen, {static_cast<std::int64_t>(i), bytes[i]});
      if (step.verdict != Verdict::extends) return step.verdict;
      if (!apply_step(state, head, step)) return Verdict::broken;
      seen.add(step.hash);
    }
    return Verdict::extends;
  };
  for (std::size_t i = 0; i + 1 < entries.size(); ++i) {
    auto without = entries;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK(verdict_after(without) == Verdict::broken);
    auto flipped = entries;
    flipped[i][flipped[i].size() / 2] = static_cast<char>(flipped[i][flipped[i].size() / 2] ^ 1);
    CHECK(verdict_after(flipped) == Verdict::broken);
    auto twice = entries;
    twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(i), entries[i]);
    CHECK(verdict_after(twice) == Verdict::is_void);
  }
}

}  // namespace
}  // namespace reprise
