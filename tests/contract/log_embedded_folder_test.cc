// The embedded log's folder: whose it is, what it bears, and what is found when it is damaged.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <map>

#include "events/embedded_log.h"
#include "tests/contract/faulty_disk.h"
#include "tests/contract/log_contract.h"
#include "tests/contract/temporary_folder.h"
#include "tests/sim/prng.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::contract;
namespace fs = std::filesystem;

namespace {

class PlainRig final : public NudgedRig {
 public:
  std::unique_ptr<Log> connect() override { return nullptr; }
  void restart() override {}
  void age(Topic) override {}
  void break_appends() override {}
  void heal() override {}
};

std::unique_ptr<Log> must_open(const std::string& dir, EmbeddedLogOptions options = {}) {
  auto log = open_embedded_log(dir, std::move(options));
  INFO((log ? "" : log.error().text));
  REQUIRE(log.ok());
  return *std::move(log);
}

bool says(const Error& error, const std::string& words) {
  return error.text.find(words) != std::string::npos;
}

struct ReadAll {
  std::vector<Entry> entries;
  Error error;
};

ReadAll read_all(Log& log, Topic topic) {
  ReadAll all;
  auto reader = *log.open_reader(topic, 0, [] {});
  for (;;) {
    auto polled = reader->poll(10);
    if (!polled) all.error = polled.error();
    if (!polled || polled->empty()) return all;
    for (auto& entry : *polled) all.entries.push_back(std::move(entry));
  }
}

void append_numbers(Log& log, Topic topic, int from, int to) {
  PlainRig rig;
  const auto producer = *log.open_producer();
  for (int i = from; i < to; ++i) append_one(rig, *producer, topic, fmt::format("entry number {:060}", i));
}

// A process that appends until we kill it; its standard output is a pipe to us.
class Appender {
 public:
  Appender(const std::string& dir, int round) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const auto number = std::to_string(round);
    char* const argv[] = {const_cast<char*>(LOG_APPENDER), const_cast<char*>(dir.c_str()),
                          const_cast<char*>(number.c_str()), nullptr};
    REQUIRE(::posix_spawn(&pid_, LOG_APPENDER, &actions, nullptr, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    lines_ = ::fdopen(ends[0], "r");
  }
  ~Appender() {
    if (pid_ > 0) kill();
    std::fclose(lines_);
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(pid_, &status, 0) == pid_);
    REQUIRE(WIFSIGNALED(status));  // it did not end by itself
    pid_ = -1;
  }
  // False: it is dead, and all that it said was read.
  bool next(int& topic, int& number, std::int64_t& offset) {
    char line[100];
    if (!std::fgets(line, sizeof line, lines_) || !std::strchr(line, '\n')) return false;
    return std::sscanf(line, "%d %d %ld", &topic, &number, &offset) == 3;
  }

 private:
  pid_t pid_ = -1;
  FILE* lines_ = nullptr;
};

// The one file of the log's that has `part` in its name, and something in it.
std::string file_with(const std::string& dir, const std::string& part) {
  std::string found;
  for (const auto& file : fs::directory_iterator(dir)) {
    const auto name = file.path().filename().string();
    if (name.find(part) != std::string::npos && file.file_size() > 0) found = file.path();
  }
  return found;
}

void flip(const std::string& path, std::size_t at, std::uint8_t bits) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(file.get() ^ bits);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

// Reads a damaged copy. Whatever changed: what is read is right, and it either is everything, or is said to
// be broken, and where. True: the damage was found.
bool find_damage(const std::string& copy, const std::vector<Entry>& whole) {
  const auto damaged = open_embedded_log_read_only(copy);
  if (!damaged) {
    INFO(damaged.error().text);
    REQUIRE(damaged.error().code == Errc::broken);
    REQUIRE(open_embedded_log(copy).error().code == Errc::broken);
    return true;
  }
  const auto all = read_all(**damaged, Topic::events);
  INFO(all.error.text);
  REQUIRE(all.entries.size() <= whole.size());
  for (std::size_t n = 0; n < all.entries.size(); ++n) REQUIRE(all.entries[n].bytes == whole[n].bytes);
  if (all.error.code == Errc::ok) {
    REQUIRE(all.entries.size() == whole.size());
    return false;
  }
  REQUIRE(all.error.code == Errc::broken);
  REQUIRE(says(all.error, fmt::format("events at offset {}", all.entries.size())));
  return true;
}

}  // namespace

