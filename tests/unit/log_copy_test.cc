// log copy: wherever it is cut off, the same call goes on, and what stands there in the end is the same
// history.
#include "controlplane/cli/log_copy.h"

#include <deque>
#include <future>

#include "controlplane/cli/verify.h"
#include "controlplane/controller.h"
#include "events/embedded_log.h"
#include "projections/fetch.h"
#include "projections/runner.h"
#include "tests/unit/story.h"
#include "tests/unit/temporary_folder.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::cli;
using namespace reprise::testing;
using namespace std::chrono_literals;

namespace {

// A log that takes so many appends and then answers none: the last was written, or it was not.
class CutOff final : public Log {
 public:
  CutOff(Log& log, int appends, bool written) : log_(log), left_(appends), written_(written) {}
  bool cut() const { return left_ < 0; }

  Result<std::unique_ptr<Producer>> open_producer() override {
    auto producer = log_.open_producer();
    if (!producer) return producer.error();
    return std::unique_ptr<Producer>(std::make_unique<Cutting>(*this, std::move(*producer)));
  }
  Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset,
                                              std::function<void()> wake) override {
    return log_.open_reader(topic, offset, std::move(wake));
  }
  void end(Topic topic, Answer answer) override { log_.end(topic, std::move(answer)); }
  Result<std::int64_t> begin(Topic topic) override { return log_.begin(topic); }
  std::unique_ptr<Candidacy> stand(std::function<void()> wake) override {
    return log_.stand(std::move(wake));
  }
  std::string place() const override { return log_.place(); }

 private:
  class Cutting final : public Producer {
   public:
    Cutting(CutOff& log, std::unique_ptr<Producer> real) : log_(log), real_(std::move(real)) {}
    // What goes through is written before the cut is told: else the session's end might purge it.
    void append(Topic topic, Bytes bytes, Done done) override {
      if (log_.left_-- > 0 || (log_.left_ == -1 && log_.written_)) {
        const bool told = log_.left_ >= 0;
        const auto written = std::make_shared<std::promise<void>>();
        last_ = written->get_future();
        return real_->append(topic, std::move(bytes), [=](Result<std::int64_t> offset) {
          done(told ? std::move(offset) : Error{Errc::timed_out, "cut off"});
          written->set_value();
        });
      }
      if (last_.valid()) last_.wait();
      done(Error{Errc::timed_out, "cut off"});
    }

   private:
    CutOff& log_;
    const std::unique_ptr<Producer> real_;
    std::future<void> last_;
  };

  Log& log_;
  int left_;
  const bool written_;
};

void append(Log& log, Topic topic, const std::vector<Bytes>& entries) {
  auto producer = log.open_producer();
  REQUIRE(producer);
  std::deque<std::promise<bool>> answers;
  for (const auto& bytes : entries)
    (*producer)->append(topic, bytes, [&answer = answers.emplace_back()](const Result<std::int64_t>& done) {
      answer.set_value(done.ok());
    });
  for (auto& answer : answers) REQUIRE(answer.get_future().get());
}
void append(Log& log, Topic topic, const Bytes& bytes) { append(log, topic, std::vector{bytes}); }

std::vector<Bytes> all_of(Log& log, Topic topic, std::int64_t from = 0) {
  std::vector<Bytes> all;
  const auto end = *fetch_end(log, topic, 10s);
  if (from >= end) return all;
  auto reader = *WaitingReader::open(log, topic, from);
  while (reader.position() < end) {
    auto some = reader.next(100, 10s);
    REQUIRE(some.ok());
    for (auto& entry : *some) all.push_back(std::move(entry.bytes));
  }
  return all;
}

// A busy cloud in an embedded log, with records that lost a race, and intents of which nobody decided the
// last three.
struct Source {
  TemporaryFolder folder;
  Scribe scribe;
  std::shared_ptr<Log> log;
  std::vector<Bytes> undecided;

