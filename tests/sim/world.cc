#include "tests/sim/world.h"

#include <fmt/format.h>

#include "controlplane/cli/genesis.h"
#include "tests/sim/calm.h"
#include "tests/sim/checker.h"
#include "tests/sim/clients.h"
#include "tests/sim/history.h"

namespace reprise::sim {
namespace {

constexpr std::int64_t settle_ms_max = 1'200'000;  // the longest deadline is half of it
// A heartbeat whose append hangs while all is healed, and the lease that ends because of it, are of the faults still.
constexpr std::int64_t aftermath_ms = 35'000;
constexpr std::int64_t silent_ms_max = 120'000;  // a full report comes every five minutes anyway
constexpr std::int64_t first_wish_ms = 2'000;
constexpr unsigned shared_permille = 120;          // of the worlds
constexpr unsigned outside_permille = 150;         // of their nodes: with disks of their own

// When each wish comes, after the beginning.
std::vector<std::int64_t> wish_times(std::uint64_t seed, std::int64_t busy_ms, bool shared) {
  Prng prng = Prng(seed).fork("wishes");
  std::int64_t apart_ms = prng.chance(500) ? 300 : 1'500;
  if (shared) apart_ms *= 3;  // it is the nodes that make the trouble there
  std::vector<std::int64_t> times;
  for (std::int64_t at = first_wish_ms; at < busy_ms; at += prng.between(10, apart_ms)) times.push_back(at);
  return times;
}

}  // namespace

// Most worlds are short and busy: what goes wrong at all mostly does so with few things about.
Shape shape_of(const WorldOptions& options) {
  Prng prng = Prng(options.seed).fork("shape");
  Shape shape;
  const auto kind = prng.below(100);
  shape.busy_ms = kind < 75 ? prng.between(4'000, 16'000) : kind < 95 ? prng.between(16'000, 60'000) : prng.between(60'000, 180'000);
  shape.nodes = static_cast<int>(prng.between(1, 5));
  if (prng.chance(30)) shape.nodes = static_cast<int>(prng.between(6, 32)), shape.busy_ms = std::min<std::int64_t>(shape.busy_ms, 30'000);
  shape.controllers = static_cast<int>(prng.between(1, 3));
  for (int i = 0; i < static_cast<int>(Fault::count); ++i)
    if (prng.chance(prng.chance(200) ? 150 : 500)) shape.faults.insert(static_cast<Fault>(i));
  shape.pace = std::clamp(static_cast<double>(shape.busy_ms) / 100'000, 0.1, 1.0);
  if (prng.chance(600)) shape.faults.erase(Fault::disks_vanish);  // little goes on with servers that have lost theirs
  Prng storage = Prng(options.seed).fork("storage");
  shape.shared = options.shared ? *options.shared : storage.chance(shared_permille);
  if (shape.shared) {  // a node is lost after a lease, and fenced after another
    shape.nodes = static_cast<int>(storage.between(2, 5));
    shape.busy_ms = storage.between(80'000, 200'000);
    shape.pace = std::clamp(static_cast<double>(shape.busy_ms) / 100'000, 0.1, 1.0);
    std::erase_if(shape.faults, [&](Fault) { return storage.chance(500); });  // leases that begin anew lose nobody
    if (storage.chance(700)) shape.faults.erase(Fault::node_declared_dead);
    for (const Fault fault : {Fault::nodes_lost, Fault::fencer_struck, Fault::lost_again})
      if (storage.chance(700)) shape.faults.insert(fault);
  }
  if (options.nodes) shape.nodes = *options.nodes;
  if (options.controllers) shape.controllers = *options.controllers;
  if (options.busy_ms) shape.busy_ms = *options.busy_ms;
  if (options.faults) shape.faults = *options.faults;
  shape.wishes = wish_times(options.seed, shape.busy_ms, shape.shared).size();
  return shape;
}

namespace {

class World {
 public:
  explicit World(const WorldOptions& options)
      : options_(options), shape_(shape_of(options)), ground_(options.seed), prng_(ground_.prng("world")),
        nemesis_({ground_, nodes_, controllers_, clients_, checker_}, shape_.faults, shape_.pace) {
    ground_.trace = options.trace;
    ground_.log = std::make_unique<SimLog>(ground_.queue, ground_.prng("log"));
    write_genesis();
    make_processes();
  }

  Outcome run() {
    Outcome outcome;
    clients_->open();
    const std::int64_t busy_until = now() + shape_.busy_ms;
    plan_workload();
    nemesis_.plan(busy_until);
    advance(busy_until);
    nemesis_.heal();
    outcome.settled_ms = settle(settle_ms_max, "after the healing");
    advance(busy_until + aftermath_ms);
    if (ok()) settle(settle_ms_max, "after the aftermath");
    if (ok()) live_in_calm();
    if (ok() && prng_.chance(150)) seal();
    if (ok()) ground_.violate(check_replay(*ground_.log, state(), ground_.prng("replay")));
    if (ok()) ground_.violate(check_damage(*ground_.log, follower().head(), ground_.prng("damage")));
    outcome.why = ground_.violation;
    outcome.ok = ok();
    outcome.records = follower().head().seq;
    outcome.intents = clients_->sent();
    outcome.voids = follower().voids();
    ground_.mix(std::hash<Hash>{}(state().digest()));
    outcome.fingerprint = ground_.fingerprint;
    return outcome;
  }

 private:
  std::int64_t now() const { return ground_.queue.now_ms(); }
  bool ok() const { return ground_.violation.empty(); }
  const Follower& follower() const { return clients_->follower(); }
  const State& state() const { return follower().state(); }
  void advance(std::int64_t until) {
    while (ok() && now() < until) ground_.queue.run_until(std::min(until, now() + 1'000));
  }

  void write_genesis() {
    const auto id = [this] { return AnyId{prng_.next(), prng_.next()}; };
    choices_ = {.cloud = id().as<CloudId>(), .log = id().as<LogId>(), .project = id().as<ProjectId>(), .user = id().as<UserId>(),
                .admin = id().as<RoleId>(), .member = id().as<RoleId>(), .reader = id().as<RoleId>(), .node = id().as<NodeId>(),
                .name = "simulated", .place = "simulated", .password = "x", .password_hash = "x", .at_ms = ground_.now().wall_ms};
    ground_.log->write(Topic::events, encode(cli::genesis_record(choices_)).bytes);
  }

  void make_processes() {
    const std::uint64_t disk = shape_.faults.contains(Fault::small_disks) ? 12 : 1000;
    const auto size = prng_.below(10);  // of 10: capacities that are nearly spent, usual ones, huge ones
    const unsigned times = size < 3 ? 1 : size < 8 ? 8 : 1000;
    const unsigned ram_mib = size == 0 ? 200 : 512;  // room for two, or for five
    const auto pool = std::make_shared<SimulatedDisks>(disk * static_cast<std::uint64_t>(shape_.nodes), true);
    Prng outside = ground_.prng("outside");
    for (std::size_t i = 0; i < static_cast<std::size_t>(shape_.nodes); ++i) {
      const bool shares = shape_.shared && !outside.chance(outside_permille);
      NodeFacts facts{.id = {prng_.next(), prng_.next()}, .name = fmt::format("n{}", i + 1), .boot_id = fmt::format("n{}-boot-1", i + 1),
                      .vcpus = 6u * times, .ram_mib = ram_mib * times, .disk_gib = 20u * times, .compute_driver = "simulated",
                      .storage_driver = "simulated", .network_driver = "simulated", .storage_pool = shares ? "pool" : ""};
      SimulatedHost::Hooks hooks{
          .fault = [this, i](AgentKind agent, const std::string&, AnyId) { return nemesis_.driver_fault(i, agent); },
          .blind = [this, i](AgentKind agent) { return nemesis_.blind(i, agent); },
          .effect = [this, i](AgentKind agent, const std::string& what, AnyId object) {
            checker_.effect(i, agent, what, object);
            nemesis_.effect(i);
          },
          .written = [this](AnyId disk, Born born, std::uint64_t content) { checker_.written(disk, born, content); }};
      nodes_.push_back(std::make_unique<NodeProcess>(ground_, std::move(facts), shares ? pool : std::make_shared<SimulatedDisks>(disk), std::move(hooks)));
      nodes_.back()->hang_ms = [this](AgentKind agent) { return nemesis_.hang_ms(agent); };
      nodes_.back()->start();
    }
    for (int i = 0; i < shape_.controllers; ++i) {
      controllers_.push_back(std::make_unique<ControllerProcess>(ground_, fmt::format("c{}", i + 1)));
      controllers_.back()->start();
    }
    clients_ = std::make_unique<Clients>(ground_, Actor{choices_.user, choices_.project}, choices_.member,
                                         [this](const Step& step, const State& state) {
                                           checker_.folded(step, state);
                                           nemesis_.folded(step);
                                         });
    ground_.api = &clients_->follower();
  }

  void plan_workload() {
    std::uint64_t number = 0;
    for (const std::int64_t at : wish_times(options_.seed, shape_.busy_ms, shape_.shared)) {
      ++number;
      if (options_.wishes && !options_.wishes->contains(number)) continue;
      ground_.queue.at(now() + at, [this, number] { clients_->ask(number); });
    }
  }

  // Until all rests, and hosts and state agree; how long that took.
  std::int64_t settle(std::int64_t ms_max, const std::string& when) {
    const std::int64_t since = now();
    std::int64_t told_ms = since;  // when all that live had last told everything
    std::string unsettled = "not looked";
    while (ok() && !unsettled.empty()) {
      if (now() > since + ms_max) ground_.violate(fmt::format("did not settle {}: {}", when, unsettled));
      advance(now() + 5'000);
      unsettled = what_is_unsettled();
      const auto silent = checker_.silent_after_gap();
      if (silent.empty()) told_ms = now();
      else unsettled = silent;
      if (now() > told_ms + silent_ms_max) ground_.violate(silent);
    }
    if (ok()) checker_.at_rest(state());
    return now() - since;
  }

  void live_in_calm() {
    Prng prng = ground_.prng("calm");
    const bool room = !shape_.faults.contains(Fault::small_disks);
    clients_->be_patient();
    checker_.expect_calm(room);
    for (int i = 0; i < 4 && ok(); ++i) {
      const auto wish = calm_wish(state(), clients_->admin(), room, prng.fork("wish"));
      if (!wish) return;
      const AnyId object = wish->intent.object;
      const auto boots = checker_.boots(object);
      if (ground_.trace) fmt::print("{:10} in the calm: {} of {}\n", now(), wish->name, object.str());
      const auto key = clients_->ask(wish->intent);
      settle(calm_wish_ms_max, "after " + wish->name);
      if (!ok() || !clients_->took_effect(key)) continue;
      if (const auto unmet = wish->unmet(state()); !unmet.empty()) ground_.violate(fmt::format("in the calm, {}: {}", wish->name, unmet));
      if (wish->name == "reboot" && checker_.boots(object) == boots) ground_.violate("in the calm, a reboot was said to be done, and was not");
    }
  }

  // The last of all: nothing in this log counts any more, whoever starts.
  void seal() {
    const auto key = clients_->ask_as_admin(SealLog{.to = LogId{prng_.next(), prng_.next()}, .place = "elsewhere"}, {});
    advance(now() + 60'000);
    if (!clients_->took_effect(key)) return ground_.violate("the log was not sealed within a minute");
    const Seq head = follower().head().seq;
    for (auto& one : controllers_) one->kill(), one->start();
    for (std::uint64_t number = 1'000'000; number < 1'000'003; ++number) clients_->ask(number);
    advance(now() + 30'000);
    if (follower().head().seq != head) ground_.violate("the sealed log went on");
    for (auto& one : controllers_) {
      const auto role = one->controller()->status().role;
      if (role == Controller::Role::claiming || role == Controller::Role::leading) ground_.violate("a sealed log is led");
    }
  }

  // What happened on that host by itself, and the state does not know yet.
  std::string what_is_untold(NodeProcess& node, const Assignment& want) {
    const State& s = state();
    const auto disks = node.host().disks().disks;
    for (const auto& [id, disk] : want.storage) {
      const Server* server = s.servers.find(id.as<ServerId>());
      const Volume* volume = s.volumes.find(id.as<VolumeId>());
      const bool known_gone = (server && server->disk_gone) || (volume && volume->gone);
      if (disk.ready && !disk.absent && disks.contains({id, disk.born}) == known_gone)
        return fmt::format("{}: disk {} is to be seen", node.facts().name, id.str());
    }
    for (const auto& [key, server] : node.host().servers().servers) {
      const Server* row = s.servers.find(key.first);
      const bool still = server.running && server.pause != compute::Pause::none;
      if (server.pause == compute::Pause::io_error && !node.host().is_full()) return fmt::format("server {} has room, and stands still", key.first.str());
      if (row && !row->disk_gone && still != (row->status == ServerStatus::paused)) return fmt::format("server {} stands still: {}", key.first.str(), still);
    }
    return {};
  }

  // They cannot start.
  static std::set<ServerId> without_a_disk(NodeProcess& node, const Assignment& want) {
    std::set<ServerId> lacking;
    const auto servers = node.host().servers().servers;
    const auto disks = node.host().disks().disks;
    for (const auto& [id, server] : want.compute) {
      const auto at = servers.find({id, server.born});
      const bool runs = at != servers.end() && at->second.running;
      for (const auto& disk : server.disks)
        if (!runs && !disks.contains({disk.id, disk.born})) lacking.insert(id);
    }
    return lacking;
  }

  // Reports that change nothing leave no trace in the log: whoever leads knows.
  std::string what_is_unread() const {
    const auto& reports = ground_.log->stored(Topic::reports);
    for (const auto& one : controllers_) {
      if (!one->controller() || one->controller()->status().role != Controller::Role::leading) continue;
      return reports.empty() || one->controller()->reports_read() > reports.back().offset ? "" : "reports are not read yet";
    }
    return "nobody leads";
  }

  // In words, the first thing that is still on its way; empty: everything rests.
  std::string what_is_unsettled() {
    if (clients_->waiting()) return fmt::format("{} intents without an answer", clients_->waiting());
    if (ground_.log->is_held_up()) return "inputs are held up";
    if (follower().position() <= ground_.log->stored(Topic::events).back().offset) return "the api has not read all";
    const State& s = state();
    const Seq head = follower().head().seq;
    std::string why = what_is_unread();
    s.nodes.each([&](const Node& row) { if (row.state != NodeState::up) why = fmt::format("node {} is not up: {}", row.name, row.reason); });
    s.servers.each([&](const Server& row) {
      if (row.task != TaskState::none || row.deadline_ms || row.tenure == Tenure::unplacing)
        why = fmt::format("server {} status {} task {} tenure {} fault {}", row.id.str(), static_cast<int>(row.status),
                          static_cast<int>(row.task), static_cast<int>(row.tenure), row.fault);
    });
    s.volumes.each([&](const Volume& row) {
      if (row.deadline_ms) why = fmt::format("volume {} status {} fault {}", row.id.str(), static_cast<int>(row.status), row.fault);
    });
    s.leftovers.each([&](const Leftover& row) { why = fmt::format("{} of server {} was left behind", row.id.object.str(), row.server.str()); });
    for (const auto& node : nodes_) {
      const Node* row = s.nodes.find(node->facts().id);
      if (node->held() || !row || row->incarnation != node->incarnation()) why = fmt::format("{} is not known to be there", node->facts().name);
      if (node->reports_waiting()) why = fmt::format("{}: {} reports are on their way", node->facts().name, node->reports_waiting());
      if (node->hangs()) why = fmt::format("{}: a driver hangs", node->facts().name);
      const Assignment want = assignment(s, node->facts().id, head);
      if (const auto action = compute::next_action(want.compute, node->host().servers(), without_a_disk(*node, want)))
        why = fmt::format("{}: {} {}", node->facts().name, compute::step_name(action->step), action->server.id.str());
      if (const auto action = storage::next_action(want.storage, node->host().disks(), {}, want.fences))
        why = fmt::format("{}: {} disk {}", node->facts().name, storage::step_name(action->step), action->disk.id.str());
      if (const auto untold = what_is_untold(*node, want); !untold.empty()) why = untold;
      if (network::next_action(want.network, node->host().ports())) why = fmt::format("{}: network to be applied", node->facts().name);
    }
    return why;
  }

  const WorldOptions options_;
  Shape shape_;
  Ground ground_;
  Prng prng_;
  cli::GenesisChoices choices_;
  std::vector<std::unique_ptr<NodeProcess>> nodes_;
  std::vector<std::unique_ptr<ControllerProcess>> controllers_;
  Checker checker_{ground_, nodes_};
  std::unique_ptr<Clients> clients_;
  Nemesis nemesis_;
};

}  // namespace

Outcome run_world(const WorldOptions& options) { return World(options).run(); }

}  // namespace reprise::sim
