// log repair: what a log lost at its end is appended again from a projection, at the offsets where it stood.
#include "controlplane/cli/log_repair.h"

#include <fmt/format.h>

#include <filesystem>
#include <future>

#include "controlplane/cli/verify.h"
#include "events/embedded_log.h"
#include "projections/fetch.h"
#include "projections/runner.h"
#include "tests/unit/scribe.h"
#include "tests/unit/temporary_folder.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::cli;
using reprise::testing::make_id;
using reprise::testing::Scribe;

namespace {

using namespace std::chrono_literals;

void append(Log& log, Topic topic, const Bytes& bytes) {
  auto producer = log.open_producer();
  REQUIRE(producer);
  std::promise<bool> written;
  (*producer)->append(topic, bytes, [&](const Result<std::int64_t>& offset) { written.set_value(offset.ok()); });
  REQUIRE(written.get_future().get());
}

// A log, and a projection that read all of it.
struct Ruin {
  explicit Ruin(std::size_t tail_bytes = 64u << 20) : tail_bytes(tail_bytes) {
    scribe.positions = {{Topic::intents, 0, 3}, {Topic::reports, 0, 0}};
    scribe.write({Event(CloudCreated{.cloud = make_id<CloudId>(1), .log = make_id<LogId>(2), .name = "test"})});
    scribe.claim();
    for (std::uint64_t i = 0; i < 20; ++i)
      scribe.write({Event(ProjectCreated{.id = make_id<ProjectId>(i + 1), .name = fmt::format("p{}", i), .enabled = true})});
    for (const auto& written : scribe.records) {
      entries.push_back(written.bytes);
      // copies of records before the head are void, wherever they stand
      if (written.record.seq % 4 == 0) entries.push_back(scribe.records[1].bytes);
    }
    const auto log = make_log(entries.size(), 3);
    status(*log);
  }

  // The log anew, with only so many of its entries, and of the intents.
  std::unique_ptr<Log> make_log(std::size_t kept, int intents, const Bytes& more = {}) {
    std::filesystem::remove_all(folder.path("log"));
    auto log = open_embedded_log(folder.path("log"));
    REQUIRE(log);
    for (std::size_t i = 0; i < kept; ++i) append(**log, Topic::events, entries[i]);
    for (int i = 0; i < intents; ++i) append(**log, Topic::intents, "an intent");
    if (!more.empty()) append(**log, Topic::events, more);
    return std::move(*log);
  }

  // Of the projection, once it has read the log to its end, or stopped.
  ProjectionStatus status(Log& log) {
    auto projection = Projection::open(
        log, {.store = {.dir = folder.path("store"), .tail_bytes = tail_bytes}, .end_patience = 10ms});
    REQUIRE(projection);
    std::promise<Status> fresh;
    (*projection)->start();
    (*projection)->fresh([&](const Status& done) { fresh.set_value(done); });
    fresh.get_future().wait();
    return (*projection)->status();
  }

  std::unique_ptr<Store> store() {
    auto store = Store::open({.dir = folder.path("store"), .read_only = true});
    REQUIRE(store);
    return std::move(*store);
  }

  reprise::testing::TemporaryFolder folder;
  std::size_t tail_bytes;
  Scribe scribe;
  std::vector<Bytes> entries;
};

}  // namespace

TEST_CASE("A log that lost its end is repaired: the same records at the same offsets, and it goes on") {
  Ruin cloud;
  for (const std::size_t kept : {std::size_t{0}, std::size_t{1}, std::size_t{9}, std::size_t{18}, cloud.entries.size() - 1}) {
    CAPTURE(kept);
    const auto log = cloud.make_log(kept, 1);
    const auto lost = cloud.status(*log);
    CHECK(lost.broken.find("reprise log repair") != std::string::npos);
    const auto store = cloud.store();
    const auto plan = plan_repair(*log, *store);
    INFO((plan ? "" : plan.error().text));
    REQUIRE(plan);
    CHECK(plan->last == cloud.scribe.head.seq);
    REQUIRE(plan->fills.size() == 1);
    CHECK(plan->fills[0].from == 1);
    CHECK(plan->fills[0].to == 3);
    REQUIRE(repair(*log, *store, *plan));
    CHECK(*fetch_end(*log, Topic::intents, 5s) == 3);

    const auto verified = verify_log(*log, {});
    REQUIRE(verified);
    CHECK(verified->broken == "");
    CHECK(verified->head.hash == cloud.scribe.head.hash);
    CHECK(verified->digest == cloud.scribe.state.digest());
    CHECK(cloud.status(*log).broken == "");
    for (const auto& written : cloud.scribe.records) {
      const auto line = View::now(store->snapshot()).line_of(written.record.seq);
      REQUIRE(line);
      CHECK((*fetch(*log, Topic::events, line->offset, 1, 5s))[0].bytes == written.bytes);
    }
    CHECK(plan_repair(*log, *store)->nothing());
  }
  const auto log = cloud.make_log(cloud.entries.size(), 3);
  append(*log, Topic::events, cloud.scribe.write({Event(ProjectCreated{.id = make_id<ProjectId>(99), .name = "on"})}).bytes);
  CHECK(cloud.status(*log).head.seq == cloud.scribe.head.seq);
}

TEST_CASE("A log that went on without what it lost is not repaired, and nothing is written") {
  Ruin cloud;
  Scribe fork;
  fork.write({Event(CloudCreated{.cloud = make_id<CloudId>(1), .log = make_id<LogId>(2), .name = "test"})});
  fork.claim();
  fork.write({Event(ProjectCreated{.id = make_id<ProjectId>(77), .name = "other"})});
  const auto log = cloud.make_log(2, 3, fork.records.back().bytes);
  const auto store = cloud.store();
  const auto plan = plan_repair(*log, *store);
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code == Errc::conflict);
  CHECK(plan.error().text.find("went on without what it lost") != std::string::npos);
  CHECK(*fetch_end(*log, Topic::events, 5s) == 3);
}

TEST_CASE("A loss that goes further back than the tail is not repaired") {
  Ruin cloud(400);
  const auto store = cloud.store();
  const auto view = View::now(store->snapshot());
  Seq first = 1;
  while (!view.tail(first)) ++first;
  REQUIRE(first > 4);
  const auto log = cloud.make_log(3, 3);
  const auto plan = plan_repair(*log, *store);
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code == Errc::conflict);
  CHECK(plan.error().text.find(fmt::format("only of seq {} and later", first)) != std::string::npos);
}

TEST_CASE("Whoever appends meanwhile stops the repair at its first entry") {
  Ruin cloud;
  const auto log = cloud.make_log(9, 3);
  const auto store = cloud.store();
  const auto plan = plan_repair(*log, *store);
  REQUIRE(plan);
  append(*log, Topic::events, cloud.entries[1]);
  const auto done = repair(*log, *store, *plan);
  CHECK(done.error().code == Errc::conflict);
  CHECK(done.error().text.find("somebody else appends") != std::string::npos);
  CHECK(*fetch_end(*log, Topic::events, 5s) == 11);
}
