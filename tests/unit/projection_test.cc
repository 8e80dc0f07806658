#include "projections/runner.h"

#include <future>
#include <set>

#include "tests/unit/memory_log.h"
#include "tests/unit/story.h"
#include "tests/unit/temporary_folder.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

using namespace testing;
using namespace std::chrono_literals;

constexpr auto deadline = 20s;  // far beyond anything that is right

// A call that will come: its value, waited for.
template <class T>
class Awaited {
 public:
  std::function<void(T)> callback() {
    return [promise = promise_](T value) { promise->set_value(std::move(value)); };
  }
  T get() {
    REQUIRE(future_.wait_for(deadline) == std::future_status::ready);
    return future_.get();
  }
  bool ready() { return future_.wait_for(0s) == std::future_status::ready; }

 private:
  std::shared_ptr<std::promise<T>> promise_ = std::make_shared<std::promise<T>>();
  std::future<T> future_ = promise_->get_future();
};

// A busy cloud, its log, and projections of it in one folder.
struct Fixture {
  TemporaryFolder folder;
  Scribe scribe;
  BusyCloud busy{scribe, 31};
  MemoryLog log;
  std::size_t written = 0;

  explicit Fixture(int steps = 30) {
    busy.begin();
    for (int i = 0; i < steps; ++i) busy.step();
  }
  // Puts the scribe's records into the log, as far as `count`.
  void publish(std::size_t count = SIZE_MAX) {
    for (; written < std::min(count, scribe.records.size()); ++written)
      log.write(scribe.records[written].bytes);
  }
  ProjectionOptions options() {
    return {.store = {.dir = folder.path("store"), .write_buffer_bytes = 256u << 10},
            .end_patience = 200ms,
            .retry = 5ms};
  }
  std::unique_ptr<Projection> open(Log& from, ProjectionOptions with) {
    auto projection = Projection::open(from, std::move(with));
    INFO((projection ? "" : projection.error().text));
    REQUIRE(projection.ok());
    return std::move(*projection);
  }
  std::unique_ptr<Projection> start(Log& from) {
    auto projection = open(from, options());
    projection->start();
    return projection;
  }
  std::unique_ptr<Projection> start() { return start(log); }
};

// A watcher that notes the seqs it is told; its own until the projection has stopped.
std::shared_ptr<std::vector<Seq>> watched(Projection& projection) {
  const auto seqs = std::make_shared<std::vector<Seq>>();
  projection.watch([seqs](const Folded& folded) { seqs->push_back(folded.head.seq); });
  return seqs;
}

Status caught_up(Projection& projection) {
  Awaited<Status> passed;
  projection.fresh(passed.callback());
  return passed.get();
}

std::string image(const Projection& projection) {
  return projection.with_state([](const State& state, const Head&) { return image_of(state); });
}

TEST_CASE("a projection folds what is there, then what comes") {
  Fixture f;
  f.publish(20);
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  CHECK(projection->head().seq == 20);
  const Seq last = f.scribe.records.size();
  const auto seen = watched(*projection);
  Awaited<bool> all, same;
  projection->watch(
      [&, all = all.callback(), same = same.callback(), right = true](const Folded& folded) mutable {
        const auto& want = f.scribe.records[folded.head.seq - 1];
        right = right && folded.record == want.record && folded.bytes == want.bytes;
        if (folded.head.seq == last) all(true), same(right);
      });
  f.publish();
  CHECK(all.get());
  CHECK(same.get());
  REQUIRE(caught_up(*projection).ok());
  CHECK(seen->size() == last - 20);
  CHECK(std::is_sorted(seen->begin(), seen->end()));
  CHECK(projection->head() == f.scribe.head);
  CHECK(projection->digest() == f.scribe.state.digest());
  CHECK(image(*projection) == image_of(f.scribe.state));
  CHECK(projection->view().seq() == last);
  const auto loaded = load_state(projection->view());
  REQUIRE(loaded.ok());
  CHECK(image_of(*loaded) == image_of(f.scribe.state));
  const auto status = projection->status();
  CHECK(status.lag == 0);
  CHECK(status.caught_up);
  CHECK(status.broken == "");
  CHECK(status.verified_ms > 0);
  Head head;
  State copy = projection->copy_state(head);
  CHECK(head == f.scribe.head);
  CHECK(image_of(copy) == image_of(f.scribe.state));
}