  explicit Source(int steps = 12, std::uint64_t seed = 31) {
    log = *open_embedded_log(folder.path("source"));
    BusyCloud busy{scribe, seed};
    busy.begin();
    for (int i = 0; i < steps; ++i) busy.step();
    scribe.claim();
    const std::int64_t decided = scribe.positions.at(0).offset;
    std::vector<Bytes> intents, events;
    for (std::int64_t n = 0; n < decided + 3; ++n) {
      Intent intent = intent_of(9000 + static_cast<std::uint64_t>(n), scribe.at_ms + 4'000'000'000, {});
      intent.key.clear();
      intents.push_back(encode(intent));
      if (n >= decided) undecided.push_back(intents.back());
    }
    for (std::size_t i = 0; i < scribe.records.size(); ++i) {
      events.push_back(scribe.records[i].bytes);
      if (i % 5 == 4) events.push_back(scribe.records[i - 2].bytes);  // late: void
    }
    append(*log, Topic::intents, intents);
    append(*log, Topic::events, events);
  }

  CopySource port() {
    return {.open = [this] { return Result<std::shared_ptr<Log>>(log); },
            .seal =
                [this](const SealLog& wish, const CopyChain&) {
                  scribe.at_ms += 5;
                  append(*log, Topic::events,
                         scribe.write({LogSealed{.to = wish.to, .place = wish.place}}).bytes);
                  return Status{};
                }};
  }
};

Result<Copied> copy(Source& source, Log& target, const std::string& place, LogId to = make_id<LogId>(77)) {
  return copy_log(source.port(), target,
                  {.place = place,
                   .to = to,
                   .wall_ms = [&] { return source.scribe.at_ms + 20; },
                   .progress = [](const char*, Seq) {}});
}

// The whole history, and nothing else; the intents that nobody decided, at the position that it names.
void check_copy(Source& source, Log& target) {
  const auto records = all_of(target, Topic::events);
  const auto& written = source.scribe.records;  // with LogSealed
  CopyChain chain(true);
  REQUIRE(chain.read(target, [](const Head&) {}).ok());
  REQUIRE(chain.head.seq == written.size() + 1);
  for (Seq seq = 1; seq <= written.size(); ++seq) CHECK(chain.lines[seq - 1].hash == written[seq - 1].hash);
  CHECK(chain.head.log == make_id<LogId>(77));
  CHECK(!chain.head.sealed_to);
  std::int64_t first = -1;
  for (const auto& position : chain.state.the_cloud().positions)
    if (position.topic == Topic::intents) first = position.offset;
  CHECK(all_of(target, Topic::intents, first) == source.undecided);
  const auto verified = verify_log(target, {});
  REQUIRE(verified.ok());
  CHECK(verified->broken == "");
  CHECK(verified->digest == chain.digest);
}

std::string refused(Source& source, Log& target, const std::string& place) {
  const auto copied = copy(source, target, place);
  REQUIRE(!copied.ok());
  CHECK(copied.error().code == Errc::conflict);
  return copied.error().text;
}

}  // namespace

TEST_CASE("a copy is cut off after each of its appends, and the next call goes on") {
  const bool written = GENERATE(false, true);
  const bool at_once = GENERATE(true, false);  // the second call ends it; or each is cut off one append later
  INFO((written ? "the last append was written" : "the last append was lost"));
  int appends = 0;
  for (int after = 0;; ++after) {
    Source source(3);
    const auto target = *open_embedded_log(source.folder.path("target"));
    CutOff cut(*target, at_once ? after : 1, written);
    auto copied = copy(source, cut, "there");
    const bool whole = copied.ok();
    int calls = 0;
    for (; !copied; ++calls) {
      REQUIRE(copied.error().code == Errc::timed_out);
      CutOff next(*target, at_once ? 1000 : 1, written);
      copied = copy(source, next, "there");
      REQUIRE(calls < 100);
    }
    CHECK(copied->voids > 0);
    check_copy(source, *target);
    const auto again = copy(source, *target, "there");
    REQUIRE(again.ok());
    CHECK(again->already);
    CHECK(again->head == copied->head);
    appends = at_once ? after : calls;
    if (whole || !at_once) break;
    REQUIRE(after < 100);
  }
  CHECK(appends >= 8);
}

