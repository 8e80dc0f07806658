// The verification in the background: it reaches the head, goes on after a restart, and finds what is not
// right.
#include "controlplane/cli/log_patrol.h"

#include <fmt/format.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <fstream>

#include "controlplane/cli/state_folder.h"
#include "controlplane/cli/terminal.h"
#include "tests/unit/api_rig.h"

using namespace reprise;
using namespace reprise::cli;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 20s;

// The rig's log, as a damaged disk would give it: one entry's bytes are others; or no more than so many are
// there.
class DamagedLog final : public Log {
 public:
  explicit DamagedLog(Log& log) : log_(log) {}
  std::atomic<std::int64_t> damaged{-1};  // the offset of the entry that differs
  std::function<Bytes(Bytes)> damage;
  std::atomic<std::int64_t> readable{INT64_MAX};  // entries before this offset
  std::atomic<std::int64_t> first_read{-1};       // where the last reader began

  Result<std::unique_ptr<Producer>> open_producer() override { return log_.open_producer(); }
  Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset,
                                              std::function<void()> wake) override {
    first_read = offset;
    auto reader = log_.open_reader(topic, offset, std::move(wake));
    if (!reader) return reader.error();
    return std::unique_ptr<Reader>(std::make_unique<DamagedReader>(*this, std::move(*reader)));
  }
  void end(Topic topic, Answer answer) override { log_.end(topic, std::move(answer)); }
  Result<std::int64_t> begin(Topic topic) override { return log_.begin(topic); }
  std::unique_ptr<Candidacy> stand(std::function<void()> wake) override {
    return log_.stand(std::move(wake));
  }
  std::string place() const override { return log_.place(); }

 private:
  class DamagedReader final : public Reader {
   public:
    DamagedReader(DamagedLog& owner, std::unique_ptr<Reader> reader)
        : owner_(owner), reader_(std::move(reader)) {}
    Result<std::vector<Entry>> poll(std::size_t) override {
      if (reader_->position() >= owner_.readable) return Error{Errc::unreachable, "no broker answers"};
      auto entries = reader_->poll(1);  // so that a round can be stopped anywhere
      if (entries)
        for (auto& entry : *entries)
          if (entry.offset == owner_.damaged) entry.bytes = owner_.damage(std::move(entry.bytes));
      return entries;
    }
    std::int64_t position() const override { return reader_->position(); }

   private:
    DamagedLog& owner_;
    const std::unique_ptr<Reader> reader_;
  };
  Log& log_;
};

// A cloud of some records, and a patrol over its log.
struct Beat {
  Beat() : log(*rig.log) {
    for (int i = 0; i < 12; ++i)
      REQUIRE(rig.ask("POST", "/network/v2.0/networks", fmt::format(R"({{"network":{{"name":"n{}"}}}})", i))
                  .status() == 201);
    head = rig.projection->head();
  }
  void start(std::chrono::milliseconds pause = 1h) {
    patrol.emplace(
        log, *rig.projection,
        LogPatrolOptions{
            .cpu_share = 1, .pause = pause, .retry = 1ms, .save_every = 0ms, .file = folder.path("verified")},
        [this](const std::string& words) {
          const std::lock_guard lock(mutex);
          said.push_back(words);
          changed.notify_all();
        });
  }
  // Until it has said a line with that in it; the line. What was said before is forgotten.
  std::string until(const std::string& part) {
    std::unique_lock lock(mutex);
    std::string found;
    const bool came = changed.wait_for(lock, patience, [&] {
      while (!said.empty() && found.empty()) {
        if (said.front().find(part) != std::string::npos) found = said.front();
        said.pop_front();
      }
      return !found.empty();
    });
    INFO("waiting for: " << part);
    REQUIRE(came);
    return found;
  }
  std::string words() const {
    story::Running running{.verification = patrol->status()};
    return *status_text(story::status_json(rig.projection->view(), &running), false);
  }

  api::ApiRig rig;
  DamagedLog log;
  Head head;
  reprise::testing::TemporaryFolder folder;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> said;
  std::optional<LogPatrol> patrol;  // last: it ends first
};

}  // namespace