TEST_CASE("stopped anywhere, it goes on from its head") {
  Fixture f(60);
  sim::Prng prng(4);
  Seq before = 0;
  while (f.written < f.scribe.records.size()) {
    f.publish(f.written + 1 + prng.below(12));
    auto projection = f.start();
    const auto seen = watched(*projection);
    CHECK(projection->head().seq >= before);
    if (prng.chance(700)) REQUIRE(caught_up(*projection).ok());
    projection->stop();
    before = projection->head().seq;
    CHECK(projection->status().broken == "");
    for (std::size_t i = 0; i < seen->size(); ++i) CHECK((*seen)[i] == (*seen)[0] + i);
    if (!seen->empty()) CHECK(seen->back() == before);
  }
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  CHECK(projection->head() == f.scribe.head);
  CHECK(image(*projection) == image_of(f.scribe.state));
}

TEST_CASE("void records are skipped and counted once, restarts or not") {
  Fixture f;
  f.publish(10);
  Record stray = f.scribe.records[10].record;
  stray.controller = make_id<ControllerId>(77);
  f.log.write(encode(stray).bytes, 3);     // from one who does not lead
  f.log.write(f.scribe.records[4].bytes);  // a copy
  {
    auto projection = f.start();
    REQUIRE(caught_up(*projection).ok());
    CHECK(projection->status().voids == 2);
    CHECK(projection->head().seq == 10);
  }
  Record on_stray = stray;
  on_stray.prev = encode(stray).hash;
  f.log.write(encode(on_stray).bytes, 2);  // known to be void only from the store
  f.publish();
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  CHECK(projection->status().voids == 3);
  CHECK(projection->status().broken == "");
  CHECK(projection->head().seq == f.scribe.head.seq);
  CHECK(projection->digest() == f.scribe.state.digest());
}

TEST_CASE("at what is broken it stops, says where and why, and never goes on") {
  struct Case {
    const char* what;
    std::function<Bytes(const Fixture&)> bad;
    const char* why;
  };
  const Case cases[] = {
      {"noise", [](const Fixture&) { return Bytes("not a record at all, but long enough to have a hash"); },
       "unreadable"},
      {"a flipped byte",
       [](const Fixture& f) {
         Bytes bytes = f.scribe.records[10].bytes;
         bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
         return bytes;
       },
       "changed"},
      {"a record from nowhere",
       [](const Fixture& f) {
         Record record = f.scribe.records[10].record;
         record.prev.bytes[0] ^= 1;
         return encode(record).bytes;
       },
       "not in this log"},
  };
  for (const auto& c : cases) {
    INFO(c.what);
    Fixture f;
    f.publish(10);
    auto projection = f.start();
    REQUIRE(caught_up(*projection).ok());
    Awaited<Result<DecidedAnswer>> decided;
    projection->wait_decided(make_id<IntentId>(1 << 20), 0, decided.callback());
    f.log.write(c.bad(f));
    f.publish();
    const auto told = decided.get();
    REQUIRE(!told.ok());
    CHECK(told.error().code == Errc::broken);
    CHECK_THAT(told.error().text, Catch::Contains("offset 10") && Catch::Contains(c.why));
    CHECK(projection->status().broken == told.error().text);
    CHECK(projection->head().seq == 10);
    CHECK(caught_up(*projection).error().code == Errc::broken);
    CHECK(projection->view().seq() == 10);  // what was proved can still be read
    projection.reset();
    projection = f.start();
    CHECK(caught_up(*projection).error().code == Errc::broken);
    CHECK(projection->head().seq == 10);
  }
}

TEST_CASE("a digest that differs makes it fold anew once, then stop") {
  Fixture f;
  f.publish(10);
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  Record lie = f.scribe.records[10].record;
  lie.digest.bytes[5] ^= 1;
  f.log.write(encode(lie).bytes);
  const Status told = caught_up(*projection);
  CHECK(told.error().code == Errc::broken);
  CHECK_THAT(told.error().text, Catch::Contains("seq 11") && Catch::Contains("folded anew before"));
  CHECK(projection->head().seq == 10);
  CHECK(projection->status().rebuilt_because != "");
}

