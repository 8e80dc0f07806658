// A checkpoint: a new reader begins there and proves itself; whatever is wrong with it, the reader says so
// and begins from the first record.
#include "projections/checkpoint.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "projections/runner.h"
#include "tests/unit/memory_log.h"
#include "tests/unit/story.h"
#include "tests/unit/temporary_folder.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

using namespace reprise::testing;
namespace fs = std::filesystem;

struct Fixture {
  TemporaryFolder folder;
  Scribe scribe;
  BusyCloud busy{scribe, 47};
  MemoryLog log;
  std::size_t written = 0;

  explicit Fixture(int steps = 40) {
    busy.begin();
    go_on(steps);
  }
  void go_on(int steps) {
    for (int i = 0; i < steps; ++i) busy.step();
    for (; written < scribe.records.size(); ++written) {
      log.write(scribe.records[written].bytes);
      if (written % 7 == 6) log.write(scribe.records[written - 3].bytes);  // void
    }
  }
  std::string checkpoints() const { return folder.path("checkpoints"); }
  std::unique_ptr<Projection> start(const std::string& name) {
    auto projection =
        Projection::open(log, {.store = {.dir = folder.path(name), .write_buffer_bytes = 256u << 10},
                               .checkpoints = checkpoints(),
                               .end_patience = std::chrono::milliseconds(200)});
    INFO((projection ? "" : projection.error().text));
    REQUIRE(projection.ok());
    (*projection)->start();
    return std::move(*projection);
  }
  Status caught_up(Projection& projection) {
    std::promise<Status> told;
    projection.fresh([&](Status status) { told.set_value(std::move(status)); });
    return told.get_future().get();
  }
  Checkpoint make() {
    const auto projection = start("store");
    REQUIRE(caught_up(*projection).ok());
    const auto made = make_checkpoint(*projection->snapshot()->families, checkpoints());
    INFO((made ? "" : made.error().text));
    REQUIRE(made.ok());
    return *made;
  }
  // The whole of a projection that has read everything.
  void check_whole(Projection& projection) {
    REQUIRE(caught_up(projection).ok());
    CHECK(projection.status().rebuilt_because == "");
    CHECK(projection.head().hash == scribe.head.hash);
    CHECK(projection.digest() == scribe.state.digest());
    CHECK(projection.with_state([](const State& state, const Head&) { return image_of(state); }) ==
          image_of(scribe.state));
    for (const auto& record : scribe.records) {  // the past, and the hashes for the void rule
      CHECK(projection.view().seq_of(record.hash) == record.record.seq);
      CHECK(projection.view_at(record.record.seq)->line().digest == record.record.digest);
    }
    CHECK(projection.status().voids == scribe.records.size() / 7);
  }
};

TEST_CASE("a new reader begins from a checkpoint and goes on") {
  Fixture f;
  const auto made = f.make();
  CHECK(made.seq == f.scribe.head.seq);
  CHECK(made.digest == f.scribe.state.digest().hex().substr(0, 16));
  f.go_on(25);
  for (const char* name : {"second", "third"}) {  // it stays as it is
    auto projection = f.start(name);
    CHECK_THAT(projection->status().began, Catch::Contains("begins from the checkpoint " + made.dir));
    CHECK(projection->head().seq >= made.seq);
    f.check_whole(*projection);
  }
  auto again = f.start("second");  // a store that is there goes on by itself
  CHECK(again->status().began == "");
  f.check_whole(*again);
}

TEST_CASE("whichever file of a checkpoint is another: it is refused, an older one is taken, or none") {
  Fixture f;
  const auto older = f.make();
  f.go_on(10);
  const auto newer = f.make();
  CHECK(list_checkpoints(f.checkpoints()).front().dir == newer.dir);
  int files = 0;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(newer.dir)) paths.push_back(entry.path());
  for (const auto& path : paths) {
    if (!fs::exists(newer.dir + "/files") || path.filename().string().starts_with("LOG")) continue;
    std::string bytes;
    {
      std::ifstream in(path, std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(in), {});
    }
    auto bent = bytes;
    bent[bent.size() / 2] = static_cast<char>(bent[bent.size() / 2] ^ 1);
    fs::remove(path);  // not the store's, which it may be a link to
    std::ofstream(path, std::ios::binary) << bent;
    {
      auto projection = f.start("bent-" + std::to_string(files));
      INFO(path);
      CHECK_THAT(projection->status().began,
                 Catch::Contains(fmt::format("checkpoint of seq {} is refused", newer.seq)) &&
                     Catch::Contains("begins from the checkpoint " + older.dir));
      f.check_whole(*projection);
    }
    fs::remove(path);
    {
      auto projection = f.start("missing-" + std::to_string(files++));
      CHECK_THAT(projection->status().began, Catch::Contains("is refused"));
    }
    std::ofstream(path, std::ios::binary) << bytes;
  }
  CHECK(files > 5);
  for (const auto* dir : {&older.dir, &newer.dir}) std::ofstream(*dir + "/files", std::ios::trunc) << "x";
  auto projection = f.start("from-zero");
  CHECK_THAT(projection->status().began, Catch::Contains("begins from the first record"));
  f.check_whole(*projection);
}

