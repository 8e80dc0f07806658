#include "projections/fold.h"

#include "events/refusal.h"
#include "tests/unit/story.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

using namespace testing;

// Rows hashed anew: what a digest must be.
Hash recomputed(const State& state) {
  Digest sum;
#define TABLE(Row, member) \
  state.member.each(       \
      [&](const Row& row) { sum.add(Table<Row>::row_hash(encode_key(row.key()), encode_row(row))); });
#include "projections/tables.def"
#undef TABLE
  return sum.value();
}

TEST_CASE("at every record the digest is that of the rows, and the counters are the sums of theirs") {
  Scribe scribe;
  BusyCloud busy(scribe, 7);
  busy.begin();
  for (int i = 0; i < 150; ++i) {
    busy.step();
    REQUIRE(scribe.state.digest() == recomputed(scribe.state));
    REQUIRE(check_counters(scribe.state) == "");
  }
}

// The same decisions, packed into records otherwise, differ in seqs alone; so the split that must not
// matter is that of one record into parts, with copies and roll backs in between.
TEST_CASE("a record folded in any parts makes one image and one digest") {
  Scribe scribe;
  BusyCloud busy(scribe, 11);
  busy.begin();
  for (int i = 0; i < 60; ++i) busy.step(6);
  sim::Prng prng(3);
  State whole(true, false), parts(true, true);
  for (const auto& written : scribe.records) {
    const Record& record = written.record;
    fold(whole, record);
    RecordFrame frame{.seq = record.seq, .at_ms = record.at_ms};
    fold_begin(parts, frame);
    for (const auto& decision : record.decisions) {
      if (prng.chance(500)) {  // tried, undone, folded
        const auto mark = parts.mark();
        RecordFrame tried = frame;
        fold_decision(parts, tried, decision);
        parts.roll_back(mark);
      }
      fold_decision(parts, frame, decision);
      if (prng.chance(200)) parts = parts.copy(true, true);
    }
    fold_end(parts, record.positions);
    REQUIRE(parts.digest() == written.record.digest);
  }
  CHECK(image_of(whole) == image_of(parts));
  CHECK(image_of(whole) == image_of(scribe.state));
}

TEST_CASE("a store that applies the changes in order has the state's rows and entries, batched or not") {
  Scribe scribe;
  BusyCloud busy(scribe, 13);
  busy.begin();
  for (int i = 0; i < 80; ++i) busy.step();
  for (const std::size_t batch : {1, 7, 1000}) {
    State state(true);
    std::map<std::pair<int, std::string>, std::string> rows;
    std::set<std::tuple<int, int, std::string>> entries;
    const auto apply = [&] {
      const Changes changes = state.take_changes();
      for (const auto& change : changes.rows) {
        if (change.row) rows[{change.table, change.key}] = *change.row;
        else CHECK(rows.erase({change.table, change.key}) == 1);
      }
      for (const auto& change : changes.indexes) {
        if (change.added) CHECK(entries.insert({change.table, change.index, change.key}).second);
        else CHECK(entries.erase({change.table, change.index, change.key}) == 1);
      }
    };
    std::size_t n = 0;
    for (const auto& written : scribe.records) {
      fold(state, written.record);
      if (++n % batch == 0) apply();
    }
    apply();
    std::map<std::pair<int, std::string>, std::string> want;
#define TABLE(Row, member) \
  state.member.each([&](const Row& row) { want[{Row::table, encode_key(row.key())}] = encode_row(row); });
#include "projections/tables.def"
#undef TABLE
    CHECK(rows == want);
    Digest sum;
    for (const auto& [key, row] : rows) {
      std::string all(1, static_cast<char>(key.first));
      CanonicalWriter(all).varint(key.second.size());
      sum.add(blake2b(all + key.second + row));
    }
    CHECK(sum.value() == state.digest());
  }
}

