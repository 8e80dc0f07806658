// The log on a real Kafka broker: the contract.
#include "events/kafka_log.h"
#include "tests/contract/log_contract.h"
#include "tests/system/kafka_brokers.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::contract;

namespace {

class KafkaRig final : public NudgedRig {
 public:
  explicit KafkaRig(KafkaLogOptions options = {})
      : options_(std::move(options)), place_(brokers_.fresh_place()) {}
  ~KafkaRig() override { heal(); }

  std::unique_ptr<Log> connect() override {
    auto log = open_kafka_log(place_, options_);
    INFO((log ? "" : log.error().text));
    REQUIRE(log.ok());
    return *std::move(log);
  }
  void restart() override {}
  void age(Topic topic) override { brokers_.empty_topic(place_.cluster + "." + topic_name(topic)); }
  void break_appends() override {
    brokers_.stop(1);
    stopped_ = true;
  }
  void heal() override {
    if (std::exchange(stopped_, false)) brokers_.start(1);
  }

 private:
  KafkaBrokers& brokers_ = KafkaBrokers::get();
  const KafkaLogOptions options_;
  const KafkaPlace place_;
  bool stopped_ = false;
};

FreshRig usual = [] { return std::make_unique<KafkaRig>(KafkaLogOptions{.append_deadline_ms = 3000}); };
// Every append that is not pipelined behind another one goes alone, and is read back.
FreshRig always_idle = [] {
  return std::make_unique<KafkaRig>(KafkaLogOptions{.append_deadline_ms = 3000, .idle_ms = 0});
};

}  // namespace

TEST_CASE("kafka: appends and reads") { check_appends_and_reads(usual); }
TEST_CASE("kafka: appends and reads, after an idle hour each") { check_appends_and_reads(always_idle); }
TEST_CASE("kafka: what is pipelined is more than a topic takes at once") {
  const auto rig = usual();
  const auto log = rig->connect();
  const auto producer = *log->open_producer();
  Answers answers(*rig);
  for (int i = 0; i < 300; ++i) producer->append(Topic::intents, Bytes(4096, static_cast<char>(i)), answers.next());
  REQUIRE(rig->await([&] { return answers.all(); }));
  CHECK(answers.first_error() == "");
  CHECK(answers.count_ok() == 300);
}
TEST_CASE("kafka: ends and limits") { check_ends_and_limits(usual); }
TEST_CASE("kafka: sessions, a broker that hangs") { check_sessions(usual); }
TEST_CASE("kafka: sessions, a broker that hangs after an idle hour") { check_sessions(always_idle); }
TEST_CASE("kafka: readers") { check_readers(usual); }
TEST_CASE("kafka: keeping") { check_keeping(usual); }
TEST_CASE("kafka: candidacies") { check_candidacies(usual); }