TEST_CASE("a store whose rows differ is made anew from the log, and watchers see nothing twice") {
  Fixture f;
  f.publish(25);
  {
    auto projection = f.start();
    REQUIRE(caught_up(*projection).ok());
  }
  {  // rows of another history under the same head
    auto store = std::move(*Store::open(f.options().store));
    Changes changes;
    changes.rows.push_back({Flavor::table, "no such flavor", encode_row(Flavor{.id = "no such flavor"})});
    Record same = f.scribe.records[24].record;
    store->add(same, store->head().head, f.scribe.records[24].bytes, changes, {});
    store->add_void({}, 1000);
    REQUIRE(store->flush("memory:").ok());
  }
  auto projection = f.start();
  const auto seen = watched(*projection);
  REQUIRE(caught_up(*projection).ok());
  CHECK(projection->head().seq == 25);
  CHECK_THAT(projection->status().rebuilt_because, Catch::Contains("digest"));
  CHECK(!projection->status().rebuilding);
  f.publish();
  REQUIRE(caught_up(*projection).ok());
  CHECK(image(*projection) == image_of(f.scribe.state));
  projection->stop();
  CHECK(std::adjacent_find(seen->begin(), seen->end(), std::greater_equal<>()) == seen->end());
}

TEST_CASE("a log that ends before the head is given some time, then it is broken") {
  Fixture f;
  f.publish();
  const auto records = f.scribe.records.size();
  {
    auto projection = f.start();
    REQUIRE(caught_up(*projection).ok());
  }
  f.log.cut(static_cast<std::int64_t>(records) - 3);
  SECTION("it comes back") {
    auto with = f.options();
    with.end_patience = 10min;
    auto projection = f.open(f.log, with);
    projection->start();
    const int asked = f.log.ends_asked();
    while (f.log.ends_asked() < asked + 3) std::this_thread::yield();
    f.written = records - 3;
    f.publish();
    REQUIRE(caught_up(*projection).ok());
    CHECK(projection->head() == f.scribe.head);
    CHECK(projection->status().rebuilt_because == "");
  }
  SECTION("it does not") {
    auto projection = f.start();
    const Status told = caught_up(*projection);
    CHECK(told.error().code == Errc::broken);
    CHECK_THAT(told.error().text, Catch::Contains("lost records"));
  }
}

TEST_CASE("another record at the head's place is broken") {
  Fixture f;
  f.publish();
  {
    auto projection = f.start();
    REQUIRE(caught_up(*projection).ok());
  }
  Record other = f.scribe.records.back().record;
  ++other.at_ms;
  f.log.change(f.scribe.head.offset, encode(other).bytes);
  auto projection = f.start();
  const Status told = caught_up(*projection);
  CHECK(told.error().code == Errc::broken);
  CHECK_THAT(told.error().text, Catch::Contains(f.scribe.head.hash.hex()));
}

TEST_CASE("another cloud's log or store is refused, both named") {
  Fixture f;
  f.publish();
  {
    auto projection = f.start();
    REQUIRE(caught_up(*projection).ok());
  }
  const CloudId ours = f.scribe.state.the_cloud().id;
  const auto other_cloud = make_id<CloudId>(8), wanted = make_id<CloudId>(9);
  Scribe other;
  other.write({CloudCreated{.cloud = other_cloud, .log = make_id<LogId>(8), .name = "other"}});
  MemoryLog other_log;
  other_log.write(other.records[0].bytes);
  auto projection = f.start(other_log);
  const Status told = caught_up(*projection);
  CHECK(told.error().code == Errc::exists);
  CHECK_THAT(told.error().text, Catch::Contains(ours.str()) && Catch::Contains(other_cloud.str()));
  projection.reset();

  auto with = f.options();
  with.cloud = wanted;
  const auto refused = Projection::open(f.log, with);
  REQUIRE(!refused.ok());
  CHECK_THAT(refused.error().text, Catch::Contains(ours.str()) && Catch::Contains(wanted.str()));
  with.store.dir = f.folder.path("fresh");
  auto fresh = f.open(f.log, with);
  fresh->start();
  CHECK(caught_up(*fresh).error().code == Errc::exists);
}

