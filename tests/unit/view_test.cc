#include "projections/view.h"

#include <fmt/format.h>
#include <rocksdb/db.h>

#include "projections/replay.h"
#include "tests/unit/story.h"
#include "tests/unit/temporary_folder.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

using namespace testing;

// A busy cloud in a store, with a copy of the state at every seq.
struct Past {
  TemporaryFolder folder;
  Scribe scribe;
  std::unique_ptr<Store> store;
  std::vector<State> states;

  explicit Past(std::size_t batch = 5, std::int64_t history_ms = 0, bool counts_apart = false) {
    store = std::move(
        *Store::open({.dir = folder.path(), .write_buffer_bytes = 128u << 10, .history_ms = history_ms}));
    BusyCloud busy(scribe, 21);
    busy.begin();
    for (int i = 0; i < 150; ++i) {
      if (i == 20 && counts_apart) scribe.write({LevelRaised{.level = level::counts_apart}});
      busy.step();
    }
    State state(true);
    Head head;
    for (const auto& written : scribe.records) {
      const Step step = read_step(head, *store, {static_cast<std::int64_t>(head.seq), written.bytes});
      REQUIRE(apply_step(state, head, step).ok());
      store->add(written.record, head, written.bytes, state.take_changes(), notes_of(written.record).objects,
                 state.digest_apart());
      states.push_back(state.copy(false, false));
      if (head.seq % batch == 0) REQUIRE(store->flush("memory:").ok());
    }
    REQUIRE(store->flush("memory:").ok());
  }
};

// How many rows and index entries of all times the history holds.
std::size_t versions(const Past& past) {
  const auto& families = *past.store->snapshot()->families;
  const std::string oldest = timestamp_of(0), newest = timestamp_of(past.states.size());
  const rocksdb::Slice low = oldest, high = newest;
  rocksdb::ReadOptions options;
  options.iter_start_ts = &low, options.timestamp = &high;
  const std::unique_ptr<rocksdb::Iterator> all(families.db->NewIterator(options, families.history));
  std::size_t count = 0;
  for (all->SeekToFirst(); all->Valid(); all->Next()) ++count;
  REQUIRE(all->status().ok());
  return count;
}

template <class Row>
void compare_table(const View& view, const Table<Row>& table) {
  INFO(Row::table_name << " at seq " << view.seq());
  std::vector<Row> want, got;
  table.each([&](const Row& row) { want.push_back(row); });
  view.each<Row>([&](const Row& row) { got.push_back(row); });
  REQUIRE(got == want);
  REQUIRE(view.count<Row>() == want.size());
  if (!want.empty()) {
    const Row& middle = want[want.size() / 2];
    CHECK(view.find<Row>(middle.key()) == middle);
    CHECK(view.contains<Row>(middle.key()));
    got.clear();
    view.each<Row>([&](const Row& row) { got.push_back(row); }, middle.key());
    CHECK(got.size() == want.size() - want.size() / 2 - 1);
  }
  if constexpr (HasIndexes<Row>) {
    for (std::uint8_t index = 0; index < indexes_max; ++index) {
      std::vector<typename Row::Key> keys, view_keys, entries;
      table.each_by(index, "", [&](const Row& row) { return keys.push_back(row.key()), true; });
      view.each_by<Row>(index, "", [&](const Row& row) { view_keys.push_back(row.key()); });
      view.each_key_by<Row>(index, "", [&](const typename Row::Key& key) { entries.push_back(key); });
      REQUIRE(view_keys == keys);
      REQUIRE(entries == keys);
      REQUIRE(view.count_by<Row>(index, "") == keys.size());
    }
    // What is filed under one id, which has a filter of its own; and under one that is nowhere.
    for (std::size_t i = 0; i < want.size(); i += 5) {
      want[i].indexes([&](std::uint8_t index, const std::string& filed) {
        if (filed.size() < 16) return;
        for (const auto& prefix : {filed.substr(0, 16), std::string(16, '\x7f')}) {
          std::vector<typename Row::Key> keys, view_keys, entries;
          table.each_by(index, prefix, [&](const Row& row) { return keys.push_back(row.key()), true; });
          view.each_by<Row>(index, prefix, [&](const Row& row) { view_keys.push_back(row.key()); });
          view.each_key_by<Row>(index, prefix, [&](const typename Row::Key& key) { entries.push_back(key); });
          REQUIRE(view_keys == keys);
          REQUIRE(entries == keys);
          REQUIRE(view.count_by<Row>(index, prefix) == keys.size());
        }
      });
    }
  }
}

