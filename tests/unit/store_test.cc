#include "projections/store.h"

#include <fcntl.h>
#include <rocksdb/comparator.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <thread>

#include "projections/replay.h"
#include "projections/runner.h"
#include "projections/view.h"
#include "tests/unit/memory_log.h"
#include "tests/unit/story.h"
#include "tests/unit/temporary_folder.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

using namespace testing;

StoreOptions small(std::string dir) {
  return {.dir = std::move(dir), .write_buffer_bytes = 256u << 10, .tail_bytes = 256u << 10};
}

std::unique_ptr<Store> open(const StoreOptions& options) {
  auto store = Store::open(options);
  INFO((store ? "" : store.error().text));
  REQUIRE(store.ok());
  return std::move(*store);
}

// Folds a record and puts it into the pending batch, as the projection does.
void add(Store& store, State& state, Head& head, const Record& record, const Bytes& bytes,
         std::int64_t offset) {
  Step step = read_step(head, store, {offset, bytes});
  if (step.verdict != Verdict::extends || !apply_step(state, head, step)) std::abort();
  store.add(record, head, bytes, state.take_changes(), notes_of(record).objects);
}

// A busy cloud's records, made once.
const std::vector<Written>& history() {
  static const auto records = [] {
    Scribe scribe;
    BusyCloud busy(scribe, 5);
    busy.begin();
    for (int i = 0; i < 200; ++i) busy.step();
    return std::move(scribe.records);
  }();
  return records;
}

TEST_CASE("what is flushed is there after a reopen, whatever the batches") {
  for (const std::size_t batch : {1u, 7u, 1000u}) {
    INFO("batches of " << batch);
    TemporaryFolder folder;
    State state(true);
    Head head;
    {
      auto store = open(small(folder.path()));
      CHECK(store->head().head.seq == 0);
      std::size_t n = 0;
      for (const auto& written : history()) {
        add(*store, state, head, written.record, written.bytes, static_cast<std::int64_t>(2 * n));
        if (++n % batch == 0) REQUIRE(store->flush("memory:").ok());
      }
      REQUIRE(store->flush("memory:").ok());
    }
    auto store = open(small(folder.path()));
    CHECK(store->head().head == head);
    CHECK(store->head().digest == state.digest());
    CHECK(store->head().cloud == state.the_cloud().id);
    CHECK(store->head().origin == head.log);
    CHECK(store->head().place == "memory:");
    CHECK(store->head().next_offset == head.offset + 1);
    const auto loaded = load_state(View::now(store->snapshot()), true);
    REQUIRE(loaded.ok());
    CHECK(image_of(*loaded) == image_of(state));
  }
}

TEST_CASE("what was never flushed is not there, nor half of it") {
  TemporaryFolder folder;
  State state(true);
  Head head;
  {
    auto store = open(small(folder.path()));
    for (std::size_t i = 0; i < 20; ++i) {
      add(*store, state, head, history()[i].record, history()[i].bytes, static_cast<std::int64_t>(i));
      if (i == 9) REQUIRE(store->flush("memory:").ok());
    }
    CHECK(store->contains(history()[15].hash));
  }
  auto store = open(small(folder.path()));
  CHECK(store->head().head.seq == 10);
  CHECK(store->contains(history()[9].hash));
  CHECK(!store->contains(history()[10].hash));
  CHECK(load_state(View::now(store->snapshot())).ok());
}

TEST_CASE("void records are remembered and counted, a copy of a folded one keeps its seq") {
  TemporaryFolder folder;
  const Hash stray = history()[50].hash;
  State state(true);
  Head head;
  {
    auto store = open(small(folder.path()));
    add(*store, state, head, history()[0].record, history()[0].bytes, 0);
    store->add_void(stray, 1);
    store->add_void(history()[0].hash, 2);
    CHECK(store->contains(stray));
    REQUIRE(store->flush("memory:").ok());
  }
  auto store = open(small(folder.path()));
  CHECK(store->head().voids == 2);
  CHECK(store->head().next_offset == 3);
  CHECK(store->contains(stray));
  const View view = View::now(store->snapshot());
  CHECK(view.seq_of(stray) == 0u);
  CHECK(view.seq_of(history()[0].hash) == 1u);
  CHECK(view.seq_of(history()[70].hash) == std::nullopt);
}

