// The simulated log: the contract, under many seeds and faults, and that each of its faults does what it
// says.
#include <fmt/format.h>

#include <algorithm>

#include "tests/contract/log_contract.h"
#include "tests/sim/sim_log.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::contract;
using sim::EventQueue;
using sim::LogFaults;
using sim::Prng;
using sim::SimLog;

namespace {

class SimRig final : public LogRig {
 public:
  SimRig(std::uint64_t seed, LogFaults faults, LogFaults broken)
      : log_(queue_, Prng(seed)), usual_(faults), broken_(broken) {
    log_.faults() = faults;
  }
  std::unique_ptr<Log> connect() override { return log_.client(fmt::format("client-{}", ++clients_)); }
  void restart() override { queue_.run_until(queue_.now_ms() + 60'000); }
  void age(Topic topic) override {
    const auto all = log_.stored(topic).back().offset + 1;
    aged_.emplace_back(topic, all);
  }
  void break_appends() override { log_.faults() = broken_; }
  void heal() override { log_.faults() = usual_; }
  void nudge() override {}
  bool await(const std::function<bool()>& holds) override {
    const auto deadline_ms = queue_.now_ms() + 600'000;
    while (!holds()) {
      for (const auto& [topic, below] : aged_) log_.cut_off(topic, below);
      if (queue_.now_ms() > deadline_ms || !queue_.step()) return holds();
    }
    return true;
  }
  bool threads() const override { return false; }

 private:
  EventQueue queue_;
  SimLog log_;
  const LogFaults usual_, broken_;
  std::vector<std::pair<Topic, std::int64_t>> aged_;
  int clients_ = 0;
};

// Seeds differ in the faults that are on, all of them such that the promises still hold.
FreshRig rig_of(std::uint64_t seed) {
  return [seed] {
    Prng draw(seed);
    LogFaults faults;
    if (draw.chance(500)) faults.append_ms_max = draw.between(1, 200);
    if (draw.chance(500)) faults.answer_ms_max = draw.between(1, 200);
    if (draw.chance(500)) faults.lag_ms_max = draw.between(1, 500);
    if (draw.chance(500)) faults.end_ms_max = draw.between(1, 100);
    if (draw.chance(500)) faults.hole = 100;
    if (draw.chance(500)) faults.short_poll = 300;
    LogFaults broken = faults;
    switch (draw.below(3)) {
      case 0:
        broken.lost = 100;
        break;
      case 1:
        broken.timed_out = 100;
        broken.late_ms_max = draw.between(0, 2'000);
        break;
      default:
        broken.full = true;
    }
    return std::make_unique<SimRig>(seed, faults, broken);
  };
}

struct Told {
  std::vector<Result<std::int64_t>> answers;
  Producer::Done next() {
    return [this](Result<std::int64_t> answer) { answers.push_back(std::move(answer)); };
  }
};

std::vector<Bytes> bytes_of(const SimLog& log, Topic topic) {
  std::vector<Bytes> all;
  for (const auto& entry : log.stored(topic)) all.push_back(entry.bytes);
  return all;
}

}  // namespace

#define FOR_SEEDS(check)                     \
  const auto seed = GENERATE(range(0, 100)); \
  CAPTURE(seed);                             \
  check(rig_of(static_cast<std::uint64_t>(seed)))

TEST_CASE("simulated: appends and reads") { FOR_SEEDS(check_appends_and_reads); }
TEST_CASE("simulated: ends and limits") { FOR_SEEDS(check_ends_and_limits); }
TEST_CASE("simulated: sessions") { FOR_SEEDS(check_sessions); }
TEST_CASE("simulated: readers") { FOR_SEEDS(check_readers); }
TEST_CASE("simulated: keeping") { FOR_SEEDS(check_keeping); }
TEST_CASE("simulated: candidacies") { FOR_SEEDS(check_candidacies); }

TEST_CASE("prng: the published algorithm, the same everywhere") {
  Prng prng(42);
  const std::uint64_t first[] = {prng.next(), prng.next(), prng.next()};
  REQUIRE(first[0] == 1546998764402558742u);
  REQUIRE(first[1] == 6990951692964543102u);
  REQUIRE(first[2] == 12544586762248559009u);
  std::array<int, 10> seen{};
  for (int i = 0; i < 10'000; ++i) ++seen[prng.below(10)];
  for (const int count : seen) REQUIRE((count > 850 && count < 1150));
  for (int i = 0; i < 1000; ++i) REQUIRE((prng.between(-3, 3) >= -3 && prng.between(-3, 3) <= 3));
  REQUIRE(!prng.chance(0));
  REQUIRE(prng.chance(1000));
}

TEST_CASE("simulated: the same seed ends the same, another one does not") {
  const auto run = [](std::uint64_t seed) {
    EventQueue queue;
    SimLog log(queue, Prng(seed));
    log.faults() = {.append_ms_max = 50,
                    .answer_ms_max = 20,
                    .timed_out = 50,
                    .late_ms_max = 300,
                    .duplicated_report = 200,
                    .hole = 100};
    std::string trace;
    std::vector<std::unique_ptr<Log>> clients;
    for (int c = 0; c < 3; ++c) clients.push_back(log.client(std::to_string(c)));
    std::vector<std::unique_ptr<Producer>> producers;
    for (int i = 0; i < 100; ++i) {
      if (i % 10 == 0) {
        for (auto& client : clients) producers.push_back(*client->open_producer());
      }
      for (std::size_t p = producers.size() - 3; p < producers.size(); ++p) {
        producers[p]->append(Topic::reports, std::to_string(i), [&trace, &queue, p](Result<std::int64_t> r) {
          trace +=
              fmt::format("{} {} {};", queue.now_ms(), p, r ? std::to_string(*r) : errc_name(r.error().code));
        });
      }
      queue.run_until(queue.now_ms() + 5);
    }
    while (queue.step()) continue;
    for (const auto& entry : log.stored(Topic::reports))
      trace += fmt::format("{}@{}={};", entry.at_ms, entry.offset, entry.bytes);
    return trace;
  };
  for (std::uint64_t seed = 1; seed <= 5; ++seed) REQUIRE(run(seed) == run(seed));
  REQUIRE(run(1) != run(2));
}

TEST_CASE("simulated: an unknown outcome is written in full, in part, late, or not at all") {
  bool none = false, some = false, all = false, after_another = false;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    EventQueue queue;
    SimLog log(queue, Prng(seed));
    const auto client = log.client("a"), other = log.client("b");
    const auto producer = *client->open_producer(), others = *other->open_producer();
    Told told, others_told;
    log.faults().timed_out = 1000;
    log.faults().late_ms_max = 1000;
    for (int i = 0; i < 5; ++i) producer->append(Topic::intents, std::to_string(i), told.next());
    while (told.answers.size() < 5 && queue.step()) continue;
    REQUIRE(told.answers.size() == 5);
    for (const auto& answer : told.answers) REQUIRE(answer.error().code == Errc::timed_out);
    log.faults() = {};
    others->append(Topic::intents, "other", others_told.next());
    while (queue.step()) continue;
    REQUIRE(others_told.answers.at(0).ok());
    auto written = bytes_of(log, Topic::intents);
    after_another |= written.back() != "other" && !written.empty();
    std::erase(written, "other");
    for (std::size_t i = 0; i < written.size(); ++i) REQUIRE(written[i] == std::to_string(i));  // a beginning
    (written.empty() ? none : written.size() == 5 ? all : some) = true;
  }
  REQUIRE((none && some && all && after_another));
}

TEST_CASE("simulated: an agent's retry is there twice") {
  EventQueue queue;
  SimLog log(queue, Prng(1));
  log.faults().duplicated_report = 1000;
  const auto client = log.client("a");
  const auto producer = *client->open_producer();
  Told told;
  producer->append(Topic::reports, "r", told.next());
  producer->append(Topic::intents, "i", told.next());
  queue.run_until(1);
  log.faults().duplicated_report = 0;
  queue.run_until(60'000);
  REQUIRE(bytes_of(log, Topic::reports) == std::vector<Bytes>{"r", "r"});
  REQUIRE(bytes_of(log, Topic::intents) == std::vector<Bytes>{"i"});
  REQUIRE(told.answers.size() == 2);
}

TEST_CASE("simulated: a paused client is a zombie, and hears everything when it goes on") {
  EventQueue queue;
  SimLog log(queue, Prng(1));
  const auto client = log.client("a");
  const auto producer = *client->open_producer();
  int wakes = 0;
  const auto reader = *client->open_reader(Topic::intents, 0, [&] { ++wakes; });
  REQUIRE(reader->poll(1)->empty());
  Told told;
  producer->append(Topic::intents, "x", told.next());
  log.pause("a");
  queue.run_until(60'000);
  REQUIRE(bytes_of(log, Topic::intents) == std::vector<Bytes>{"x"});  // what it had sent went on
  REQUIRE(told.answers.empty());
  REQUIRE(wakes == 0);
  log.resume("a");
  queue.run_until(60'001);
  REQUIRE(told.answers.size() == 1);
  REQUIRE(*told.answers[0] == 0);
  REQUIRE(wakes == 1);
  REQUIRE(reader->poll(1)->size() == 1);
}

TEST_CASE(
    "simulated: a client that is cut off hears nothing, its appends end at the deadline or get there when it "
    "heals") {
  const bool heals = GENERATE(true, false);
  EventQueue queue;
  SimLog log(queue, Prng(1));
  const auto client = log.client("a"), other = log.client("b");
  const auto producer = *client->open_producer(), others = *other->open_producer();
  int wakes = 0;
  const auto reader = *client->open_reader(Topic::intents, 0, [&] { ++wakes; });
  REQUIRE(reader->poll(1)->empty());
  Told told, others_told, ends;
  log.cut("a");
  producer->append(Topic::intents, "a", told.next());
  others->append(Topic::intents, "b", others_told.next());
  queue.run_until(5'000);
  REQUIRE(bytes_of(log, Topic::intents) == std::vector<Bytes>{"b"});
  REQUIRE((told.answers.empty() && wakes == 0 && reader->poll(1)->empty()));
  REQUIRE(client->begin(Topic::intents).error().code == Errc::unreachable);
  if (heals) log.heal("a");
  client->end(Topic::intents, ends.next());
  queue.run_until(30'000);
  REQUIRE(told.answers.size() == 1);
  REQUIRE(ends.answers.size() == 1);
  REQUIRE(ends.answers[0].ok() == heals);
  if (heals) {
    REQUIRE(*told.answers[0] == 1);
    REQUIRE(reader->poll(9)->size() == 2);
    REQUIRE(wakes >= 1);
  } else {
    REQUIRE(told.answers[0].error().code == Errc::timed_out);
    REQUIRE(ends.answers[0].error().code == Errc::unreachable);
    REQUIRE(wakes == 0);
  }
}

TEST_CASE("simulated: a killed client is never called again, and a beginning of what it sent may get there") {
  std::size_t most = 0, least = 9;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    EventQueue queue;
    SimLog log(queue, Prng(seed));
    auto client = log.client("a");
    auto producer = *client->open_producer();
    Told told;
    int wakes = 0;
    auto reader = *client->open_reader(Topic::intents, 0, [&] { ++wakes; });
    REQUIRE(reader->poll(1)->empty());
    for (int i = 0; i < 5; ++i) producer->append(Topic::intents, std::to_string(i), told.next());
    log.kill("a");
    if (seed % 2) producer.reset(), reader.reset(), client.reset();
    const auto again = log.client("a");
    while (queue.step()) continue;
    REQUIRE((told.answers.empty() && wakes == 0));
    const auto written = bytes_of(log, Topic::intents);
    for (std::size_t i = 0; i < written.size(); ++i) REQUIRE(written[i] == std::to_string(i));
    most = std::max(most, written.size());
    least = std::min(least, written.size());
    const auto producer_again = *again->open_producer();  // the new process is alive
    Told told_again;
    producer_again->append(Topic::intents, "new", told_again.next());
    while (queue.step()) continue;
    REQUIRE(told_again.answers.at(0).ok());
  }
  REQUIRE((least == 0 && most == 5));
}

TEST_CASE("simulated: the group replaces a candidate that is not heard, and a paused one still believes") {
  enum class Loss { paused, cut, killed };
  const auto loss = GENERATE(Loss::paused, Loss::cut, Loss::killed);
  EventQueue queue;
  SimLog log(queue, Prng(3));
  const auto a = log.client("a"), b = log.client("b");
  int wakes = 0;
  auto first = a->stand([&] { ++wakes; });
  queue.run_until(1000);
  const auto second = b->stand([] {});
  queue.run_until(2000);
  REQUIRE((first->elected() && !second->elected() && wakes == 1));
  if (loss == Loss::paused) log.pause("a");
  if (loss == Loss::cut) log.cut("a");
  if (loss == Loss::killed) log.kill("a"), first.reset();
  queue.run_until(7000);
  REQUIRE(!second->elected());
  queue.run_until(9000);
  REQUIRE(second->elected());
  if (loss == Loss::paused) {
    REQUIRE(first->elected());
    log.resume("a");
    queue.run_until(9100);
  }
  if (loss != Loss::killed) REQUIRE((!first->elected() && wakes == 2));
  if (loss == Loss::cut) log.heal("a");
  log.reelect();
  queue.run_until(10'000);
  if (loss == Loss::killed) REQUIRE(second->elected());
  else REQUIRE((first->elected() && !second->elected()));
}

TEST_CASE("simulated: retention by age, and a byte that changes") {
  EventQueue queue;
  SimLog log(queue, Prng(1));
  log.faults().retention_ms[index_of(Topic::heartbeats)] = 1000;
  for (int i = 0; i < 10; ++i) {
    log.write(Topic::heartbeats, std::to_string(i));
    queue.run_until(queue.now_ms() + 500);
  }
  REQUIRE(bytes_of(log, Topic::heartbeats) == std::vector<Bytes>{"7", "8", "9"});
  log.corrupt(Topic::heartbeats, 8, 0, 1);
  const auto client = log.client("a");
  const auto reader = *client->open_reader(Topic::heartbeats, 8, [] {});
  queue.run_until(queue.now_ms() + 1);
  REQUIRE((*reader->poll(1))[0].bytes == "9");
}