void compare(const View& view, const State& state) {
#define TABLE(Row, member) compare_table<Row>(view, state.member);
#include "projections/tables.def"
#undef TABLE
  REQUIRE(view.status().ok());
  const auto loaded = load_state(view);
  REQUIRE(loaded.ok());
  REQUIRE(image_of(*loaded) == image_of(state));
}

template <class Row>
void compare_since(const View& now, const std::shared_ptr<const StoreSnapshot>& snapshot) {
  INFO(Row::table_name);
  const auto rows_at = [&](Seq seq) {
    std::vector<Row> rows;
    View::at(snapshot, seq)->template each<Row>([&](const Row& row) { rows.push_back(row); });
    return rows;
  };
  const Seq since = now.unchanged_since<Row>();
  if (since == 0) {
    CHECK(rows_at(now.seq()).empty());
    return;
  }
  CHECK(rows_at(since) == rows_at(now.seq()));
  if (since > 1) CHECK_FALSE(rows_at(since - 1) == rows_at(now.seq()));
}

TEST_CASE("A table is unchanged since the last record that changed a row of it") {
  Past past;
  {
    const auto snapshot = past.store->snapshot();
    const View now = View::now(snapshot);
#define TABLE(Row, member) compare_since<Row>(now, snapshot);
#include "projections/tables.def"
#undef TABLE
    CHECK(now.unchanged_since<User, Server>() ==
          std::max(now.unchanged_since<User>(), now.unchanged_since<Server>()));
    CHECK(View::at(snapshot, 3)->unchanged_since<User>() == 3);
  }
  past.store.reset();  // what it was before is not known again after a restart
  const auto again = Store::open({.dir = past.folder.path()});
  REQUIRE(again.ok());
  CHECK(View::now((*again)->snapshot()).unchanged_since<User>() == past.states.size());
}

void compare_all(const Past& past, Seq step) {
  compare(View::now(past.store->snapshot()), past.states.back());
  for (Seq seq = 1; seq <= past.states.size(); seq += seq % step + 1) {
    const auto view = View::at(past.store->snapshot(), seq);
    REQUIRE(view.ok());
    CHECK(view->seq() == seq);
    CHECK(view->line().digest == past.states[seq - 1].digest());
    CHECK(view->line().hash == past.scribe.records[seq - 1].hash);
    compare(*view, past.states[seq - 1]);
  }
}

TEST_CASE("now, and at every seq, a view reads what the state was") {
  const Past past;
  compare_all(past, 3);
  // From files, whose filters then say what is filed under an id: several, as they came, and one.
  const auto& families = *past.store->snapshot()->families;
  for (auto* family : {families.now, families.history}) REQUIRE(families.db->Flush({}, family).ok());
  compare_all(past, 9);
  for (auto* family : {families.now, families.history})
    REQUIRE(families.db->CompactRange({}, family, nullptr, nullptr).ok());
  compare_all(past, 9);
}

TEST_CASE("what differs between two seqs is just what makes the one the other") {
  const Past past;
  const Seq head = past.states.size();
  for (const auto& [a, b] : {std::pair<Seq, Seq>{1, head}, {head / 2, head / 2 + 1}, {head / 3, head}, {9, 9}}) {
    const auto from = View::at(past.store->snapshot(), a);
    const View to = b == head ? View::now(past.store->snapshot()) : std::move(*View::at(past.store->snapshot(), b));
    REQUIRE(from.ok());
    std::size_t differing = 0;
    const auto compare = [&]<class Row>(const Table<Row>& then, const Table<Row>& now) {
      std::map<typename Row::Key, Row> rows;
      then.each([&](const Row& row) { rows.emplace(row.key(), row); });
      View::each_changed<Row>(*from, to, [&](const Row* before, const Row* after) {
        ++differing;
        REQUIRE((before || after));
        if (before && after) CHECK_FALSE(*before == *after);
        if (before) {
          const auto at = rows.find(before->key());
          REQUIRE(at != rows.end());
          CHECK(at->second == *before);
          rows.erase(at);
        }
        if (after) CHECK(rows.emplace(after->key(), *after).second);
      });
      std::map<typename Row::Key, Row> want;
      now.each([&](const Row& row) { want.emplace(row.key(), row); });
      CHECK(rows == want);
    };
#define TABLE(Row, member) compare(past.states[a - 1].member, past.states[b - 1].member);
#include "projections/tables.def"
#undef TABLE
    CHECK((differing == 0) == (a == b));
  }
}