TEST_CASE("a copy of the log with other offsets: it goes on where it was") {
  Fixture f;
  f.publish();
  {
    auto projection = f.start();
    REQUIRE(caught_up(*projection).ok());
  }
  MemoryLog copy("memory:copy");
  for (const auto& [offset, bytes] : f.log.entries()) copy.write(bytes, 1);
  auto projection = f.start(copy);
  REQUIRE(caught_up(*projection).ok());
  CHECK(projection->head().seq == f.scribe.head.seq);
  CHECK(projection->digest() == f.scribe.state.digest());
  CHECK(projection->status().rebuilt_because == "");
  CHECK(projection->head().offset == copy.entries().rbegin()->first);
  CHECK(projection->status().log_place == "memory:copy");
}

TEST_CASE("a log that cannot be reached is asked again; who needs it fresh is told") {
  Fixture f;
  f.publish(10);
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  f.log.set_reachable(false);
  CHECK(caught_up(*projection).error().code == Errc::unreachable);
  CHECK(projection->head().seq == 10);
  CHECK(projection->status().broken == "");
  f.log.set_reachable(true);
  f.publish();
  Awaited<Status> passed;
  projection->wait_passed(f.scribe.head.offset + 1, passed.callback());
  REQUIRE(passed.get().ok());
  CHECK(projection->head() == f.scribe.head);
}

TEST_CASE("one question for the log's end serves all who asked before it") {
  Fixture f;
  f.publish();
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  const int before = f.log.ends_asked();
  f.log.hold_ends();
  std::vector<Awaited<Status>> waiting(20);
  projection->fresh(waiting[0].callback());  // asks
  for (std::size_t i = 1; i < waiting.size(); ++i)
    projection->fresh(waiting[i].callback());  // for the next one
  const auto cancelled = projection->fresh([](Status) { FAIL("it was cancelled"); });
  CHECK(projection->cancel(cancelled));
  CHECK(!projection->cancel(cancelled));
  CHECK(f.log.ends_asked() == before + 1);
  CHECK(!waiting[0].ready());
  f.log.release_ends();
  for (auto& one : waiting) CHECK(one.get().ok());
  CHECK(f.log.ends_asked() == before + 2);
}

TEST_CASE("who waits for a decision gets it, with where it stands") {
  Fixture f;
  std::map<IntentId, std::pair<Seq, std::uint32_t>> where;
  for (const auto& written : f.scribe.records)
    for (const auto& [intent, index] : notes_of(written.record).intents)
      where.try_emplace(intent, written.record.seq, index);
  REQUIRE(where.size() > 20);
  f.publish(10);
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  std::vector<std::pair<IntentId, Awaited<Result<DecidedAnswer>>>> waiting;
  for (const auto& [intent, at] : where)
    if (at.first > 10) {
      auto& added = waiting.emplace_back();
      added.first = intent;
      projection->wait_decided(intent, 0, added.second.callback());
      projection->wait_decided(intent, 0, [](Result<DecidedAnswer>) {});  // two may wait for one
    }
  const auto cancelled =
      projection->wait_decided(waiting[0].first, 0, [](Result<DecidedAnswer>) { FAIL("it was cancelled"); });
  CHECK(projection->cancel(cancelled));
  f.publish();
  const auto check = [&](IntentId intent, Result<DecidedAnswer> answer) {
    INFO((answer ? "" : answer.error().text));
    REQUIRE(answer.ok());
    CHECK(std::pair(answer->seq, answer->index) == where.at(intent));
    const Record& record = f.scribe.records[answer->seq - 1].record;
    CHECK(answer->decision == record.decisions[answer->index]);
    CHECK(answer->at_ms == record.at_ms);
  };
  for (auto& [intent, answer] : waiting) check(intent, answer.get());
  REQUIRE(caught_up(*projection).ok());
  // Decided before anyone asked: answered at once, as long as the state remembers it.
  std::size_t at_once = 0;
  f.scribe.state.decided.each([&](const Decided& row) {
    Awaited<Result<DecidedAnswer>> answer;
    CHECK(projection->wait_decided(row.id, 0, answer.callback()) == 0);
    check(row.id, answer.get());
    ++at_once;
  });
  CHECK(at_once > 3);
}

