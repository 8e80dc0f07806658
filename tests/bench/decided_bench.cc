// Intents decided and durable on the embedded log, in process, against group-committed synced appends of
// the same bytes.
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <random>
#include <thread>

#include "controlplane/cli/genesis.h"
#include "controlplane/controller.h"
#include "events/embedded_log.h"
#include "tests/bench/bench.h"

namespace reprise::bench {
namespace {

constexpr std::uint64_t intents_total = 60'000;
constexpr std::uint64_t outstanding_max = 512;

// Woken by the log's threads.
class Bell {
 public:
  void ring() {
    {
      std::lock_guard lock(mutex_);
      rung_ = true;
    }
    changed_.notify_one();
  }
  void wait(std::int64_t ms) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return rung_; });
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
};

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::unique_ptr<Log> fresh_log(const std::string& dir) {
  std::filesystem::remove_all(dir);
  auto log = open_embedded_log(dir, {.cluster = "bench"});
  CHECK(log.ok());
  return std::move(*log);
}

// Appends all, never more than `outstanding_max` unanswered: what 512 clients would do.
double append_all(Producer& producer, Topic topic, const std::vector<Bytes>& bytes) {
  Bell bell;
  std::atomic<std::uint64_t> answered = 0;
  return seconds([&] {
    for (std::uint64_t sent = 0; sent < bytes.size(); ++sent) {
      while (sent - answered >= outstanding_max) bell.wait(100);
      producer.append(topic, bytes[sent], [&](Result<std::int64_t> offset) {
        CHECK(offset.ok());
        ++answered;
        bell.ring();
      });
    }
    while (answered < bytes.size()) bell.wait(100);
  });
}

}  // namespace

void decided(const std::string& dir) {
  Cloud cloud(64, false);
  std::vector<Bytes> bytes;
  const std::int64_t wall = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  for (std::uint64_t i = 1; i <= intents_total; ++i) {
    Intent intent = cloud.create_server(i);
    intent.expires_ms = wall + 3'600'000;
    bytes.push_back(encode(intent));
  }
  double raw = 0;
  {
    auto log = fresh_log(dir + "/raw-log");
    auto producer = log->open_producer();
    CHECK(producer.ok());
    raw = append_all(**producer, Topic::intents, bytes);
  }
  auto log = fresh_log(dir + "/log");
  auto producer = log->open_producer();
  CHECK(producer.ok());
  Bell bell;
  State state = cloud.state.copy(false, true);
  Head head{.log = {1, 2}, .level = 1, .seq = cloud.seq, .hash = blake2b("bench"), .at_ms = cloud.at_ms};
  std::mt19937_64 random(1);
  Controller controller({.log = log.get(), .random = [&] { return random(); }, .wake = [&] { bell.ring(); }, .say = [](const std::string&) {}},
                        {.host = "bench"}, std::move(state), head);
  const auto step = [&] {
    const std::int64_t steady = now_ms();
    return controller.step({steady, wall + steady - now_ms()}) - steady;
  };
  while (controller.status().role != Controller::Role::leading) bell.wait(std::max<std::int64_t>(1, std::min<std::int64_t>(step(), 50)));
  double deciding = 0;
  std::thread appender([&] { append_all(**producer, Topic::intents, bytes); });
  deciding = seconds([&] {
    while (controller.state().servers.size() < intents_total || controller.head().seq == 0) {
      bell.wait(std::max<std::int64_t>(1, std::min<std::int64_t>(step(), 50)));
      CHECK(controller.status().role != Controller::Role::stopped);
    }
  });
  appender.join();
  print({.name = "decided_in_process", .value = intents_total / deciding, .unit = "intents/s", .goal = 20'000});
  print({.name = "decided_against_appends", .value = intents_total / deciding, .unit = "intents/s", .limit = intents_total / raw});
}

}  // namespace reprise::bench