TEST_CASE("a view does not move while the store goes on") {
  TemporaryFolder folder;
  auto store = std::move(*Store::open({.dir = folder.path()}));
  Scribe scribe;
  BusyCloud busy(scribe, 22);
  busy.begin();
  State state(true);
  Head head;
  std::vector<std::pair<View, State>> kept;
  for (int i = 0; i < 60; ++i) {
    busy.step();
    while (head.seq < scribe.records.size()) {
      const auto& written = scribe.records[head.seq];
      const Step step = read_step(head, *store, {static_cast<std::int64_t>(head.seq), written.bytes});
      REQUIRE(apply_step(state, head, step).ok());
      store->add(written.record, head, written.bytes, state.take_changes(), {});
    }
    REQUIRE(store->flush("memory:").ok());
    if (i % 15 == 0) kept.emplace_back(View::now(store->snapshot()), state.copy(false, false));
  }
  for (const auto& [view, then] : kept) compare(view, then);
}

TEST_CASE("a history is cut to its age: what is younger reads as ever, what is older says so and goes") {
  Past past(5, 400);  // of log time: a record comes every few ms
  const Seq head = past.states.size();
  const Seq from = View::now(past.store->snapshot()).history_from();
  REQUIRE(from > 1);
  const auto at_ms = [&](Seq seq) { return View::now(past.store->snapshot()).line_of(seq)->at_ms; };
  CHECK(at_ms(head) - at_ms(from) >= 400);                  // so much is kept, at least
  CHECK(at_ms(head) - at_ms(from + 1) < 400 + 2 * 400 / 16 + 200);  // and not much more: by steps, and batches of 5
  const auto old = View::at(past.store->snapshot(), from - 1);
  REQUIRE_FALSE(old.ok());
  CHECK(old.error().code == Errc::unsupported);
  CHECK(old.error().text.find(fmt::format("before seq {} was cut", from)) != std::string::npos);
  // Dropped or not: the same rows, at the cut and behind it.
  const auto& families = *past.store->snapshot()->families;
  rocksdb::CompactRangeOptions force;
  force.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  for (int round = 0; round < 2; ++round) {
    for (const Seq seq : {from, from + 1, head - 1, head}) {
      const auto view = View::at(past.store->snapshot(), seq);
      REQUIRE(view.ok());
      const auto state = load_state(*view);
      REQUIRE(state.ok());
      CHECK(state->digest() == past.states[seq - 1].digest());
    }
    if (round == 0) REQUIRE(families.db->CompactRange(force, families.history, nullptr, nullptr).ok());
  }
  CHECK(versions(past) < versions(Past()));
  // It stays cut, also for whoever opens it without an age.
  past.store.reset();
  const auto again = Store::open({.dir = past.folder.path()});
  REQUIRE(again.ok());
  CHECK(View::now((*again)->snapshot()).history_from() == from);
  CHECK_FALSE(View::at((*again)->snapshot(), from - 1).ok());
  CHECK(View::at((*again)->snapshot(), from).ok());
}

TEST_CASE("who reads what is being cut gets what was, or an error; never less") {
  const Past past;
  const Seq seq = past.states.size() / 4;
  const auto held = View::at(past.store->snapshot(), seq);
  REQUIRE(held.ok());
  const auto& families = *past.store->snapshot()->families;
  const std::string low = timestamp_of(past.states.size() / 2);
  REQUIRE(families.db->IncreaseFullHistoryTsLow(families.history, low).ok());
  rocksdb::CompactRangeOptions force;
  force.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  REQUIRE(families.db->CompactRange(force, families.history, nullptr, nullptr).ok());
  const Server* one = nullptr;
  past.states[seq - 1].servers.each([&](const Server& server) { one = &server; });
  REQUIRE(one);
  std::vector<Server> servers;
  held->each<Server>([&](const Server& server) { servers.push_back(server); });
  if (held->status()) CHECK(servers.size() == past.states[seq - 1].servers.size());
  const auto found = held->find<Server>(one->id);
  if (held->status()) CHECK(found == *one);
}

