// The log on Kafka where the brokers, or their operator, do wrong.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "events/kafka_log.h"
#include "tests/contract/log_contract.h"
#include "tests/system/kafka_brokers.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::contract;

namespace {

class Waiting final : public NudgedRig {
 public:
  std::unique_ptr<Log> connect() override { return nullptr; }
  void restart() override {}
  void age(Topic) override {}
  void break_appends() override {}
  void heal() override {}
};

std::unique_ptr<Log> must_open(const KafkaPlace& place, KafkaLogOptions options = {}) {
  auto log = open_kafka_log(place, std::move(options));
  INFO((log ? "" : log.error().text));
  REQUIRE(log.ok());
  return *std::move(log);
}

bool says(const Error& error, const std::string& words) {
  return error.text.find(words) != std::string::npos;
}

// What brokers were told they show a moment later: opened again until its error (none: Errc::ok) is as wanted.
Result<std::unique_ptr<Log>> open_until(const KafkaPlace& place, const std::function<bool(const Error&)>& as_wanted) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (;;) {
    auto log = open_kafka_log(place);
    if (as_wanted(log ? Error{} : log.error()) || std::chrono::steady_clock::now() >= deadline) return log;
  }
}

// Another process that stands; its words come through a pipe.
class Stander {
 public:
  explicit Stander(const KafkaPlace& place) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    char* const argv[] = {const_cast<char*>(KAFKA_STANDER), const_cast<char*>(place.brokers.c_str()),
                          const_cast<char*>(place.cluster.c_str()), nullptr};
    REQUIRE(::posix_spawn(&pid_, KAFKA_STANDER, &actions, nullptr, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    words_ = ::fdopen(ends[0], "r");
  }
  ~Stander() {
    kill();
    std::fclose(words_);
  }
  std::string next() {
    char line[20] = {};
    return std::fgets(line, sizeof line, words_) ? std::string(line, std::strlen(line) - 1) : "";
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  FILE* words_ = nullptr;
};

}  // namespace

TEST_CASE(
    "kafka: topics that would lose something are refused, all mistakes at once, and taken once mended") {
  auto& brokers = KafkaBrokers::get();
  const auto place = brokers.fresh_place();
  const auto events = place.cluster + ".events", intents = place.cluster + ".intents",
             reports = place.cluster + ".reports";
  brokers.create_topic(
      events, 1, {{"cleanup.policy", "compact"}, {"retention.ms", "1000"}, {"max.message.bytes", "1000"}});
  brokers.create_topic(intents, 1, {{"retention.ms", "60000"}, {"unclean.leader.election.enable", "true"}});
  brokers.create_topic(reports, 3, {{"message.timestamp.type", "LogAppendTime"}});
  const auto refused = open_kafka_log(place);
  REQUIRE(refused.error().code == Errc::invalid);
  INFO(refused.error().text);
  for (const auto& words : {events + " has cleanup.policy=compact, delete is needed",
                            events + " has retention.ms=1000, -1 is needed",
                            events + " has max.message.bytes=1000, at least 922624 is needed",
                            events + " has message.timestamp.type=CreateTime, LogAppendTime is needed",
                            intents + " has retention.ms=60000, at least 604800000 is needed",
                            intents + " has unclean.leader.election.enable=true, false is needed",
                            reports + " has 3 partitions, 1 is needed",
                            "kafka-configs.sh --bootstrap-server " + brokers.bootstrap() +
                                " --alter --entity-type topics --entity-name " + events}) {
    REQUIRE(says(refused.error(), words));
  }
  REQUIRE(!says(refused.error(), reports + " has retention"));  // what is right is not complained of

  // The remedies, followed, but for the topic that cannot be mended: then only that is left.
  brokers.set(events, {{"retention.ms", "-1"}, {"message.timestamp.type", "LogAppendTime"}});
  brokers.set(intents, {{"message.timestamp.type", "LogAppendTime"}, {"retention.ms", "-1"}});
  const auto left =
      open_until(place, [&](const Error& error) { return !says(error, events) && !says(error, intents); });
  REQUIRE(says(left.error(), reports + " has 3 partitions"));
  INFO(left.error().text);
  REQUIRE(!says(left.error(), events));
  REQUIRE(!says(left.error(), intents));

  const auto other = brokers.fresh_place();
  brokers.create_topic(other.cluster + ".events", 1,
                       {{"retention.ms", "1000"}, {"message.timestamp.type", "LogAppendTime"}});
  REQUIRE(open_kafka_log(other).error().code == Errc::invalid);
  brokers.set(other.cluster + ".events",
              {{"retention.ms", "-1"}, {"message.timestamp.type", "LogAppendTime"}});
  REQUIRE(open_until(other, [](const Error& error) { return error.code == Errc::ok; }).ok());
  must_open(other, {.create = false});
}

TEST_CASE("kafka: what cannot be opened says why") {
  auto& brokers = KafkaBrokers::get();
  SECTION("nobody there") {
    const auto result = open_kafka_log({"127.0.0.1:1", "x"}, {.open_deadline_ms = 1500});
    INFO(result.error().text);
    REQUIRE(result.error().code == Errc::unreachable);
    REQUIRE(says(result.error(), "kafka:127.0.0.1:1/x"));
    REQUIRE(says(result.error(), "refused"));
  }
  SECTION("no topics, and they may not be made") {
    const auto place = brokers.fresh_place();
    const auto result = open_kafka_log(place, {.create = false});
    REQUIRE(result.error().code == Errc::not_found);
    REQUIRE(says(result.error(), place.cluster + ".intents"));
  }
  SECTION("settings that librdkafka does not know") {
    const auto result = open_kafka_log(brokers.fresh_place(), {.settings = {{"ssl.ca.localtion", "/x"}}});
    REQUIRE(result.error().code == Errc::invalid);
    REQUIRE(says(result.error(), "ssl.ca.localtion"));
  }
}

TEST_CASE("kafka: a broker that crashes under appends loses nothing and doubles nothing") {
  auto& brokers = KafkaBrokers::get();
  const auto place = brokers.fresh_place();
  Waiting rig;
  const auto log = must_open(place, {.append_deadline_ms = 60'000});
  const auto producer = *log->open_producer();
  Follower follower(rig, *log, Topic::events);
  append_one(rig, *producer, Topic::events, "0");
  Answers answers(rig);
  std::thread crash([&] {
    brokers.kill(1);
    brokers.start(1);
  });
  for (int i = 1; i <= 2000; ++i) producer->append(Topic::events, std::to_string(i), answers.next());
  REQUIRE(rig.await([&] { return answers.all(); }));
  crash.join();
  REQUIRE(answers.count_ok() == 2000);
  REQUIRE(rig.await([&] { return follower.read().size() >= 2001; }));
  REQUIRE(follower.read().size() == 2001);
  for (std::size_t i = 0; i <= 2000; ++i) REQUIRE(follower.read()[i].bytes == std::to_string(i));
  REQUIRE(ask_end(rig, *log, Topic::events) == follower.position());
}

TEST_CASE("kafka: the end cannot be asked of a broker that hangs, and can again when it goes on") {
  auto& brokers = KafkaBrokers::get();
  Waiting rig;
  const auto log = must_open(brokers.fresh_place(), {.ask_deadline_ms = 1000});
  REQUIRE(ask_end(rig, *log, Topic::events) == 0);
  brokers.stop(1);
  Answers ends(rig);
  log->end(Topic::events, ends.next());
  REQUIRE(rig.await([&] { return ends.all(); }));
  brokers.start(1);
  REQUIRE(ends[0].error().code == Errc::unreachable);
  REQUIRE(log->begin(Topic::events).ok());
  REQUIRE(ask_end(rig, *log, Topic::events) == 0);
}

TEST_CASE("kafka: a candidate whose process dies is replaced") {
  auto& brokers = KafkaBrokers::get();
  const auto place = brokers.fresh_place();
  Waiting rig;
  const auto log = must_open(place);
  Stander first(place);
  REQUIRE(first.next() == "elected");
  const auto second = log->stand([&] { rig.nudge(); });
  REQUIRE(!second->elected());
  first.kill();
  REQUIRE(rig.await([&] { return second->elected(); }));
}