TEST_CASE("embedded: killed at any moment, what was answered is there, once, in order") {
  TemporaryFolder folder;
  const auto dir = folder / "log";
  sim::Prng prng(20261122);
  std::map<std::pair<int, std::int64_t>, Bytes> answered;  // of all rounds, by topic and offset
  for (int round = 0; round < 50; ++round) {
    {
      Appender appender(dir, round);
      int topic = 0, number = 0;
      std::int64_t offset = 0;
      const auto enough = prng.below(400);
      for (std::uint64_t seen = 0; appender.next(topic, number, offset); ++seen) {
        answered[{topic, offset}] = fmt::format("{} {}", round, number);
        if (seen == enough) appender.kill();  // and read on what it had said before
      }
    }
    const auto log = must_open(dir);
    for (const Topic topic : {Topic::intents, Topic::reports, Topic::events}) {
      const auto all = read_all(*log, topic);
      REQUIRE(all.error.code == Errc::ok);
      std::map<std::string, int> next;  // by round
      for (std::size_t i = 0; i < all.entries.size(); ++i) {
        const auto& entry = all.entries[i];
        REQUIRE(entry.offset == static_cast<std::int64_t>(i));
        const auto of_round = entry.bytes.substr(0, entry.bytes.find(' '));
        REQUIRE(entry.bytes == fmt::format("{} {}", of_round, next[of_round]++));
      }
      for (const auto& [where, bytes] : answered) {
        if (where.first != static_cast<int>(topic)) continue;
        REQUIRE(static_cast<std::size_t>(where.second) < all.entries.size());
        REQUIRE(all.entries[static_cast<std::size_t>(where.second)].bytes == bytes);
      }
    }
  }
  REQUIRE(answered.size() > 1000);
}

TEST_CASE("embedded: one process at a time, and the next one is told who it is") {
  TemporaryFolder folder;
  const auto dir = folder / "log";
  auto log = must_open(dir);
  const auto second = open_embedded_log(dir);
  REQUIRE(second.error().code == Errc::denied);
  REQUIRE(says(second.error(), dir));
  REQUIRE(says(second.error(), fmt::format("process {} (log_embedded_folder_test)", ::getpid())));
  log.reset();
  {
    Appender appender(dir, 0);
    int topic = 0, number = 0;
    std::int64_t offset = 0;
    REQUIRE(appender.next(topic, number, offset));
    const auto denied = open_embedded_log(dir);
    REQUIRE(denied.error().code == Errc::denied);
    REQUIRE(says(denied.error(), "(log_appender)"));
  }
  REQUIRE(open_embedded_log(dir).ok());
}

TEST_CASE("embedded: a folder that is no log is refused, and nothing in it is changed") {
  TemporaryFolder folder;
  SECTION("a file") {
    std::ofstream(folder / "log") << "x";
    REQUIRE(open_embedded_log(folder / "log").error().code == Errc::invalid);
    REQUIRE(open_embedded_log(folder / "log/deeper").error().code == Errc::invalid);
  }
  SECTION("a folder with something else in it") {
    fs::create_directory(folder / "log");
    std::ofstream(folder / "log/photo.jpg") << "x";
    for (const auto& result :
         {open_embedded_log(folder / "log"), open_embedded_log_read_only(folder / "log")}) {
      REQUIRE(result.error().code == Errc::invalid);
      REQUIRE(says(result.error(), "photo.jpg"));
    }
    REQUIRE(std::distance(fs::directory_iterator(folder / "log"), {}) == 1);
  }
  SECTION("nothing there, and it may not be made") {
    REQUIRE(open_embedded_log(folder / "log", {.create = false}).error().code == Errc::not_found);
    REQUIRE(open_embedded_log_read_only(folder / "log").error().code == Errc::not_found);
    REQUIRE(!fs::exists(folder / "log"));
  }
  SECTION("a log of another cluster") {
    must_open(folder / "log", {.cluster = "blue"});
    const auto wrong = open_embedded_log(folder / "log", {.cluster = "green"});
    REQUIRE(wrong.error().code == Errc::invalid);
    REQUIRE((says(wrong.error(), "'blue'") && says(wrong.error(), "'green'")));
    REQUIRE(open_embedded_log(folder / "log", {.cluster = "blue"}).ok());
    REQUIRE(open_embedded_log(folder / "log").ok());
  }
  SECTION("one whose making was interrupted is made again") {
    must_open(folder / "log");
    fs::rename(folder / "log/reprise-log", folder / "log/reprise-log.new");
    fs::remove(folder / "log/CURRENT");
    REQUIRE(open_embedded_log_read_only(folder / "log").error().code == Errc::not_found);
    append_numbers(*must_open(folder / "log"), Topic::events, 0, 3);
    REQUIRE(read_all(*must_open(folder / "log"), Topic::events).entries.size() == 3);
  }
  SECTION("the folder and those above it are made, for us alone") {
    must_open(folder / "a/b/log");
    struct stat info {};
    REQUIRE(::stat((folder / "a/b/log").c_str(), &info) == 0);
    REQUIRE((info.st_mode & 0777) == 0700);
  }
}

