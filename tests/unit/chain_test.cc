#include "events/chain.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours
#include "tests/unit/scribe.h"

namespace reprise {
namespace {

using namespace testing;

const auto cloud_id = make_id<CloudId>(1);
const auto log_id = make_id<LogId>(1);

// A log of a genesis, a claim and two records, and what every reader remembers of it.
struct Fixture {
  Scribe scribe;
  MemoryHashes seen;

  Fixture() {
    scribe.write({CloudCreated{.cloud = cloud_id, .log = log_id, .name = "c"}});
    scribe.claim();
    scribe.write({TimePassed{.asked_ms = 1}});
    scribe.write({TimePassed{.asked_ms = 2}});
    for (const auto& written : scribe.records) seen.add(written.hash);
  }
  // A record that fits on top.
  Record next() const {
    Record record{.log = log_id,
                  .level = 1,
                  .seq = scribe.head.seq + 1,
                  .prev = scribe.head.hash,
                  .at_ms = scribe.at_ms,
                  .controller = scribe.head.controller};
    record.decisions = {by_controller({TimePassed{.asked_ms = 3}})};
    return record;
  }
  Record claim(std::uint64_t n) const {
    Record record = next();
    record.controller = make_id<ControllerId>(n);
    record.decisions = {by_controller({ControllerStarted{.controller = record.controller}})};
    return record;
  }
};

TEST_CASE("a record extends the head, is void, or the log is broken") {
  Fixture f;
  using Edit = std::function<void(Record&)>;
  struct Case {
    const char* what;
    Edit edit;
    Verdict verdict;
    const char* why;
  };
  const Hash older = f.scribe.records[1].hash;
  const auto other = make_id<ControllerId>(9);
  const Case cases[] = {
      {"it fits", [](Record&) {}, Verdict::extends, ""},
      {"later", [](Record& r) { r.at_ms += 5; }, Verdict::extends, ""},
      {"a claim of another", [&](Record& r) { r = f.claim(9); }, Verdict::extends, ""},
      {"from one who does not lead", [&](Record& r) { r.controller = other; }, Verdict::is_void, "leads"},
      {"a claim that is not alone",
       [&](Record& r) { r = f.claim(9), r.decisions[0].events.push_back(TimePassed{}); }, Verdict::is_void,
       "leads"},
      {"a claim in another's name",
       [&](Record& r) { r = f.claim(9), r.controller = make_id<ControllerId>(8); }, Verdict::is_void,
       "leads"},
      {"on an older record", [&](Record& r) { r.prev = older; }, Verdict::is_void, "lost a race"},
      {"on an older record, with any seq", [&](Record& r) { r.prev = older, r.seq = 77; }, Verdict::is_void,
       "lost a race"},
      {"a second genesis",
       [](Record& r) {
         r.seq = 1, r.prev = {}, r.decisions = {by_controller({CloudCreated{.log = log_id}})};
       },
       Verdict::is_void, "second genesis"},
      {"unknown predecessor", [](Record& r) { r.prev.bytes[3] ^= 1; }, Verdict::broken, "not in this log"},
      {"no predecessor", [](Record& r) { r.prev = {}; }, Verdict::broken, "not in this log"},
      {"a gap in seqs", [](Record& r) { ++r.seq; }, Verdict::broken, "calls itself"},
      {"of another log", [](Record& r) { r.log = make_id<LogId>(2); }, Verdict::broken, "belongs to log"},
      {"before its predecessor's time", [](Record& r) { --r.at_ms; }, Verdict::broken, "its time"},
      {"of another level", [](Record& r) { ++r.level; }, Verdict::broken, "feature level"},
  };
  for (const auto& c : cases) {
    INFO(c.what);
    Record record = f.next();
    c.edit(record);
    const auto judged = judge(f.scribe.head, f.seen, record);
    CHECK(judged.verdict == c.verdict);
    CHECK_THAT(judged.why, Catch::Contains(c.why));
  }
}

TEST_CASE("a copy of any record that was folded is void") {
  Fixture f;
  for (const auto& written : f.scribe.records)
    CHECK(judge(f.scribe.head, f.seen, written.record).verdict == Verdict::is_void);
}

TEST_CASE("what follows a void record is void as well, not broken") {
  Fixture f;
  Record late = f.next();
  late.controller = make_id<ControllerId>(9);
  const Hash hash = encode(late).hash;
  REQUIRE(judge(f.scribe.head, f.seen, late).verdict == Verdict::is_void);
  Record after = f.next();
  after.prev = hash;
  CHECK(judge(f.scribe.head, f.seen, after).verdict == Verdict::broken);
  f.seen.add(hash);
  CHECK(judge(f.scribe.head, f.seen, after).verdict == Verdict::is_void);
}

TEST_CASE("a log begins with its genesis") {
  const Record genesis{.log = log_id,
                       .level = 1,
                       .seq = 1,
                       .decisions = {by_controller({CloudCreated{.cloud = cloud_id, .log = log_id}})}};
  CHECK(judge({}, MemoryHashes{}, genesis).verdict == Verdict::extends);
  Record other = genesis;
  other.log = make_id<LogId>(2);
  CHECK(judge({}, MemoryHashes{}, other).verdict == Verdict::broken);
  Record late = genesis;
  late.seq = 2;
  CHECK(judge({}, MemoryHashes{}, late).verdict == Verdict::broken);
  CHECK(judge({}, MemoryHashes{}, Fixture().next()).verdict == Verdict::broken);
}

TEST_CASE("after a seal only the log that it names goes on, under its own id") {
  Fixture f;
  const auto to = make_id<LogId>(2);
  f.seen.add(f.scribe.write({LogSealed{.to = to, .place = "elsewhere"}}).hash);
  CHECK(judge(f.scribe.head, f.seen, f.next()).verdict == Verdict::is_void);
  CHECK(judge(f.scribe.head, f.seen, f.claim(9)).verdict == Verdict::is_void);
  Record opened = f.next();
  opened.log = to;
  opened.decisions = {by_controller({LogOpened{.log = to, .from = log_id}})};
  CHECK(judge(f.scribe.head, f.seen, opened).verdict == Verdict::extends);
  Record third = opened;
  third.log = make_id<LogId>(3);
  third.decisions = {by_controller({LogOpened{.log = third.log, .from = log_id}})};
  CHECK(judge(f.scribe.head, f.seen, third).verdict == Verdict::is_void);
  const Head head = advance(f.scribe.head, opened, encode(opened).hash, 9);
  CHECK(head.log == to);
  CHECK(!head.sealed_to);
  CHECK(head.offset == 9);
}

TEST_CASE("a raised level holds from the next record on") {
  Fixture f;
  f.scribe.write({LevelRaised{.level = 2}});
  CHECK(f.scribe.head.level == 2);
  CHECK(f.scribe.records.back().record.level == 1);
  Record record = f.next();
  CHECK(judge(f.scribe.head, f.seen, record).verdict == Verdict::broken);
  record.level = 2;
  CHECK(judge(f.scribe.head, f.seen, record).verdict == Verdict::extends);
}

}  // namespace
}  // namespace reprise
