// One agent's loop when what it asks hangs, fails or answers late: object by object, with the others going on.
#include "agents/core/reconciler.h"

#include <deque>

#include "agents/core/simulated_host.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;

namespace {

constexpr Seq incarnation = 5;
constexpr NodeId this_node{1, 1};
const Error hangs{Errc::again, "hangs"};

// Takes reports, and shows what was said last of each thing.
class ReportLog final : public Log {
 public:
  struct Taking final : Producer {
    explicit Taking(ReportLog& log) : log(log) {}
    void append(Topic topic, Bytes bytes, Done done) override {
      if (topic == Topic::reports) log.take(bytes);
      done(log.next++);
    }
    ReportLog& log;
  };
  void take(const Bytes& bytes) {
    const auto report = decode_report(bytes);
    REQUIRE(report);
    const auto& seen = *static_cast<const Observed*>(report->body.value);
    for (const auto& one : seen.servers) servers[one->id] = *one;
    for (const auto& one : seen.ports) ports[one->id] = *one;
    troubles.push_back(seen.trouble);
  }
  Result<std::unique_ptr<Producer>> open_producer() override { return std::unique_ptr<Producer>(std::make_unique<Taking>(*this)); }
  Result<std::unique_ptr<Reader>> open_reader(Topic, std::int64_t, std::function<void()>) override { return Error{Errc::unsupported, ""}; }
  void end(Topic, Answer answer) override { answer(next); }
  Result<std::int64_t> begin(Topic) override { return 0; }
  std::unique_ptr<Candidacy> stand(std::function<void()>) override { return nullptr; }
  std::string place() const override { return "reports:"; }

  std::map<ServerId, ServerSeen> servers;
  std::map<PortId, PortSeen> ports;
  std::vector<std::string> troubles;
  std::int64_t next = 0;
};

// Done at once, but for what hangs: that ends when it is let go of.
class PatientWorkers final : public Workers {
 public:
  bool run(std::function<Status()> work, std::function<void(Status)> done, bool) override {
    if (const Status status = work(); status || status.error().text != hangs.text) return done(status), true;
    hanging.push_back({std::move(work), std::move(done)});
    return true;
  }
  void let_go() {
    for (auto& one : std::exchange(hanging, {})) one.second(one.first());
  }
  std::deque<std::pair<std::function<Status()>, std::function<void(Status)>>> hanging;
};

// A node of three servers on a simulated host. `stuck`: whose calls hang, but those that end its guest.
class Rig {
 public:
  Rig() {
    board.set_incarnation(incarnation);
    outbox.begin(incarnation);
    (void)outbox.step(1);
    for (std::uint64_t number : {1, 2, 3}) {
      const ServerId id = server_id(number);
      const AnyId disk = id.as<AnyId>();
      want.compute[id] = {.id = id, .born = {number, 0}, .since = number, .on = true, .power_seq = number, .disks = {{disk, {number, 0}, true}}};
      want.storage[disk] = {.id = disk, .born = {number, 0}, .since = number, .size_gib = 1};
    }
    show();
  }
  static ServerId server_id(std::uint64_t number) { return {7, number}; }
  compute::ServerWant& server(std::uint64_t number) { return want.compute.at(server_id(number)); }

  // What a record changed, confirmed at once.
  void show() {
    auto next = std::make_shared<NodeView>();
    next->assignment = want;
    next->head = next->assignment.seq = ++head;
    next->incarnation = incarnation;
    board.set_view(next);
    board.confirm({head, now});
  }
  void wish(std::uint64_t number, const std::function<void(compute::ServerWant&)>& change) {
    server(number).since = head + 1;
    change(server(number));
    show();
  }
  void cut_off() { board.confirm({}); }

  // Until nobody has anything to do, for so long.
  void settle(std::int64_t for_ms = 0) {
    const std::int64_t end = now + for_ms;
    for (;; now += 500) {
      if (board.confirmed().seq) board.confirm({head, now});
      for (int i = 0; i < 50; ++i) storage.step(now), network.step(now), compute.step(now);
      if (now >= end) return;
    }
  }
  std::optional<compute::ServerHave> domain(std::uint64_t number) {
    const auto servers = host.servers().servers;
    const auto at = servers.find({server_id(number), server(number).born});
    return at == servers.end() ? std::nullopt : std::optional(at->second);
  }
  bool runs(std::uint64_t number) { return domain(number) && domain(number)->running; }

  std::int64_t now = 1'000;
  Seq head = 100;
  Assignment want;
  std::optional<AnyId> stuck;
  ReportLog log;
  PatientWorkers workers;
  SimulatedHost host{"boot-1", 1000,
                     {.fault = [this](AgentKind, const std::string& step, AnyId object) -> SimulatedFault {
                       const bool ends_it = step == "stop_hard" || step == "remove";
                       if (!stuck || object != *stuck || ends_it) return {};
                       return {SimulatedFault::fails, hangs};
                     }}};
  NodeBoard board;
  Outbox outbox{log, this_node, [] {}};
  Reconciler<StorageKind> storage{host.storage(), board, outbox, {}, workers, [] {}};
  Reconciler<NetworkKind> network{host.network(), board, outbox, {}, workers, [] {}};
  Reconciler<ComputeKind> compute{host.compute(), board, outbox, {}, workers, [] {}};
};

}  // namespace