TEST_CASE("nodes that a record may concern are told, no others") {
  Scribe scribe;
  BusyCloud busy(scribe, 17);
  busy.begin();
  (void)scribe.state.take_touched();
  const auto node = make_id<NodeId>(1, 0x14), other = make_id<NodeId>(2, 0x14);
  const auto server = make_id<ServerId>(50, 0x0d);
  const auto port = make_id<PortId>(50, 0x13);
  struct Case {
    const char* what;
    std::vector<Event> events;
    std::set<NodeId> nodes;
    bool all;
  };
  const Case cases[] = {
      {"a server without a node", {ServerCreated{.id = server, .name = "s", .vcpus = 1}}, {}, false},
      {"placed", {ServerPlaced{.id = server, .node = node}}, {node}, false},
      {"its port", {PortCreated{.id = port, .server = server}}, {node}, false},
      {"a volume elsewhere", {VolumeCreated{.id = make_id<VolumeId>(50), .node = other}}, {other}, false},
      {"a project", {ProjectCreated{.id = make_id<ProjectId>(50), .name = "p"}}, {}, false},
      {"a network", {NetworkCreated{.id = make_id<NetworkId>(50), .name = "n", .vlan = 7}}, {}, true},
      {"taken away", {ServerUnplaced{.id = server}, ServerVacated{.id = server}}, {node}, false},
      {"to be fenced", {NodeLost{.id = node}, NodeFencing{.id = node, .by = other}}, {node, other}, false},
      {"evacuated",
       {ServerPlaced{.id = server, .node = node}, ServerEvacuated{.id = server}, ServerPlaced{.id = server, .node = other}},
       {node, other},
       false},
      {"gone from where it was left", {LeftoverGone{.node = node, .object = server.as<AnyId>()}}, {node}, false},
      {"left nowhere", {LeftoverGone{.node = node, .object = port.as<AnyId>()}}, {node}, false},
      {"taken away again", {ServerUnplaced{.id = server}, ServerVacated{.id = server}}, {other}, false},
      {"nowhere any more", {ServerUpdated{.id = server, .name = "t"}}, {}, false},
  };
  for (const auto& c : cases) {
    INFO(c.what);
    scribe.write(c.events);
    const auto touched = scribe.state.take_touched();
    CHECK(touched.nodes == c.nodes);
    CHECK(touched.all == c.all);
  }
}

TEST_CASE("decided intents, clients' keys and revoked tokens are forgotten when log time passes them") {
  Scribe scribe;
  BusyCloud busy(scribe, 19);
  busy.begin();
  const auto asked = intent_of(999, scribe.at_ms + 1000, {});  // 999 has a key
  scribe.write(std::vector{by_intent(
      999, asked, {TokenRevoked{.audit_id = make_id<AnyId>(5), .expires_ms = scribe.at_ms + 1000}})});
  const auto key = ClientKey::key_of(asked.user, asked.project, asked.key);
  const auto there = [&] {
    return std::array{scribe.state.decided.contains(asked.id), scribe.state.client_keys.contains(key),
                      scribe.state.revoked_tokens.contains(make_id<AnyId>(5))};
  };
  CHECK(there() == std::array{true, true, true});
  scribe.at_ms += 1000;  // at its expiry, not past it
  scribe.write({TimePassed{}});
  CHECK(there() == std::array{true, true, true});
  scribe.at_ms += 1;
  scribe.write({TimePassed{}});
  CHECK(there() == std::array{false, true, false});
  scribe.at_ms += client_key_kept_ms;
  scribe.write({TimePassed{}});
  CHECK(there() == std::array{false, false, false});
}

TEST_CASE("a refusal that may end otherwise later is not kept under the client's key") {
  struct Case {
    Refusal refusal;
    bool kept;
  };
  for (const auto& c :
       {Case{Refusal::expired, false}, Case{Refusal::rate_limited, false}, Case{Refusal::poison, false},
        Case{Refusal::name_taken, true}, Case{Refusal::no_valid_host, true}}) {
    const Decision decision{.events = {IntentRefused{.refusal = static_cast<std::uint16_t>(c.refusal)}}};
    CHECK(is_kept_under_key(decision) == c.kept);
  }
  CHECK(is_kept_under_key(Decision{.events = {TimePassed{}}}));
}

}  // namespace
}  // namespace reprise