TEST_CASE("the tail keeps the newest records within its bytes, however often the store is opened") {
  TemporaryFolder folder;
  StoreOptions options = small(folder.path());
  auto store = open(options);
  State state(true);
  Head head;
  Scribe scribe;
  BusyCloud busy(scribe, 6);
  busy.begin();
  const std::string filler(8000, 'x');
  std::size_t written = 0;
  for (int i = 0; i < 300; ++i) {
    std::string noise = filler;  // that does not compress
    for (std::size_t j = 0; j < noise.size(); ++j) noise[j] = static_cast<char>((i * 7919 + j * j * 31) >> 3);
    scribe.write({ProjectUpdated{.id = make_id<ProjectId>(1, 0x04), .name = "demo", .description = noise}});
  }
  for (const auto& record : scribe.records) {
    add(*store, state, head, record.record, record.bytes, static_cast<std::int64_t>(written++));
    REQUIRE(store->flush("memory:").ok());
    if (written % 7 > 0) continue;
    store.reset();
    store = open(options);
  }
  const View view = View::now(store->snapshot());
  std::size_t kept = 0, bytes_kept = 0;
  for (Seq seq = 1; seq <= view.seq(); ++seq)
    if (const auto bytes = view.tail(seq)) {
      CHECK(*bytes == scribe.records[seq - 1].bytes);
      ++kept;
      bytes_kept += bytes->size();
    }
  CHECK(kept < scribe.records.size());
  CHECK(bytes_kept <= options.tail_bytes);
  CHECK(bytes_kept >= options.tail_bytes / 2 - 20'000);
  CHECK(view.tail(view.seq()).has_value());
}

TEST_CASE("after a wipe nothing is left, and views of before still read") {
  TemporaryFolder folder;
  State state(true);
  Head head;
  {
    auto store = open(small(folder.path()));
    for (std::size_t i = 0; i < 40; ++i)
      add(*store, state, head, history()[i].record, history()[i].bytes, static_cast<std::int64_t>(i));
    REQUIRE(store->flush("memory:").ok());
    const View before = View::now(store->snapshot());
    REQUIRE(store->wipe().ok());
    CHECK(store->head().head.seq == 0);
    CHECK(!store->contains(history()[3].hash));
    CHECK(View::now(store->snapshot()).count<Server>() == 0);
    const auto loaded = load_state(before);
    REQUIRE(loaded.ok());
    CHECK(image_of(*loaded) == image_of(state));
    State again(true);
    Head head_again;
    for (std::size_t i = 0; i < 30; ++i)
      add(*store, again, head_again, history()[i].record, history()[i].bytes, static_cast<std::int64_t>(i));
    REQUIRE(store->flush("memory:").ok());
  }
  auto store = open(small(folder.path()));
  CHECK(store->head().head.seq == 30);
  CHECK(load_state(View::now(store->snapshot())).ok());
  const auto at = View::at(store->snapshot(), 20);
  REQUIRE(at.ok());
  CHECK(load_state(*at).ok());
}

TEST_CASE("a store that cannot be used says why and what to do") {
  TemporaryFolder folder;
  const auto error = [](const StoreOptions& options) {
    const auto store = Store::open(options);
    REQUIRE(!store.ok());
    return store.error();
  };
  CHECK(error({.dir = folder.path("none"), .read_only = true}).code == Errc::not_found);
  std::ofstream(folder.path("file")) << "x";
  CHECK(error(small(folder.path("file"))).code != Errc::ok);
  State state(true);
  Head head;
  {
    auto store = open(small(folder.path("store")));
    add(*store, state, head, history()[0].record, history()[0].bytes, 0);
    REQUIRE(store->flush("memory:").ok());
    const auto second = error(small(folder.path("store")));
    CHECK(second.code == Errc::denied);
    CHECK_THAT(second.text, Catch::Contains("in use") && Catch::Contains(folder.path("store")));
    auto reader = open({.dir = folder.path("store"), .read_only = true});  // beside the writer
    CHECK(reader->head().head == head);
  }
  for (const auto& file : std::filesystem::directory_iterator(folder.path("store")))
    if (file.path().filename().string().starts_with("MANIFEST"))
      std::ofstream(file.path()) << "not a manifest at all";
  const auto damaged = error(small(folder.path("store")));
  CHECK(damaged.code == Errc::conflict);
  CHECK_THAT(damaged.text, Catch::Contains("damaged") && Catch::Contains("anew from the log"));
}

// Changes the store behind its back, as no crash could.
void tamper(const std::string& dir, const std::string& family, const std::string& key,
            const std::string& value) {
  std::vector<rocksdb::ColumnFamilyDescriptor> all;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  for (const char* name : {"default", "now", "history", "trail", "tail"}) {
    rocksdb::ColumnFamilyOptions options;
    if (std::string(name) == "history")
      REQUIRE(
          rocksdb::Comparator::CreateFromString({}, "leveldb.BytewiseComparator.u64ts", &options.comparator)
              .ok());
    all.emplace_back(name, options);
  }
  rocksdb::DB* db = nullptr;
  const auto opened = rocksdb::DB::Open({}, dir, all, &handles, &db);
  INFO(opened.ToString());
  REQUIRE(opened.ok());
  for (auto* handle : handles) {
    if (handle->GetName() == family) REQUIRE(db->Put({}, handle, key, value).ok());
    REQUIRE(db->DestroyColumnFamilyHandle(handle).ok());
  }
  delete db;
}

TEST_CASE("rows that are not what was folded are found when they are loaded") {
  TemporaryFolder folder;
  State state(true);
  Head head;
  {
    auto store = open(small(folder.path()));
    for (std::size_t i = 0; i < 30; ++i)
      add(*store, state, head, history()[i].record, history()[i].bytes, static_cast<std::int64_t>(i));
    REQUIRE(store->flush("memory:").ok());
  }
  const auto project = make_id<ProjectId>(1, 0x04);
  auto row = state.projects.at(project);
  row.name = "another";
  tamper(folder.path(), "now", row_key(Project::table, encode_key(project)), encode_row(row));
  {
    auto store = open(small(folder.path()));
    const auto loaded = load_state(View::now(store->snapshot()));
    REQUIRE(!loaded.ok());
    CHECK(loaded.error().code == Errc::conflict);
    CHECK_THAT(loaded.error().text, Catch::Contains("digest"));
  }
  tamper(folder.path(), "now", row_key(Project::table, encode_key(project)), "\x7fnonsense");
  {
    auto store = open(small(folder.path()));
    const View view = View::now(store->snapshot());
    CHECK(!view.find<Project>(project));
    CHECK(view.status().error().code == Errc::conflict);
    CHECK(load_state(view).error().code == Errc::conflict);
    CHECK_THAT(store->damage(), Catch::Contains("does not decode"));
  }
  tamper(folder.path(), "default", "head", std::string("\x01\x63", 2));
  CHECK(Store::open(small(folder.path())).error().code == Errc::unsupported);
  tamper(folder.path(), "default", "head", "\x7f");
  CHECK(Store::open(small(folder.path())).error().code == Errc::conflict);
}

// A projection of the history's first records, and what it does until it has folded them all.
struct Followed {
  explicit Followed(const std::string& dir) : folder(dir) {
    for (std::size_t i = 0; i < 30; ++i) log.write(history()[i].bytes);
  }
  void follow(const std::function<void(Projection&)>& then) {
    auto opened = Projection::open(log, {.store = small(folder)});
    INFO((opened ? "" : opened.error().text));
    REQUIRE(opened.ok());
    (*opened)->start();
    wait(**opened);
    then(**opened);
  }
  static void wait(Projection& projection) {
    std::promise<Status> promise;
    projection.fresh([&](const Status& status) { promise.set_value(status); });
    const auto status = promise.get_future().get();
    INFO((status ? "" : status.error().text));
    REQUIRE(status.ok());
  }
  const std::string folder;
  MemoryLog log;
};

TEST_CASE("a damaged store is made anew from the log: when it is opened, and when a reader meets the damage") {
  TemporaryFolder folder;
  Followed cloud(folder.path("store"));
  const auto whole = [](Projection& projection) {
    CHECK(projection.digest() == history()[29].record.digest);
    for (Seq seq = 1; seq <= 30; ++seq) REQUIRE(projection.view_at(seq).ok());
  };
  cloud.follow([&](Projection& projection) {
    whole(projection);
    CHECK(projection.status().rebuilt_because == "");
  });
  SECTION("a file that RocksDB cannot read: it is set aside") {
    for (const auto& file : std::filesystem::directory_iterator(cloud.folder))
      if (file.path().filename().string().starts_with("MANIFEST")) std::ofstream(file.path()) << "noise, and more noise";
    cloud.follow([&](Projection& projection) {
      whole(projection);
      CHECK_THAT(projection.status().rebuilt_because, Catch::Contains("damaged"));
    });
    CHECK(std::filesystem::exists(cloud.folder + ".damaged/CURRENT"));
  }
  SECTION("the end of a write-ahead log is missing, and the next one is there") {
    cloud.follow([](Projection&) {});  // a log of its own
    tamper(cloud.folder, "tail", tail_key(1000), "x");
    std::vector<std::filesystem::path> logs;
    for (const auto& file : std::filesystem::directory_iterator(cloud.folder))
      if (file.path().extension() == ".log" && file.file_size() > 0) logs.push_back(file.path());
    std::sort(logs.begin(), logs.end());
    REQUIRE(logs.size() == 1);
    // Two of them, of which the first lacks its last write: as a copy made meanwhile may have it.
    const auto next = std::filesystem::path(cloud.folder) / "999999.log";
    std::filesystem::copy_file(logs[0], next);
    cloud.follow([&](Projection& projection) {
      whole(projection);
      CHECK_THAT(projection.status().rebuilt_because, Catch::Contains("999999.log begins with"));
    });
  }
  SECTION("a row that somebody reads") {
    tamper(cloud.folder, "trail", line_key(5), "\x7fnonsense");
    cloud.follow([&](Projection& projection) {
      CHECK(projection.status().rebuilt_because == "");
      CHECK(projection.view_at(5).error().code == Errc::conflict);
      // The projection's own thread makes it anew: what is read then is whole.
      while (!projection.view_at(5).ok()) std::this_thread::yield();
      Followed::wait(projection);
      whole(projection);
    });
    cloud.follow([&](Projection& projection) { CHECK(projection.status().rebuilt_because == ""); });
  }
}

// --- kill -9
// ------------------------------------------------------------------------------------------------

constexpr const char* child_dir = "REPRISE_STORE_TEST_DIR";

// Not a test: the child of the one below. Goes on from the head, in batches, and says how far it is.
TEST_CASE("child that writes until it is killed", "[.child]") {
  const char* dir = std::getenv(child_dir);
  REQUIRE(dir);
  auto store = open(small(dir));
  auto state = load_state(View::now(store->snapshot()), true);
  if (!state) std::abort();
  Head head = store->head().head;
  sim::Prng prng(static_cast<std::uint64_t>(getpid()));
  while (true) {
    if (head.seq == history().size()) {  // from the beginning, so that wiping is hit as well
      if (!store->wipe()) std::abort();
      *state = State(true);
      head = {};
    }
    const auto& next = history()[head.seq];
    add(*store, *state, head, next.record, next.bytes, static_cast<std::int64_t>(head.seq));
    if (prng.chance(400) && !store->flush("memory:")) std::abort();
    if (prng.chance(400) && write(3, "x", 1) != 1) std::abort();
  }
}

TEST_CASE("killed at any moment, the store is as it was after some batch") {
  TemporaryFolder folder;
  sim::Prng prng(9);
  Seq furthest = 0;
  for (int round = 0; round < 12; ++round) {
    int pipe_ends[2];
    REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 3);
    std::string self = std::filesystem::read_symlink("/proc/self/exe").string(), which = "[.child]",
                output = "--out=/dev/null";
    std::string variable = std::string(child_dir) + "=" + folder.path();
    char* arguments[] = {self.data(), which.data(), output.data(), nullptr};
    char* environment[] = {variable.data(), nullptr};
    pid_t child = 0;
    REQUIRE(posix_spawn(&child, self.c_str(), &actions, nullptr, arguments, environment) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_ends[1]);
    char byte = 0;
    for (auto reads = prng.below(90); reads > 0 && read(pipe_ends[0], &byte, 1) == 1; --reads) {
    }
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    close(pipe_ends[0]);

    auto store = open(small(folder.path()));
    const Seq seq = store->head().head.seq;
    furthest = std::max(furthest, seq);
    if (seq > 0) CHECK(store->head().head.hash == history()[seq - 1].hash);
    const auto loaded = load_state(View::now(store->snapshot()));
    INFO((loaded ? "" : loaded.error().text));
    REQUIRE(loaded.ok());
    for (const Seq past : {seq / 2, seq}) {
      if (past == 0) continue;
      const auto view = View::at(store->snapshot(), past);
      REQUIRE(view.ok());
      const auto then = load_state(*view);
      INFO((then ? "" : then.error().text));
      CHECK(then.ok());
    }
  }
  CHECK(furthest > 10);
}

}  // namespace
}  // namespace reprise