TEST_CASE("a call that hangs holds up nobody else, whichever it is") {
  Rig rig;
  const AnyId second = Rig::server_id(2).as<AnyId>();
  const AnyId volume{8, 1};
  const auto each = [&](const std::function<void(compute::ServerWant&)>& change) {
    for (std::uint64_t number : {1, 2, 3}) rig.wish(number, change);
  };
  SECTION("create, define, start") {
    rig.stuck = second;
    rig.settle(10'000);
    CHECK(rig.runs(1));
    CHECK(rig.runs(3));
    CHECK_FALSE(rig.runs(2));
    rig.stuck.reset();
    rig.workers.let_go();
    rig.settle(1'000);
    CHECK(rig.runs(2));
    return;
  }
  rig.settle(1'000);
  REQUIRE((rig.runs(1) && rig.runs(2) && rig.runs(3)));
  rig.stuck = second;
  SECTION("stop") {
    each([&](auto& want) { want.on = false, want.power_seq = rig.head + 1; });
    rig.settle(10'000);
    CHECK_FALSE(rig.runs(1));
    CHECK_FALSE(rig.runs(3));
    CHECK(rig.runs(2));
    CHECK(rig.compute.status().busy_since_ms != 0);
    CHECK(rig.compute.status().busy_with.find("stop_soft") != std::string::npos);
    rig.settle(120'000);
    CHECK(rig.log.servers.at(Rig::server_id(2)).error.find("does not answer") != std::string::npos);
    CHECK(rig.log.servers.at(Rig::server_id(1)).error.empty());
    // The forced stop does not wait for it.
    rig.wish(2, [](auto& want) { want.stop_hard = true; });
    rig.settle(1'000);
    CHECK_FALSE(rig.runs(2));
    CHECK_FALSE(rig.log.servers.at(Rig::server_id(2)).running);
    // Nor is what still hangs believed when it comes back late.
    rig.stuck.reset();
    rig.workers.let_go();
    rig.settle(1'000);
    CHECK_FALSE(rig.runs(2));
    CHECK(rig.compute.status().busy_since_ms == 0);
  }
  SECTION("reboot") {
    each([&](auto& want) { want.reboot_seq = rig.head + 1; });
    rig.settle(10'000);
    CHECK(rig.domain(1)->reboot_seq != 0);
    CHECK(rig.domain(3)->reboot_seq != 0);
    CHECK(rig.domain(2)->reboot_seq == 0);
  }
  SECTION("attach, detach") {
    rig.want.storage[volume] = {.id = volume, .born = {9, 0}, .since = 9, .kind = storage::DiskKind::volume, .size_gib = 1};
    each([&](auto& want) { want.disks.push_back({volume, {9, 0}}); });
    rig.settle(10'000);
    CHECK(rig.domain(1)->disks.size() == 2);
    CHECK(rig.domain(2)->disks.size() == 1);
    CHECK(rig.domain(3)->disks.size() == 2);
  }
  SECTION("deleted while it hangs: absent is said at the very end only") {
    rig.wish(2, [&](auto& want) { want.on = false, want.power_seq = rig.head + 1; });
    rig.settle(1'000);
    REQUIRE(rig.workers.hanging.size() == 1);
    rig.wish(2, [](auto& want) { want.absent = true; });
    rig.settle(10'000);
    CHECK_FALSE(rig.domain(2));
    CHECK(rig.log.servers.at(Rig::server_id(2)).present);
    rig.stuck.reset();
    rig.workers.let_go();
    rig.settle(1'000);
    CHECK_FALSE(rig.log.servers.at(Rig::server_id(2)).present);
    CHECK_FALSE(rig.domain(2));
  }
}

TEST_CASE("a server is not started before its disks are seen, and says so when they are not there") {
  Rig rig;
  const AnyId volume{8, 1};
  rig.server(2).disks.push_back({volume, {9, 0}});
  rig.show();
  for (int i = 0; i < 50; ++i) rig.compute.step(rig.now);
  CHECK_FALSE((rig.runs(1) || rig.runs(2) || rig.runs(3)));  // nobody has looked yet
  for (rig.now += 500; rig.now < 40'000; rig.now += 500) rig.board.confirm({rig.head, rig.now}), rig.compute.step(rig.now);
  CHECK(rig.log.servers.at(Rig::server_id(1)).error.find("has not seen") != std::string::npos);
  rig.settle(1'000);
  CHECK(rig.runs(1));
  CHECK_FALSE(rig.runs(2));
  CHECK(rig.runs(3));
  CHECK(rig.log.servers.at(Rig::server_id(2)).error.find(volume.str()) != std::string::npos);
  rig.want.storage[volume] = {.id = volume, .born = {9, 0}, .since = 9, .kind = storage::DiskKind::volume, .size_gib = 1};
  rig.show();
  rig.settle(1'000);
  CHECK(rig.runs(2));
  CHECK(rig.log.servers.at(Rig::server_id(2)).error.empty());
}

TEST_CASE("one network's trouble is not another's, and ends with its cause") {
  Rig rig;
  for (std::uint64_t number : {1, 2}) {
    rig.want.network.networks[{3, number}] = {.id = {3, number}, .born = {number, 0}, .vlan = static_cast<std::uint16_t>(number)};
    rig.want.network.ports[{4, number}] = {.id = {4, number}, .born = {number, 0}, .since = number, .network = {3, number}};
  }
  rig.host.set_network_trouble({3, 1}, "the device is refused");
  rig.show();
  rig.settle(5'000);
  CHECK(rig.log.ports.at({4, 1}).error == "the device is refused");
  CHECK_FALSE(rig.log.ports.at({4, 1}).ready);
  CHECK(rig.log.ports.at({4, 2}).ready);
  CHECK(rig.log.ports.at({4, 2}).error.empty());
  rig.host.set_network_trouble({3, 1}, "");
  rig.settle(20'000);
  CHECK(rig.log.ports.at({4, 1}).ready);
  CHECK(rig.log.ports.at({4, 1}).error.empty());
  // Who comes next is told nothing of what is over.
  rig.want.network.ports[{4, 3}] = {.id = {4, 3}, .born = {3, 0}, .since = 3, .network = {3, 1}};
  rig.show();
  rig.settle(1'000);
  CHECK(rig.log.ports.at({4, 3}).ready);
  CHECK(rig.log.ports.at({4, 3}).error.empty());
}

TEST_CASE("cut off, what was in force is put back, and nothing else is begun") {
  Rig rig;
  rig.want.network.networks[{3, 1}] = {.id = {3, 1}, .born = {1, 0}, .vlan = 1};
  rig.want.network.ports[{4, 1}] = {.id = {4, 1}, .born = {1, 0}, .since = 1, .network = {3, 1}};
  rig.show();
  rig.settle(1'000);
  REQUIRE(rig.host.ports().in_force);
  rig.cut_off();
  rig.host.lose_flows();
  rig.host.kill_guest(Rig::server_id(1));
  rig.settle(30'000);
  CHECK(rig.host.ports().in_force);
  CHECK_FALSE(rig.runs(1));
  CHECK(rig.runs(2));
}

TEST_CASE("an agent that sees nothing says so once, and that it is over") {
  std::optional<Error> blind;
  ReportLog log;
  PatientWorkers workers;
  NodeBoard board;
  board.set_incarnation(incarnation);
  auto view = std::make_shared<NodeView>();
  view->head = 7;
  view->incarnation = incarnation;
  board.set_view(view);
  board.confirm({7, 1'000});
  SimulatedHost host{"boot-1", 1000, {.blind = [&](AgentKind) { return blind ? Status(*blind) : Status(); }}};
  Outbox outbox{log, this_node, [] {}};
  outbox.begin(incarnation);
  (void)outbox.step(1);
  Reconciler<StorageKind> loop{host.storage(), board, outbox, {}, workers, [] {}};
  const auto run = [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t now = from; now <= to; now += 250) loop.step(now);
  };
  const auto said = [&] { return std::ranges::count_if(log.troubles, [](const auto& one) { return !one.empty(); }); };
  run(1'000, 2'000);
  blind = Error{Errc::unreachable, "it restarts"};
  run(2'000, 5'000);
  CHECK(said() == 0);
  blind = Error{Errc::not_found, "its folder is another's"};
  run(5'000, 40'000);
  CHECK(said() == 1);
  CHECK(log.troubles.back() == "its folder is another's");
  blind.reset();
  run(40'000, 41'000);
  CHECK(log.troubles.back().empty());
}

TEST_CASE("a guest whose QEMU does not answer is told once that lasts, and when it is over") {
  Rig rig;
  rig.settle(1'000);
  REQUIRE(rig.runs(2));
  rig.host.set_silent(Rig::server_id(2), true);
  rig.settle(20'000);
  CHECK(rig.log.servers.at(Rig::server_id(2)).error.empty());
  rig.settle(20'000);
  CHECK(rig.log.servers.at(Rig::server_id(2)).error.find("does not answer") != std::string::npos);
  CHECK(rig.log.servers.at(Rig::server_id(1)).error.empty());
  rig.host.set_silent(Rig::server_id(2), false);
  rig.settle(1'000);
  CHECK(rig.log.servers.at(Rig::server_id(2)).error.empty());
}
