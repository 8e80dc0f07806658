// The log on three Kafka brokers: the leader of the events crashes, another one leads; nothing is lost or
// doubled.
#include <fmt/format.h>

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

}  // namespace

TEST_CASE("kafka: three brokers, and the leader crashes under appends") {
  auto& brokers = KafkaBrokers::get(3);
  const auto place = brokers.fresh_place();
  Waiting rig;
  const auto log = *open_kafka_log(place, {.append_deadline_ms = 60'000, .ask_deadline_ms = 30'000});
  const auto producer = *log->open_producer();
  Follower follower(rig, *log, Topic::events);
  append_one(rig, *producer, Topic::events, "0");
  Answers answers(rig);
  const int leader = brokers.leader_of(place.cluster + ".events");
  REQUIRE(leader >= 1);
  for (int i = 1; i <= 500; ++i) producer->append(Topic::events, std::to_string(i), answers.next());
  brokers.kill(leader);
  for (int i = 501; i <= 1000; ++i) producer->append(Topic::events, std::to_string(i), answers.next());
  REQUIRE(rig.await([&] { return answers.all(); }));
  REQUIRE(answers.count_ok() == 1000);
  REQUIRE(ask_end(rig, *log, Topic::events) == 1001);
  REQUIRE(rig.await([&] { return follower.read().size() >= 1001; }));
  for (std::size_t i = 0; i <= 1000; ++i) REQUIRE(follower.read()[i].bytes == std::to_string(i));
  REQUIRE(follower.read().size() == 1001);
  REQUIRE(brokers.leader_of(place.cluster + ".events") != leader);
  brokers.start(leader);
  append_one(rig, *producer, Topic::events, "1001");
  REQUIRE(rig.await([&] { return follower.read().size() == 1002; }));
}