TEST_CASE("what may not be made one is refused, and nothing is written") {
  Source source;
  const auto target = *open_embedded_log(source.folder.path("target"));
  SECTION("another cloud's log") {
    Source other(4, 32);
    other.scribe.records.clear();
    CHECK_THAT(refused(source, *other.log, "there"), Catch::Contains("no copy of") && Catch::Contains("seq"));
  }
  SECTION("a log that has nothing but intents") {
    append(*target, Topic::intents, source.undecided[0]);
    CHECK_THAT(refused(source, *target, "there"), Catch::Contains("no events, but intents"));
  }
  SECTION("a log that was sealed towards elsewhere") {
    REQUIRE(copy(source, *target, "there").ok());
    const auto third = *open_embedded_log(source.folder.path("third"));
    CHECK_THAT(refused(source, *third, "elsewhere"), Catch::Contains("the cloud went to there"));
    CHECK(all_of(*third, Topic::events).empty());
  }
  SECTION("a log that has gone on by itself") {
    for (const auto& record : source.scribe.records) append(*target, Topic::events, record.bytes);
    append(*target, Topic::events, source.scribe.claim().bytes);
    CHECK_THAT(refused(source, *target, "there"), Catch::Contains("has gone on to seq"));
  }
  SECTION("a source that is broken") {
    auto bytes = source.scribe.records.back().bytes;
    bytes[bytes.size() / 2] ^= 1;
    append(*source.log, Topic::events, bytes);
    const auto copied = copy(source, *target, "there");
    REQUIRE(!copied.ok());
    CHECK(copied.error().code == Errc::broken);
    CHECK(all_of(*target, Topic::events).empty());
  }
  SECTION("an empty source") {
    Source port;
    port.log = *open_embedded_log(source.folder.path("empty"));
    CHECK(copy(port, *target, "there").error().code == Errc::not_found);
  }
}

TEST_CASE("back into the log that the cloud came from") {
  Source source;
  const auto away = *open_embedded_log(source.folder.path("away"));
  REQUIRE(copy(source, *away, "away").ok());
  // What came to the sealed log too late is no concern of anybody.
  append(*source.log, Topic::intents, source.undecided[1]);
  const auto home = source.log;
  CopySource port{
      .open = [&] { return Result<std::shared_ptr<Log>>(std::shared_ptr<Log>(away.get(), [](Log*) {})); },
      .seal =
          [&](const SealLog& wish, const CopyChain& chain) {
            Record record{.log = chain.head.log,
                          .level = chain.head.level,
                          .seq = chain.head.seq + 1,
                          .prev = chain.head.hash,
                          .at_ms = chain.head.at_ms,
                          .controller = chain.head.controller,
                          .positions = chain.state.the_cloud().positions};
            record.decisions.push_back({.events = {LogSealed{.to = wish.to, .place = wish.place}}});
            State state = chain.state.copy(false, false);
            fold(state, record);
            record.digest = state.digest();
            append(*away, Topic::events, encode(record).bytes);
            return Status{};
          }};
  const auto copied = copy_log(port, *home,
                               {.place = "home",
                                .to = make_id<LogId>(78),
                                .wall_ms = [] { return std::int64_t{0}; },
                                .progress = [](const char*, Seq) {}});
  INFO((copied ? "" : copied.error().text));
  REQUIRE(copied.ok());
  CHECK(copied->records == 2);  // LogOpened there, LogSealed there
  CHECK(copied->intents == 3);
  CopyChain chain(true);
  REQUIRE(chain.read(*home, [](const Head&) {}).ok());
  CHECK(chain.head.log == make_id<LogId>(78));
  std::int64_t first = -1;
  for (const auto& position : chain.state.the_cloud().positions)
    if (position.topic == Topic::intents) first = position.offset;
  CHECK(all_of(*home, Topic::intents, first) == source.undecided);
}

TEST_CASE("a controller goes on in the copy: what nobody had decided is decided, once") {
  Source source;
  const auto target = *open_embedded_log(source.folder.path("target"));
  REQUIRE(copy(source, *target, "there").ok());
  std::uint64_t random = 0;
  // One that begins at the genesis passes the seal on its way.
  State state(false, true);
  Head head;
  const auto first = (*fetch(*target, Topic::events, 0, 1, 10s))[0];
  MemoryHashes seen;
  const Step step = read_step(head, seen, first);
  REQUIRE(apply_step(state, head, step).ok());
  Controller controller({.log = target.get(),
                         .random = [&] { return ++random; },
                         .seen_before = &seen,
                         .wake = [] {},
                         .say = [](const std::string&) {}},
                        {.host = "h", .backoff_ms = 1}, std::move(state), head);
  const std::int64_t wall = source.scribe.at_ms + 100;
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (controller.status().decisions < source.undecided.size()) {
    controller.step({.steady_ms = 1, .wall_ms = wall});
    if (std::chrono::steady_clock::now() > deadline)
      FAIL(controller.status().reason << ", " << controller.status().decisions);
  }
  // Read back: decided once each.
  while (controller.status().role == Controller::Role::leading &&
         controller.head().seq < source.scribe.head.seq + 3)
    controller.step({.steady_ms = 1, .wall_ms = wall});
  std::vector<Bytes> decided;
  for (const auto& bytes : all_of(*target, Topic::events)) {
    const auto record = *decode_record(bytes);
    for (const auto& decision : record.decisions)
      if (decision.cause == Cause::intent) decided.push_back(decision.intent);
  }
  const std::vector<Bytes> last(decided.end() - static_cast<std::ptrdiff_t>(source.undecided.size()),
                                decided.end());
  CHECK(last == source.undecided);
}