TEST_CASE("embedded: an offline reader reads what is there, also while it is written") {
  TemporaryFolder folder;
  const auto dir = folder / "log";
  auto log = must_open(dir);
  append_numbers(*log, Topic::events, 0, 100);
  auto beside = open_embedded_log_read_only(dir);
  INFO((beside ? "" : beside.error().text));
  REQUIRE(beside.ok());
  REQUIRE(read_all(**beside, Topic::events).entries.size() == 100);
  append_numbers(*log, Topic::events, 100, 200);  // the writer is not disturbed
  REQUIRE(read_all(**beside, Topic::events).entries.size() == 100);
  log.reset();
  auto after = open_embedded_log_read_only(dir);
  REQUIRE(after.ok());
  const auto all = read_all(**after, Topic::events);
  REQUIRE((all.error.code == Errc::ok && all.entries.size() == 200));
  REQUIRE((*after)->open_producer().error().code == Errc::unsupported);
  REQUIRE(!(*after)->stand([] {})->elected());
  REQUIRE(must_open(dir) != nullptr);  // it holds nothing back
}

TEST_CASE("embedded: a byte that changed is found, and where") {
  TemporaryFolder folder;
  const auto dir = folder / "log", copy = folder / "copy";
  auto log = must_open(dir);
  append_numbers(*log, Topic::events, 0, 20);
  const auto file_kind = GENERATE(as<std::string>(), ".log", ".sst", "MANIFEST-");
  CAPTURE(file_kind);
  if (file_kind != ".log") {  // opened again, the write-ahead log becomes a table
    log.reset();
    log = must_open(dir);
  }
  const auto whole = read_all(*log, Topic::events).entries;
  fs::copy(dir, copy, fs::copy_options::recursive);
  const auto file = file_with(copy, file_kind);
  REQUIRE(!file.empty());
  REQUIRE(!find_damage(copy, whole));
  const auto size = fs::file_size(file);
  sim::Prng prng(7);
  int found = 0;
  const auto try_byte = [&](std::size_t at) {
    const auto bits = static_cast<std::uint8_t>(1u << prng.below(8));
    CAPTURE(at, bits);
    flip(file, at, bits);
    found += find_damage(copy, whole);
    flip(file, at, bits);
  };
  for (int i = 0; i < 100; ++i) try_byte(prng.below(size));
  REQUIRE(found > 80);
  if (file_kind == ".log") {  // every byte of two records with their headers
    found = 0;
    for (std::size_t at = size - 200; at < size; ++at) try_byte(at);
    REQUIRE(found == 200);
  }
}

TEST_CASE("embedded: heartbeats alone are not synced, everything else is") {
  TemporaryFolder folder;
  FaultyDisk disk;
  PlainRig rig;
  const auto log = must_open(folder / "log", {.env = disk.env()});
  const auto producer = *log->open_producer();
  const int before = disk.syncs();
  for (int i = 0; i < 10; ++i) append_one(rig, *producer, Topic::heartbeats, "beat");
  REQUIRE(disk.syncs() == before);
  for (int i = 0; i < 10; ++i) append_one(rig, *producer, Topic::reports, "report");
  REQUIRE(disk.syncs() == before + 10);
}

TEST_CASE("embedded: many that append at once share their syncs") {
  TemporaryFolder folder;
  FaultyDisk disk;
  PlainRig rig;
  const auto log = must_open(folder / "log", {.env = disk.env()});
  const auto producer = *log->open_producer();
  Answers answers(rig);
  const int before = disk.syncs();
  for (int i = 0; i < 2000; ++i) producer->append(Topic::intents, "intent", answers.next());
  REQUIRE(rig.await([&] { return answers.all(); }));
  REQUIRE(answers.count_ok() == 2000);
  REQUIRE(disk.syncs() - before < 1000);
}