TEST_CASE("when log time passes an intent that was not decided, its client can be told that it is not done") {
  Fixture f;
  f.publish();
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  const auto now = f.scribe.at_ms;
  Awaited<Result<DecidedAnswer>> early, late;
  projection->wait_decided(make_id<IntentId>(900), now + 10, early.callback());
  projection->wait_decided(make_id<IntentId>(901), now + 20, late.callback());
  f.scribe.at_ms = now + 11;
  f.scribe.write({TimePassed{}});
  f.publish();
  CHECK(early.get().error().code == Errc::not_found);
  CHECK(!late.ready());
  // A decision in the very record that passes the expiry is a decision.
  f.scribe.at_ms = now + 30;
  f.scribe.write(std::vector{by_intent(901,
                                       [&] {
                                         Intent intent = intent_of(901, now + 20, {});
                                         intent.id = make_id<IntentId>(901);
                                         return intent;
                                       }(),
                                       {IntentRefused{.refusal = 2}})});
  f.publish();
  CHECK(late.get()->decision.events[0].is<IntentRefused>());
}

TEST_CASE("a sealed log says where the cloud went to all who wait") {
  Fixture f;
  f.publish();
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  Awaited<Result<DecidedAnswer>> before, after;
  projection->wait_decided(make_id<IntentId>(900), 0, before.callback());
  f.scribe.write({LogSealed{.to = make_id<LogId>(2), .place = "kafka:there/cloud"}});
  f.publish();
  const auto told = before.get();
  CHECK(told.error().code == Errc::conflict);
  CHECK_THAT(told.error().text, Catch::Contains("kafka:there/cloud"));
  projection->wait_decided(make_id<IntentId>(901), 0, after.callback());
  CHECK(after.get().error().code == Errc::conflict);
}

TEST_CASE("records are read back from the tail, and from the log where the tail does not reach") {
  Fixture f(100);
  for (std::size_t i = 0; i < f.scribe.records.size(); ++i) {
    f.log.write(f.scribe.records[i].bytes, static_cast<std::int64_t>(i % 3));
    if (i % 10 == 5) f.log.write(f.scribe.records[i / 2].bytes);  // void
  }
  for (const std::size_t tail : {64u << 20, 20'000u}) {
    auto with = f.options();
    with.store.dir = f.folder.path("tail-" + std::to_string(tail));
    with.store.tail_bytes = tail;
    auto projection = f.open(f.log, with);
    projection->start();
    REQUIRE(caught_up(*projection).ok());
    Seq next = 1;
    while (next <= f.scribe.head.seq) {
      const auto records = projection->read_records(next, 7);
      INFO((records ? "" : records.error().text));
      REQUIRE(records.ok());
      REQUIRE(!records->empty());
      CHECK(records->size() <= 7);
      for (const auto& record : *records) {
        REQUIRE(record.seq == next++);
        CHECK(record.bytes == f.scribe.records[record.seq - 1].bytes);
        CHECK(record.hash == f.scribe.records[record.seq - 1].hash);
        CHECK(f.log.entries().at(record.offset) == record.bytes);
      }
    }
    CHECK(projection->read_records(next, 7)->empty());
  }
}

TEST_CASE("after unwatch a watcher is not called, and stopping tells who waits") {
  Fixture f;
  f.publish(5);
  auto projection = f.start();
  REQUIRE(caught_up(*projection).ok());
  const auto calls = std::make_shared<std::atomic<int>>(0);
  const auto own = std::make_shared<std::atomic<Projection::WatchId>>(0);
  Awaited<bool> first;
  *own = projection->watch([&projection, calls, own, first = first.callback()](const Folded&) {
    if (++*calls == 1) first(true);
    projection->unwatch(*own);  // itself, from within
  });
  const auto seen = watched(*projection);
  f.publish();
  CHECK(first.get());
  REQUIRE(caught_up(*projection).ok());
  Awaited<Result<DecidedAnswer>> decided;
  Awaited<Status> passed;
  projection->wait_decided(make_id<IntentId>(900), 0, decided.callback());
  projection->wait_passed(1 << 20, passed.callback());
  CHECK(projection->status().lag == 0);  // whoever waits for what is to come says nothing of the log
  projection->stop();
  CHECK(decided.get().error().code == Errc::again);
  CHECK(passed.get().error().code == Errc::again);
  CHECK(*calls == 1);
  CHECK(seen->size() == f.scribe.records.size() - 5);
}

}  // namespace
}  // namespace reprise