TEST_CASE("patrol: a good log is verified up to the head, and status and metrics say so") {
  Beat beat;
  beat.start();
  const auto said = beat.until("is good");
  CHECK(said.find(fmt::format("up to seq {}, head {}", beat.head.seq, beat.head.hash.hex())) !=
        std::string::npos);
  const auto status = beat.patrol->status();
  CHECK(status.state == "resting");
  CHECK(status.whole_seq == beat.head.seq);
  CHECK(status.broken.empty());
  CHECK(status.next_ms > status.whole_ms);
  CHECK(beat.words().find(fmt::format("verified up to seq {} at 20", beat.head.seq)) != std::string::npos);

  prometheus::Registry registry;
  count(registry, status), count(registry, status);
  const auto text = prometheus::TextSerializer().Serialize(registry.Collect());
  CHECK(text.find(fmt::format("reprise_verification{{value=\"whole_seq\"}} {}\n", beat.head.seq)) !=
        std::string::npos);
  CHECK(text.find("reprise_verification{value=\"broken\"} 0\n") != std::string::npos);

  // It was verified a moment ago: the next process rests too.
  beat.patrol.reset();
  beat.log.first_read = -1;
  beat.start();
  beat.patrol->stop();
  CHECK(beat.patrol->status().whole_seq == beat.head.seq);
  CHECK(beat.log.first_read == -1);
}

TEST_CASE("patrol: round follows round, up to what has come since") {
  Beat beat;
  beat.start(0ms);
  beat.until("is good");
  REQUIRE(beat.rig.ask("POST", "/network/v2.0/networks", R"({"network":{"name":"late"}})").status() == 201);
  beat.until(fmt::format("is good up to seq {}", beat.rig.projection->head().seq));
}

TEST_CASE("patrol: a restart goes on from the last verified record, with the state of then") {
  Beat beat;
  beat.log.readable = 7;
  beat.start();
  beat.until("waits: no broker answers");
  CHECK(beat.patrol->status().seq == 7);
  CHECK(beat.words().find("waits: no broker answers") != std::string::npos);
  beat.patrol.reset();
  beat.log.readable = INT64_MAX;
  beat.start();
  CHECK(beat.until("is good").find(fmt::format("up to seq {}", beat.head.seq)) != std::string::npos);
  CHECK(beat.log.first_read == 7);

  // Not with a file that says something else than what was folded here.
  beat.patrol.reset();
  REQUIRE(write_file(beat.folder.path("verified"),
                     fmt::format("1 5 {} {} 0 0 0\n{}\n", Hash{}.hex(), Hash{}.hex(), beat.log.place())));
  beat.start();
  beat.until("from the first record again");
  beat.until("is good");
  CHECK(beat.log.first_read == 0);
  beat.patrol.reset();
  REQUIRE(write_file(beat.folder.path("verified"), "rubbish"));
  beat.start();
  beat.until("it begins anew");
  beat.until("is good");
}

TEST_CASE("patrol: a record that is another now is named with its seq, and found again after a restart") {
  Beat beat;
  beat.log.damage = [](Bytes bytes) {
    bytes[bytes.size() / 2] ^= 1;
    return bytes;
  };
  beat.log.damaged = 8;  // seq 9: nothing was void here
  beat.start();
  const auto said = beat.until("is broken at offset 8, where seq 9 should be");
  CHECK(said.find("What to do: seq 1 to 8 are proved good") != std::string::npos);
  const auto status = beat.patrol->status();
  CHECK(status.broken_after == 8);
  CHECK(beat.words().find("the log is broken at offset 8, where seq 9 should be") != std::string::npos);
  beat.patrol.reset();
  beat.start();
  beat.until("is broken at offset 8");
  CHECK(beat.log.first_read == 8);
  CHECK(beat.patrol->status().whole_seq == 0);
  beat.patrol.reset();

  // Mended, the next round says that it is good.
  beat.start(0ms);
  beat.until("is broken at offset 8");
  beat.log.damaged = -1;
  beat.until("is good");
  beat.until("is good");
  CHECK(beat.patrol->status().broken.empty());
}

TEST_CASE("patrol: a record that hangs together but is not the one that was folded here") {
  Beat beat;
  beat.log.damage = [](Bytes bytes) {
    auto record = decode_record(bytes);
    REQUIRE(record.ok());
    record->at_ms += 1;
    return encode(*record).bytes;
  };
  beat.log.damaged = static_cast<std::int64_t>(beat.head.seq) - 1;  // the last: nothing after it would tell
  beat.start();
  const auto said = beat.until("the log was changed since");
  CHECK(said.find(beat.head.hash.hex() + " was folded here") != std::string::npos);
}