TEST_CASE("embedded: a full disk is said as such, and when there is space again it goes on") {
  TemporaryFolder folder;
  FaultyDisk disk;
  PlainRig rig;
  const auto log = must_open(folder / "log", {.env = disk.env()});
  append_numbers(*log, Topic::events, 0, 10);
  auto producer = *log->open_producer();
  disk.set(FaultyDisk::Fault::full);
  Answers answers(rig);
  producer->append(Topic::events, "x", answers.next());
  producer->append(Topic::heartbeats, "x", answers.next());
  REQUIRE(rig.await([&] { return answers.all(); }));
  REQUIRE(answers[0].error().code == Errc::no_space);
  REQUIRE(says(answers[0].error(), folder / "log"));
  REQUIRE(says(answers[0].error(), "free some space"));
  REQUIRE(log->open_producer().error().code == Errc::no_space);
  REQUIRE(read_all(*log, Topic::events).entries.size() == 10);  // reading goes on
  disk.set(FaultyDisk::Fault::none);
  append_numbers(*log, Topic::events, 10, 20);
  const auto all = read_all(*log, Topic::events).entries;
  REQUIRE(all.size() >= 20);
  REQUIRE(all.back().bytes == fmt::format("entry number {:060}", 19));
}

TEST_CASE(
    "embedded: retention drops the old, keeps the last, and offsets go on after an outage longer than it") {
  TemporaryFolder folder;
  std::atomic<std::int64_t> now_ms = 1'700'000'000'000;
  EmbeddedLogOptions options{.sweep_ms = 0, .now_ms = [&] { return now_ms.load(); }};
  auto log = must_open(folder / "log", options);
  for (const Topic topic : all_topics) append_numbers(*log, topic, 0, 50);
  log.reset();
  now_ms += topic_rules(Topic::intents).retention_ms + 1;
  log = must_open(folder / "log", options);
  for (const Topic topic : all_topics) REQUIRE(read_all(*log, topic).entries.size() == 50);
  append_numbers(*log, Topic::heartbeats, 50, 51);
  append_numbers(*log, Topic::heartbeats, 51,
                 52);  // sweeping follows an append: the second one finds it done
  REQUIRE(*log->begin(Topic::heartbeats) == 50);
  REQUIRE(*log->begin(Topic::reports) == 49);
  REQUIRE(*log->begin(Topic::intents) == 49);
  REQUIRE(*log->begin(Topic::events) == 0);
  log.reset();
  log = must_open(folder / "log", options);
  REQUIRE(*log->begin(Topic::intents) == 49);
  const auto last = read_all(*log, Topic::intents).entries;
  REQUIRE((last.size() == 1 && last[0].offset == 49));
  append_numbers(*log, Topic::intents, 50, 51);
  REQUIRE(read_all(*log, Topic::intents).entries.back().offset == 50);
}

TEST_CASE("embedded: what was dropped and what was kept agree when the power goes right after") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    TemporaryFolder folder;
    FaultyDisk disk(true);
    std::atomic<std::int64_t> now_ms = 1'700'000'000'000;
    EmbeddedLogOptions options{.sweep_ms = 0, .now_ms = [&] { return now_ms.load(); }};
    append_numbers(*must_open(folder / "log", options), Topic::heartbeats, 0, 50);
    options.env = disk.env();
    auto log = must_open(folder / "log", options);  // what was there is a file now, which can go as a whole
    now_ms += topic_rules(Topic::heartbeats).retention_ms + 1;
    append_numbers(*log, Topic::heartbeats, 50, 51);
    append_numbers(*log, Topic::heartbeats, 51, 52);  // answered once the sweep is done
    REQUIRE(*log->begin(Topic::heartbeats) == 50);
    disk.set(FaultyDisk::Fault::gone);
    log.reset();
    sim::Prng prng(seed);
    disk.lose_power(prng);
    options.env = nullptr;
    log = must_open(folder / "log", options);
    const auto all = read_all(*log, Topic::heartbeats);
    REQUIRE(all.error.code == Errc::ok);
    REQUIRE(all.entries.size() >= 1);
    REQUIRE(all.entries[0].offset == 50);
  }
}
