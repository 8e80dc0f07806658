// Reports as no agent would make them: doubled, torn, reordered, of other lives. Whatever they say, what is decided can be folded.
#include "tests/sim/prng.h"
#include "controlplane/decide/decide.h"
#include "tests/unit/story.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

using namespace testing;

class AnyReport {
 public:
  AnyReport(const State& state, sim::Prng& prng) : state_(state), prng_(prng) {}

  Observed make() {
    Observed seen;
    seen.agent = static_cast<wire::AgentKind>(prng_.below(3));
    seen.full = prng_.chance(300);
    if (prng_.chance(100)) seen.trouble = "it sees nothing";
    if (prng_.chance(100)) seen.disk_gib = prng_.below(2000);
    seen.realized = prng_.chance(700) ? 1'000'000 : prng_.below(100);
    state_.servers.each([&](const Server& row) { often([&] { seen.servers.push_back(server(row)); }); });
    state_.servers.each([&](const Server& row) { often([&] { seen.disks.push_back(disk(row.id.as<AnyId>(), row.born)); }); });
    state_.volumes.each([&](const Volume& row) { often([&] { seen.disks.push_back(disk(row.id.as<AnyId>(), row.born)); }); });
    state_.ports.each([&](const Port& row) { often([&] { seen.ports.push_back(port(row)); }); });
    state_.leftovers.each([&](const Leftover& row) {
      const ServerSeen domain{.id = row.id.object.as<ServerId>(), .born = row.born, .since = 1'000'000};
      const PortSeen port{.id = row.id.object.as<PortId>(), .born = row.born, .since = 1'000'000};
      often([&] { seen.servers.push_back(std::make_unique<ServerSeen>(domain)); });
      often([&] { seen.ports.push_back(std::make_unique<PortSeen>(port)); });
    });
    state_.nodes.each([&](const Node& row) {
      often([&] { seen.fences.push_back(std::make_unique<FenceSeen>(FenceSeen{.node = row.id, .identity = row.identity(), .lost = row.lost_seq})); });
    });
    shuffle(seen.servers), shuffle(seen.disks), shuffle(seen.ports), shuffle(seen.fences);
    return seen;
  }

 private:
  template <class F>
  void often(F&& f) {
    if (prng_.chance(300)) return;
    for (auto times = prng_.below(3) + 1; times; --times) f();
  }
  template <class T>
  void shuffle(std::vector<T>& all) {
    for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[prng_.below(i)]);
  }
  Seq since() { return prng_.chance(800) ? 1'000'000 : prng_.below(100); }
  Born other(Born born) { return prng_.chance(100) ? Born{born.seq + 1, born.index} : born; }
  std::string error() { return prng_.chance(200) ? "it failed" : ""; }
  std::unique_ptr<ServerSeen> server(const Server& row) {
    auto one = std::make_unique<ServerSeen>();
    *one = {.id = row.id, .born = other(row.born), .since = since(), .present = prng_.chance(600), .running = prng_.chance(500),
            .cause = static_cast<StopCause>(prng_.below(5)), .power_seq = since(), .reboot_seq = since(), .error = error(),
            .host_restarted = prng_.chance(200), .paused = prng_.chance(200) ? "its disk is full" : ""};
    state_.volumes.each([&](const Volume& volume) { often([&] { one->volumes.push_back(volume.id); }); });
    return one;
  }
  std::unique_ptr<DiskSeen> disk(AnyId id, Born born) {
    return std::make_unique<DiskSeen>(DiskSeen{.id = id, .born = other(born), .since = since(), .present = prng_.chance(600), .error = error()});
  }
  std::unique_ptr<PortSeen> port(const Port& row) {
    return std::make_unique<PortSeen>(PortSeen{.id = row.id, .born = other(row.born), .since = since(), .present = prng_.chance(600),
                                               .ready = prng_.chance(500), .error = error()});
  }
  const State& state_;
  sim::Prng& prng_;
};

// A few reports, one after the other, on top of what a story came to.
void report_on(const State& told, Seq seq, std::int64_t at_ms, sim::Prng& prng) {
  State state = told.copy(true, true);
  for (int i = 0; i < 4; ++i) {
    std::vector<NodeId> nodes;
    state.nodes.each([&](const Node& row) { nodes.push_back(row.id); });
    if (nodes.empty()) return;
    const Node& node = state.nodes.at(nodes[prng.below(nodes.size())]);
    Report report{.node = node.id, .incarnation = node.incarnation, .number = reports_taken(state, node) + 1};
    report.body.Set(AnyReport(state, prng).make());
    const auto read = decode_report(encode(report));
    REQUIRE(read.ok());
    auto verdict = decide(state, *read, at_ms);
    RecordFrame frame{.seq = ++seq, .at_ms = at_ms};
    fold_begin(state, frame);
    fold_decision(state, frame, by_report(node.id, report.number, std::move(verdict.events)));
    fold_end(state, {});
    REQUIRE(check_counters(state) == "");
  }
}

TEST_CASE("what is decided on any report can be folded") {
  sim::Prng prng(11);
  for (const auto tell : {tell_spine, tell_pool}) {
    Scribe scribe;
    tell(scribe);
    State state(true, true);
    Head head;
    for (const auto& written : scribe.records) {
      fold(state, written.record);
      for (int i = 0; i < 12; ++i) report_on(state, written.record.seq, written.record.at_ms, prng);
    }
  }
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Scribe scribe(false);
    BusyCloud cloud(scribe, seed);
    cloud.begin();
    for (int i = 0; i < 60; ++i) {
      cloud.step();
      report_on(scribe.state, scribe.head.seq, scribe.at_ms, prng);
    }
  }
}

TEST_CASE("an object that a report names twice counts once, as it was named last") {
  Scribe scribe;
  BusyCloud cloud(scribe, 3);
  cloud.begin();
  const Volume* volume = nullptr;
  for (int i = 0; i < 400 && !volume; ++i) {
    cloud.step(1);
    scribe.state.volumes.each([&](const Volume& row) { if (row.status == VolumeStatus::creating && row.node) volume = &row; });
  }
  REQUIRE(volume);
  const Node& node = scribe.state.nodes.at(volume->node);
  Observed seen;
  seen.agent = wire::AgentKind::storage;
  seen.realized = scribe.head.seq;
  for (const bool failed : {true, false, false})
    seen.disks.push_back(std::make_unique<DiskSeen>(DiskSeen{.id = volume->id.as<AnyId>(), .born = volume->born, .since = scribe.head.seq,
                                                             .present = true, .error = failed ? "it failed" : ""}));
  Report report{.node = node.id, .incarnation = node.incarnation, .number = reports_taken(scribe.state, node) + 1};
  report.body.Set(std::move(seen));
  const auto verdict = decide(scribe.state, report, scribe.at_ms);
  REQUIRE(verdict.events.size() == 1);
  CHECK(verdict.events[0].is<VolumeReady>());
}

}  // namespace
}  // namespace reprise