// Rows and head that fit each other, in whole files: only the record in the log shows that they are made up.
TEST_CASE("a checkpoint that was made up is found by the record of its seq") {
  Fixture f;
  Scribe liar;
  BusyCloud busy{liar, 47};
  busy.begin();
  for (int i = 0; i < 40; ++i) busy.step();
  REQUIRE(liar.head.hash == f.scribe.head.hash);
  {
    auto store = *Store::open({.dir = f.folder.path("lie")});
    State state(true);
    Head head;
    for (std::size_t i = 0; i < liar.records.size(); ++i) {
      auto& written = liar.records[i];
      fold(state, written.record);
      if (i + 1 == liar.records.size()) {
        auto& cloud = state.cloud.edit({});
        cloud.name = "mine";
        state.settle();
        written.record.digest = state.digest();
      }
      head = advance(head, written.record, written.hash, static_cast<std::int64_t>(i + i / 7));
      store->add(written.record, head, written.bytes, state.take_changes(), {});
    }
    REQUIRE(store->flush("memory:").ok());
    REQUIRE(make_checkpoint(*store->snapshot()->families, f.checkpoints()).ok());
  }
  auto projection = f.start("believer");
  CHECK_THAT(projection->status().began, Catch::Contains("begins from the checkpoint"));
  REQUIRE(f.caught_up(*projection).ok());
  CHECK_THAT(projection->status().rebuilt_because, Catch::Contains("but the record says"));
  CHECK(projection->digest() == f.scribe.state.digest());
}

TEST_CASE("another cloud's checkpoint is refused") {
  Fixture f;
  f.make();
  const CloudId theirs = make_id<CloudId>(99);
  Scribe scribe;
  scribe.write({CloudCreated{.cloud = theirs, .log = make_id<LogId>(98), .name = "other"}});
  MemoryLog log;
  log.write(scribe.records[0].bytes);
  auto projection = Projection::open(
      log, {.store = {.dir = f.folder.path("theirs")}, .cloud = theirs, .checkpoints = f.checkpoints()});
  REQUIRE(projection.ok());
  CHECK_THAT((*projection)->status().began,
             Catch::Contains("it is of cloud") && Catch::Contains("from the first record"));
}

TEST_CASE("the newest are kept, and what was cut off goes") {
  Fixture f(5);
  std::vector<Checkpoint> made;
  for (int i = 0; i < 4; ++i) {
    made.push_back(f.make());
    f.go_on(3);
  }
  const auto projection = f.start("store");
  REQUIRE(f.caught_up(*projection).ok());
  fs::create_directories(f.checkpoints() + "/.new/half");
  REQUIRE(prune_checkpoints(f.checkpoints(), 2).ok());
  const auto left = list_checkpoints(f.checkpoints());
  REQUIRE(left.size() == 2);
  CHECK(left[0].dir == made[3].dir);
  CHECK(left[1].dir == made[2].dir);
  CHECK(!fs::exists(f.checkpoints() + "/.new"));
  REQUIRE(make_checkpoint(*projection->snapshot()->families, f.checkpoints()).ok());
  CHECK(list_checkpoints(f.checkpoints()).size() == 3);
  const auto twice = make_checkpoint(*projection->snapshot()->families, f.checkpoints());
  REQUIRE(twice.ok());
  CHECK(twice->bytes > 0);
  CHECK(list_checkpoints(f.checkpoints()).size() == 3);
}

}  // namespace
}  // namespace reprise
