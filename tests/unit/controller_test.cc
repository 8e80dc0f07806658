// The controller over the simulated log, one at a time or several, and whatever clocks they have.
#include "controlplane/controller.h"

#include "agents/core/outbox.h"
#include "controlplane/cli/genesis.h"
#include "tests/sim/scheduler.h"
#include "tests/sim/sim_log.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

constexpr std::int64_t hour_ms = 3'600'000, began_ms = 1'700'000'000'000;
constexpr NodeId node_id{7, 7};

Report said(Seq incarnation, std::uint64_t number, Observed seen = {}) {
  Report report{.node = node_id, .incarnation = incarnation, .number = number};
  report.body.Set(std::move(seen));
  return report;
}

// A log with its genesis, and whoever follows it.
struct Rig {
  sim::EventQueue queue{1'000'000};
  sim::SimLog log{queue, sim::Prng(1)};
  std::int64_t off_ms = 0;            // of the wall clock
  std::string doubt = "nothing bears it out";
  std::unique_ptr<Log> client;
  std::unique_ptr<Controller> controller;
  std::vector<std::string> words;
  std::uint64_t random = 0;
  int lives = 0;

  Rig() {
    const auto id = [this]() -> AnyId { return {9, ++random}; };
    log.write(Topic::events, encode(cli::genesis_record({.cloud = id().as<CloudId>(), .log = id().as<LogId>(), .project = id().as<ProjectId>(),
                                                         .user = id().as<UserId>(), .admin = id().as<RoleId>(), .member = id().as<RoleId>(),
                                                         .reader = id().as<RoleId>(), .node = id().as<NodeId>(), .name = "c", .place = "sim",
                                                         .password = "x", .password_hash = "x", .at_ms = began_ms})).bytes);
  }
  Now now() const { return {queue.now_ms(), began_ms + (queue.now_ms() - 1'000'000) + off_ms}; }
  void start() {
    end();
    client = log.client("c" + std::to_string(++lives));
    Controller::Ports ports{.log = client.get(), .random = [this] { return ++random; }, .wake = [] {},
                            .say = [this](const std::string& text) { words.push_back(text); },
                            .doubt_clock = [this](Now) { return doubt; }};
    controller = std::make_unique<Controller>(std::move(ports), Controller::Options{.host = "h"}, State(false, true), Head{});
  }
  void end() {
    if (controller) log.kill("c" + std::to_string(lives));
    controller.reset();
    client.reset();
  }
  void run(std::int64_t ms, std::int64_t step_ms = 5) {
    for (const auto until = queue.now_ms() + ms; queue.now_ms() < until;) {
      queue.run_until(queue.now_ms() + step_ms);
      (void)controller->step(now());
    }
  }
  void lead() {
    for (int i = 0; i < 10'000 && controller->status().role != Controller::Role::leading; ++i) run(5);
    REQUIRE(controller->status().role == Controller::Role::leading);
  }
  const Head& head() const { return controller->head(); }
  void say(const Report& report) { log.write(Topic::reports, encode(report)); }
  void ask_time() {
    Intent intent;
    intent.id = {3, ++random};
    intent.expires_ms = now().wall_ms + 1000 * hour_ms;
    intent.set(AskTime{});
    log.write(Topic::intents, encode(intent));
  }
  Seq admit() {
    Report report{.node = node_id};
    report.body.Set(AgentStarted{.nonce = {5, ++random}, .name = "n", .vcpus = 1, .ram_mib = 1, .disk_gib = 1});
    say(report);
    run(100);
    return controller->state().nodes.at(node_id).incarnation;
  }
  std::uint64_t taken() const { return reports_taken(controller->state(), controller->state().nodes.at(node_id)); }
  std::vector<Event> events() const {
    std::vector<Event> all;
    for (const auto& stored : log.stored(Topic::events)) {
      const auto record = decode_record(stored.bytes);
      REQUIRE(record.ok());
      for (const auto& decision : record->decisions) all.insert(all.end(), decision.events.begin(), decision.events.end());
    }
    return all;
  }
  template <class T>
  std::size_t count() const {
    const auto all = events();
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](const Event& event) { return event.is<T>(); }));
  }
};