TEST_CASE("seqs that have not happened, times and objects") {
  Past past;
  const auto snapshot = past.store->snapshot();
  const View now = View::now(snapshot);
  CHECK(View::at(snapshot, 0).error().code == Errc::invalid);
  const auto future = View::at(snapshot, now.seq() + 1);
  CHECK(future.error().code == Errc::not_found);
  CHECK_THAT(future.error().text, Catch::Contains(std::to_string(now.seq())));

  const auto& records = past.scribe.records;
  CHECK(now.seq_at(records[0].record.at_ms - 1) == 0);
  CHECK(now.seq_at(INT64_MAX) == now.seq());
  for (std::size_t i = 0; i + 1 < records.size(); i += 7) {
    const Seq found = now.seq_at(records[i].record.at_ms);
    CHECK(records[found - 1].record.at_ms == records[i].record.at_ms);
    CHECK(records[found].record.at_ms > records[i].record.at_ms);
  }

  // Every record in which a server's row differs from before is in its trail, and the refusal that named it.
  std::map<ServerId, std::set<Seq>> touched;
  const State before;
  for (std::size_t i = 0; i < past.states.size(); ++i) {
    const State& old = i ? past.states[i - 1] : before;
    past.states[i].servers.each([&](const Server& row) {
      const Server* then = old.servers.find(row.id);
      if (!then || !(*then == row)) touched[row.id].insert(i + 1);
    });
    old.servers.each([&](const Server& row) {
      if (!past.states[i].servers.contains(row.id)) touched[row.id].insert(i + 1);
    });
  }
  REQUIRE(touched.size() > 10);
  for (const auto& [id, seqs] : touched) {
    const auto found = now.seqs_of(id.as<AnyId>());
    const std::set<Seq> all(found.begin(), found.end());
    CHECK(std::includes(all.begin(), all.end(), seqs.begin(), seqs.end()));
    CHECK(now.seqs_of(id.as<AnyId>(), 0, 1) == std::vector{found[0]});
    if (found.size() > 1) CHECK(now.seqs_of(id.as<AnyId>(), found[1])[0] == found[1]);
    const auto early = View::at(snapshot, found[0]);
    CHECK(early->seqs_of(id.as<AnyId>()) == std::vector{found[0]});
  }
  for (const auto& written : records)
    for (const AnyId object : notes_of(written.record).objects) {
      const auto found = now.seqs_of(object);
      CHECK(std::find(found.begin(), found.end(), written.record.seq) != found.end());
    }
}

TEST_CASE("reading stops where it is told") {
  Past past;
  const View view = View::now(past.store->snapshot());
  const auto project = encode_key(make_id<ProjectId>(1, 0x04));
  REQUIRE(view.count_by<Server>(Server::by_project, project) > 3);
  int seen = 0;
  view.each<Server>([&](const Server&) { return ++seen < 2; });
  CHECK(seen == 2);
  std::vector<ServerId> all, rest;
  view.each_by<Server>(Server::by_project, project, [&](const Server& row) { all.push_back(row.id); });
  view.each_by<Server>(
      Server::by_project, project, [&](const Server& row) { rest.push_back(row.id); },
      project + encode_key(all[1]));
  CHECK(rest == std::vector(all.begin() + 2, all.end()));
}

TEST_CASE("counts of reports are as they are now, and not in the past, whose digests prove it all the same") {
  Past past(5, 0, true);
  const auto snapshot = past.store->snapshot();
  std::size_t counted = 0;
  for (Seq seq = 1; seq <= past.states.size(); ++seq) {
    INFO("seq " << seq);
    const State& then = past.states[seq - 1];
    const auto view = View::at(snapshot, seq);
    REQUIRE(view.ok());
    CHECK(view->count<NodeReports>() == 0);
    compare_table<Node>(*view, then.nodes);
    compare_table<Server>(*view, then.servers);
    const auto loaded = load_state(*view);
    REQUIRE(loaded.ok());
    CHECK(loaded->node_reports.size() == 0);
    counted += then.node_reports.size();
  }
  CHECK(counted > 50);
  const View now = View::now(snapshot);
  compare_table<NodeReports>(now, past.states.back().node_reports);
  const auto loaded = load_state(now);
  REQUIRE(loaded.ok());
  CHECK(image_of(*loaded) == image_of(past.states.back()));
  loaded->nodes.each([](const Node& row) { CHECK(row.reports == 0); });
}

}  // namespace
}  // namespace reprise