TEST_CASE("a controller that finds its log sealed claims nothing") {
  Source source;
  append(*source.log, Topic::events,
         source.scribe.write({LogSealed{.to = make_id<LogId>(9), .place = "there"}}).bytes);
  CopyChain chain(true);
  REQUIRE(chain.read(*source.log, [](const Head&) {}).ok());
  Controller controller({.log = source.log.get(),
                         .random = [] { return std::uint64_t{7}; },
                         .seen_before = &chain.seen,
                         .wake = [] {},
                         .say = [](const std::string&) {}},
                        {.host = "h", .backoff_ms = 1}, chain.state.copy(false, true), chain.head);
  for (std::int64_t now = 0; now < 50; ++now)
    controller.step({.steady_ms = now * 1000, .wall_ms = chain.head.at_ms});
  CHECK(controller.status().claims == 0);
  CHECK_THAT(controller.status().reason, Catch::Contains("went to there"));
}

TEST_CASE("a projection goes on in the copy without folding anew") {
  Source source(20);
  const auto target = *open_embedded_log(source.folder.path("target"));
  const auto open = [&](Log& log) {
    auto projection =
        Projection::open(log, {.store = {.dir = source.folder.path("store"), .tail_bytes = 1000}});
    INFO((projection ? "" : projection.error().text));
    REQUIRE(projection.ok());
    (*projection)->start();
    return std::move(*projection);
  };
  const auto fresh = [](Projection& projection) {
    std::promise<Status> told;
    projection.fresh([&](Status status) { told.set_value(std::move(status)); });
    return told.get_future().get();
  };
  {
    const auto projection = open(*source.log);
    REQUIRE(fresh(*projection).ok());
    REQUIRE(projection->status().voids > 0);
    SECTION("it has seen the seal") {
      REQUIRE(copy(source, *target, "there").ok());
      const auto told = fresh(*projection);
      CHECK(told.error().code == Errc::conflict);  // what is there is not the present
      CHECK_THAT(told.error().text, Catch::Contains("went to there"));
    }
    SECTION("it has not") {}
  }
  if (fetch_end(*target, Topic::events, 10s).ok() && *fetch_end(*target, Topic::events, 10s) == 0)
    REQUIRE(copy(source, *target, "there").ok());
  {
    const auto projection = open(*target);
    REQUIRE(fresh(*projection).ok());
    const auto status = projection->status();
    CHECK(status.rebuilt_because == "");
    CHECK(status.head.log == make_id<LogId>(77));
    CHECK(status.voids == 0);
    CHECK(status.digest == verify_log(*target, {})->digest);
    Seq next = 1;
    while (next <= status.head.seq) {  // from the log, where each stands now
      const auto records = projection->read_records(next, 7);
      INFO((records ? "" : records.error().text));
      REQUIRE(records.ok());
      for (const auto& record : *records) {
        CHECK(record.seq == next++);
        CHECK(record.offset == static_cast<std::int64_t>(record.seq) - 1);
      }
    }
  }
  const auto restarted = open(*target);
  CHECK(fresh(*restarted).ok());
  CHECK(restarted->status().rebuilt_because == "");
}

TEST_CASE("a projection is not taken to a copy that did not end") {
  Source source;
  const auto target = *open_embedded_log(source.folder.path("target"));
  {
    auto projection = *Projection::open(*source.log, {.store = {.dir = source.folder.path("store")}});
    projection->start();
    std::promise<Status> told;
    projection->fresh([&](Status status) { told.set_value(std::move(status)); });
    REQUIRE(told.get_future().get().ok());
  }
  CutOff cut(*target, 5, true);
  REQUIRE(!copy(source, cut, "there").ok());
  const auto refused = Projection::open(*target, {.store = {.dir = source.folder.path("store")}});
  REQUIRE(!refused.ok());
  CHECK(refused.error().code == Errc::broken);
  CHECK_THAT(refused.error().text, Catch::Contains("reprise log copy"));
  CHECK(Projection::open(*source.log, {.store = {.dir = source.folder.path("store")}}).ok());
}