TEST_CASE("a clock that is far ahead counts only with a witness; one that was is no reason not to lead") {
  const bool borne_out = GENERATE(false, true);
  Rig rig;
  if (borne_out) rig.doubt.clear();
  rig.off_ms = 9 * hour_ms;
  rig.start();
  rig.lead();
  const std::int64_t ahead = rig.head().at_ms - began_ms;
  if (borne_out) CHECK(ahead > 8 * hour_ms);
  else CHECK(ahead < 60'000);
  CHECK(rig.controller->status().clock.empty() == borne_out);
  rig.ask_time();
  rig.run(10'000);
  CHECK(rig.head().at_ms - began_ms - ahead <= 11'100);  // a tenth faster at most
  // Right again: the next leads at once, from the head on.
  const auto before = rig.head();
  rig.off_ms = 0;
  rig.start();
  rig.lead();
  CHECK(rig.head().at_ms >= before.at_ms);
  CHECK(rig.head().at_ms < before.at_ms + 60'000);
}

TEST_CASE("a clock far behind, by any amount, leads from the head on") {
  for (const std::int64_t behind : {hour_ms, 9 * hour_ms, 24 * 365 * hour_ms}) {
    Rig rig;
    rig.off_ms = -behind;
    rig.start();
    rig.lead();
    rig.ask_time();
    rig.run(20'000);
    const auto passed = rig.head().at_ms - began_ms;
    CHECK(passed >= 0);
    CHECK(passed < 30'000);
    CHECK(rig.controller->status().clock.find("behind") != std::string::npos);
  }
}

TEST_CASE("a clock that is borne out later is followed once nothing is awaited") {
  Rig rig;
  rig.off_ms = 9 * hour_ms;  // as after a night
  rig.start();
  rig.lead();
  CHECK(rig.head().at_ms < began_ms + hour_ms);
  rig.doubt.clear();
  rig.run(70'000);
  rig.ask_time();
  rig.run(100);
  CHECK(rig.head().at_ms > began_ms + 8 * hour_ms);
  CHECK(rig.controller->status().clock.empty());
}

TEST_CASE("reports that change nothing write nothing, and are counted by the next record that is written") {
  Rig rig;
  rig.start();
  rig.lead();
  const Seq incarnation = rig.admit();
  const Seq before = rig.head().seq;
  for (std::uint64_t number = 1; number <= 500; ++number) rig.say(said(incarnation, number));
  rig.run(2'000);
  CHECK(rig.head().seq == before);
  CHECK(rig.controller->reports_read() == rig.log.stored(Topic::reports).back().offset + 1);
  // Another leader reads them again; nothing was written of them, and nothing is missing.
  rig.start();
  rig.lead();
  rig.run(2'000);
  CHECK(rig.head().seq == before + 1);
  rig.ask_time();
  rig.run(100);
  CHECK(rig.taken() == 500);
  rig.say(said(incarnation, 501));
  rig.ask_time();
  rig.run(100);
  CHECK(rig.taken() == 501);
  CHECK(rig.count<ReportsSkipped>() == 0);
  rig.say(said(incarnation, 503));
  rig.run(100);
  CHECK(rig.count<ReportsSkipped>() == 1);
}

TEST_CASE("what is not counted is after six hours, before the topic forgets it") {
  Rig rig;
  rig.start();
  rig.lead();
  const Seq incarnation = rig.admit();
  rig.say(said(incarnation, 1));
  const auto live = [&](std::int64_t ms) {
    for (std::int64_t passed = 0; passed < ms; passed += 10'000) {
      rig.log.write(Topic::heartbeats, encode(Heartbeat{.node = node_id, .incarnation = incarnation}));
      rig.run(10'000, 10'000);
    }
  };
  live(6 * hour_ms - 600'000);
  CHECK(rig.taken() == 0);
  live(1'200'000);
  CHECK(rig.taken() == 1);
  CHECK(rig.count<NodeLost>() == 0);
}

// As if each claim died of the first report that it finds: it is gone as soon as that is all there is to do.
TEST_CASE("a report that ends claim after claim is tried alone, and put aside after two tries") {
  Rig rig;
  rig.start();
  rig.lead();
  const Seq incarnation = rig.admit();
  rig.end();
  rig.say(said(incarnation, 1));
  rig.ask_time();
  const auto records = [&] { return rig.log.stored(Topic::events).size(); };
  std::size_t lives = 0;
  for (; lives < 20 && rig.count<ReportsSkipped>() == 0; ++lives) {
    rig.start();
    const std::size_t before = records(), tried = rig.count<IntentTried>();
    while (records() == before) rig.run(1, 1);  // its claim
    if (rig.controller->state().the_cloud().barren_reports < 3) continue;
    while (rig.count<IntentTried>() == tried) {  // it dies before it has read it back
      if (rig.queue.run_until(rig.queue.now_ms() + 1); rig.count<IntentTried>() == tried) (void)rig.controller->step(rig.now());
    }
    if (rig.count<IntentTried>() > 2) rig.run(200, 1);
  }
  INFO("lives " << lives << ", tried " << rig.count<IntentTried>());
  CHECK(lives < 10);
  CHECK(rig.count<IntentTried>() == 4);  // three times the report, then the intent behind it
  CHECK(rig.count<ReportsSkipped>() == 1);
  CHECK(std::any_of(rig.words.begin(), rig.words.end(), [](const auto& text) { return text.find("was put aside") != std::string::npos; }));
  rig.run(500);
  CHECK(rig.taken() == 1);
  CHECK(rig.count<TimePassed>() == 1);  // the intent behind it had its turn
  CHECK(rig.controller->state().the_cloud().barren_reports == 0);
}

Observed many(std::uint64_t servers, std::size_t error_bytes = 0) {
  Observed seen;
  seen.full = true;
  for (std::uint64_t n = 1; n <= servers; ++n) {
    auto one = std::make_unique<ServerSeen>();
    *one = {.id = {1, n}, .present = true, .error = std::string(error_bytes, 'x')};
    seen.servers.push_back(std::move(one));
  }
  return seen;
}

TEST_CASE("a node with ten thousand objects is heard, and one with megabytes of trouble") {
  Rig rig;
  rig.start();
  rig.lead();
  const Seq incarnation = rig.admit();
  const auto own = rig.log.client("node");
  Outbox outbox(*own, node_id, [] {});
  outbox.begin(incarnation);
  (void)outbox.step(rig.queue.now_ms());
  outbox.add(many(10'000));
  outbox.add(many(1, 5'000'000));
  rig.run(2'000);
  std::set<std::uint64_t> told;
  std::uint64_t last = 0;
  for (const auto& stored : rig.log.stored(Topic::reports)) {
    CHECK(stored.bytes.size() <= 64 * 1024);
    const auto report = decode_report(stored.bytes);
    REQUIRE(report.ok());
    const auto* seen = report->body.AsObserved();
    if (!seen) continue;
    CHECK(report->number == ++last);
    CHECK(seen->full);
    for (const auto& one : seen->servers) told.insert(one->id.lo);
  }
  CHECK(told.size() == 10'000);
  CHECK(outbox.waiting() == 0);
  CHECK(rig.controller->reports_read() == rig.log.stored(Topic::reports).back().offset + 1);
  rig.ask_time();
  rig.run(200);
  CHECK(rig.taken() == last);
  CHECK(rig.count<ReportsSkipped>() == 0);
}

TEST_CASE("what was acknowledged is sent again only once it is known to be lost") {
  Rig rig;
  const auto own = rig.log.client("node");
  Outbox outbox(*own, node_id, [] {});
  outbox.begin(5);
  (void)outbox.step(rig.queue.now_ms());
  const auto wait = [&](std::int64_t ms) {
    for (const auto until = rig.queue.now_ms() + ms; rig.queue.now_ms() < until;) {
      rig.queue.run_until(rig.queue.now_ms() + 1'000);
      (void)outbox.step(rig.queue.now_ms());
    }
  };
  const auto sent = [&] { return rig.log.stored(Topic::reports).size(); };
  for (int i = 0; i < 3; ++i) outbox.add(many(1));
  wait(3'600'000);
  CHECK(sent() == 3);
  CHECK(outbox.kept() == 3);
  outbox.taken(1, 1);
  wait(60'000);
  CHECK(sent() == 3);
  outbox.taken(1, rig.log.stored(Topic::reports).back().offset + 1);  // it was read past, and is not taken: it was lost
  wait(60'000);
  CHECK(sent() == 5);
  outbox.taken(3, rig.log.stored(Topic::reports).back().offset + 1);
  CHECK(outbox.kept() == 0);
  for (int i = 0; i < 3'000; ++i) outbox.add(many(1)), wait(1'000);
  CHECK(outbox.kept() <= 65);
}

}  // namespace
}  // namespace reprise
