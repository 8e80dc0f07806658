#include "tests/sim/world.h"

#include <fmt/format.h>

#include "controlplane/cli/genesis.h"
#include "tests/sim/checker.h"
#include "tests/sim/clients.h"

namespace reprise::sim {
namespace {

class World {
 public:
  explicit World(const WorldOptions& options) : options_(options), ground_(options.seed), prng_(ground_.prng.fork("world")) {
    ground_.trace = options.trace;
    ground_.log = std::make_unique<SimLog>(ground_.queue, ground_.prng.fork("log"));
    choose_faults();
    write_genesis();
    make_processes();
  }

  Outcome run() {
    Outcome outcome;
    if (prng_.chance(300)) clients_->ask_quota(prng_.between(2, 12));
    const std::int64_t busy_until = ground_.queue.now_ms() + options_.busy_ms;
    plan_workload(busy_until);
    plan_faults(busy_until);
    advance(busy_until);
    heal();
    const std::int64_t healed = ground_.queue.now_ms();
    std::string unsettled = "not looked";
    while (ground_.violation.empty() && ground_.queue.now_ms() < healed + options_.settle_ms) {
      advance(ground_.queue.now_ms() + 5'000);
      unsettled = what_is_unsettled();
      if (unsettled.empty()) break;
    }
    if (ground_.violation.empty()) final_checks();
    outcome.settled_ms = ground_.queue.now_ms() - healed;
    outcome.why = !ground_.violation.empty() ? ground_.violation : unsettled.empty() ? "" : "did not settle: " + unsettled;
    outcome.ok = outcome.why.empty();
    const Follower& follower = clients_->follower();
    outcome.records = follower.head().seq;
    outcome.intents = clients_->sent();
    outcome.voids = follower.voids();
    outcome.digest = follower.state().digest();
    ground_.mix(std::hash<Hash>{}(outcome.digest));
    outcome.fingerprint = ground_.fingerprint;
    return outcome;
  }

 private:
  bool on(Fault fault) const { return faults_.contains(fault); }
  std::int64_t now() const { return ground_.queue.now_ms(); }
  void advance(std::int64_t until) {
    while (ground_.violation.empty() && now() < until) ground_.queue.run_until(std::min(until, now() + 1'000));
  }

  void choose_faults() {
    if (options_.faults) {
      faults_ = *options_.faults;
      return;
    }
    for (int i = 0; i < static_cast<int>(Fault::count); ++i)
      if (prng_.chance(500)) faults_.insert(static_cast<Fault>(i));
  }

  void write_genesis() {
    const auto id = [this] { return AnyId{prng_.next(), prng_.next()}; };
    choices_ = {.cloud = id().as<CloudId>(), .log = id().as<LogId>(), .project = id().as<ProjectId>(), .user = id().as<UserId>(),
                .admin = id().as<RoleId>(), .member = id().as<RoleId>(), .reader = id().as<RoleId>(), .node = id().as<NodeId>(),
                .name = "simulated", .place = "simulated", .password = "x", .password_hash = "x", .at_ms = ground_.now().wall_ms};
    ground_.log->write(Topic::events, encode(cli::genesis_record(choices_)).bytes);
  }

  void make_processes() {
    const int nodes = options_.nodes ? options_.nodes : static_cast<int>(prng_.between(1, 5));
    const int controllers = options_.controllers ? options_.controllers : static_cast<int>(prng_.between(1, 3));
    const std::uint64_t disk = on(Fault::small_disks) ? 12 : 1000;
    const bool tiny = prng_.chance(300);  // capacities that are nearly spent
    for (int i = 0; i < nodes; ++i) {
      NodeFacts facts{.id = {prng_.next(), prng_.next()}, .name = fmt::format("n{}", i + 1), .boot_id = fmt::format("n{}-boot-1", i + 1),
                      .vcpus = tiny ? 6u : 64u, .ram_mib = tiny ? 512u : 4096u, .disk_gib = tiny ? 20u : 100u, .compute_driver = "simulated",
                      .storage_driver = "simulated", .network_driver = "simulated"};
      SimulatedHost::Hooks hooks{
          .fault = [this](AgentKind, const std::string& what, AnyId) { return driver_fault(what); },
          .effect = [this, i](AgentKind agent, const std::string& what, AnyId object) {
            checker_.effect(static_cast<std::size_t>(i), agent, what, object);
          }};
      nodes_.push_back(std::make_unique<NodeProcess>(ground_, std::move(facts), disk, std::move(hooks)));
      nodes_.back()->start();
    }
    for (int i = 0; i < controllers; ++i) {
      controllers_.push_back(std::make_unique<ControllerProcess>(ground_, fmt::format("c{}", i + 1)));
      controllers_.back()->start();
    }
    clients_ = std::make_unique<Clients>(ground_, choices_.user, choices_.project,
                                         [this](const Step& step, const State& state) { checker_.folded(step, state); });
  }

  SimulatedFault driver_fault(const std::string&) {
    if (healed_) return {};
    if (on(Fault::driver_fails) && prng_.chance(60))
      return {SimulatedFault::fails, {prng_.chance(500) ? Errc::unreachable : Errc::broken, "simulated: it failed"}};
    if (on(Fault::reply_lost) && prng_.chance(60)) return {SimulatedFault::reply_lost, {Errc::timed_out, "simulated: no reply"}};
    if (on(Fault::effect_lost) && prng_.chance(40)) return {SimulatedFault::effect_lost, {}};
    return {};
  }

  void plan_workload(std::int64_t until) {
    std::int64_t at = now() + 2'000;
    while (at < until) {
      ground_.queue.at(at, [this] { clients_->ask(); });
      at += prng_.between(20, 1'500);
    }
  }

  void plan_faults(std::int64_t until) {
    LogFaults& log = ground_.log->faults();
    if (on(Fault::append_unknown)) log.timed_out = 10;
    if (on(Fault::append_late)) log.timed_out = 10, log.late_ms_max = prng_.chance(300) ? 60'000 : 2'000;
    if (on(Fault::append_lost)) log.lost = 10;
    if (on(Fault::slow_log)) log.append_ms_max = 200, log.answer_ms_max = 200;
    if (on(Fault::reports_doubled)) log.duplicated_report = 100;
    if (on(Fault::late_end)) log.end_ms_max = 3'000;
    if (on(Fault::lagging_readers)) log.lag_ms_max = 800, log.short_poll = 200;
    if (on(Fault::starts_behind)) log.behind_ms_max = 15'000;
    at_random(Fault::controller_killed, until, 20'000, [this] {
      auto& one = *pick(controllers_);
      one.kill();
      later(10, 8'000, [&one] { one.start(); });
    });
    at_random(Fault::controller_paused, until, 25'000, [this] {
      auto& one = *pick(controllers_);
      one.pause(true);
      later(100, 40'000, [&one] { one.pause(false); });
    });
    at_random(Fault::reelection, until, 15'000, [this] { ground_.log->reelect(); });
    at_random(Fault::agent_killed, until, 15'000, [this] {
      auto& one = *pick(nodes_);
      one.kill();
      later(10, 8'000, [&one] { one.start(); });
    });
    at_random(Fault::node_cut_off, until, 30'000, [this] {
      auto& one = *pick(nodes_);
      one.cut(true);
      later(1'000, 60'000, [&one] { one.cut(false); });
    });
    at_random(Fault::host_restarted, until, 30'000, [this] {
      const auto at = prng_.below(nodes_.size());
      auto& one = *nodes_[at];
      one.restart_host();
      checker_.restarted(at);
      later(1'000, 60'000, [&one] { one.start(); });
    });
    at_random(Fault::guest_powers_off, until, 10'000, [this] {
      auto& host = pick(nodes_)->host();
      const auto servers = host.servers().servers;
      if (servers.empty()) return;
      auto at = servers.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(prng_.below(servers.size())));
      if (prng_.chance(500)) host.guest_powers_off(at->first.first);
      else host.kill_guest(at->first.first);
    });
    at_random(Fault::deaf_guests, until, 10'000, [this] {
      auto& host = pick(nodes_)->host();
      for (const auto& [key, server] : host.servers().servers) host.set_deaf(key.first, prng_.chance(500));
    });
    at_random(Fault::log_full, until, 50'000, [this] {
      ground_.log->faults().full = true;
      later(500, 8'000, [this] { ground_.log->faults().full = false; });
    });
    at_random(Fault::wall_jumps, until, 40'000, [this] { ground_.wall_offset_ms += prng_.between(-3'000, 60'000); });
  }

  template <class F>
  void at_random(Fault fault, std::int64_t until, std::int64_t every_ms, F f) {
    if (!on(fault)) return;
    for (std::int64_t at = now() + prng_.between(1'000, every_ms); at < until; at += prng_.between(every_ms / 4, every_ms * 2))
      ground_.queue.at(at, [this, f] { if (!healed_) f(); });
  }
  template <class F>
  void later(std::int64_t from_ms, std::int64_t to_ms, F f) {
    ground_.queue.at(now() + prng_.between(from_ms, to_ms), f);
  }
  template <class T>
  std::unique_ptr<T>& pick(std::vector<std::unique_ptr<T>>& all) { return all[prng_.below(all.size())]; }

  void heal() {
    healed_ = true;
    LogFaults calm;
    calm.append_ms_max = 2;
    ground_.log->faults() = calm;
    for (auto& one : controllers_) one->start(), one->pause(false);
    for (auto& one : nodes_) {
      one->start();
      one->cut(false);  // guests that are deaf stay so: they are no fault of ours
    }
  }

  // In words, the first thing that is still on its way; empty: everything rests.
  std::string what_is_unsettled() {
    if (clients_->waiting()) return fmt::format("{} intents without an answer", clients_->waiting());
    const State& s = clients_->follower().state();
    const Seq head = clients_->follower().head().seq;
    std::string why;
    s.nodes.each([&](const Node& row) { if (row.state != NodeState::up) why = fmt::format("node {} is not up: {}", row.name, row.reason); });
    s.servers.each([&](const Server& row) {
      if (row.task != TaskState::none || row.deadline_ms || row.tenure == Tenure::unplacing)
        why = fmt::format("server {} status {} task {} tenure {} fault {}", row.id.str(), static_cast<int>(row.status), static_cast<int>(row.task), static_cast<int>(row.tenure), row.fault);
    });
    s.volumes.each([&](const Volume& row) {
      if (row.deadline_ms) why = fmt::format("volume {} status {} fault {}", row.id.str(), static_cast<int>(row.status), row.fault);
    });
    for (const auto& node : nodes_) {
      const Assignment want = assignment(s, node->facts().id, head);
      if (const auto action = compute::next_action(want.compute, node->host().servers()))
        why = fmt::format("{}: {} {}", node->facts().name, compute::step_name(action->step), action->server.id.str());
      if (const auto action = storage::next_action(want.storage, node->host().disks()))
        why = fmt::format("{}: {} disk {}", node->facts().name, storage::step_name(action->step), action->disk.id.str());
      if (network::next_action(want.network, node->host().ports())) why = fmt::format("{}: network to be applied", node->facts().name);
    }
    return why;
  }

  void final_checks() {
    clients_->check();
    checker_.at_rest(clients_->follower().state());
    check_replay(clients_->follower().state());
  }

  // Replayed from zero it is the same state.
  void check_replay(const State& s) {
    State again;
    Head head;
    MemoryHashes seen;
    for (const auto& stored : ground_.log->stored(Topic::events)) {
      const Step step = read_step(head, seen, {stored.offset, stored.bytes});
      if (step.verdict == Verdict::broken) return ground_.violate("replay from zero: " + step.why);
      seen.add(step.hash);
      if (step.verdict != Verdict::extends) continue;
      if (auto status = apply_step(again, head, step); !status) return ground_.violate("replay from zero: " + status.error().text);
    }
    if (again.digest() != s.digest()) ground_.violate("replay from zero ends in another digest");
  }

  const WorldOptions options_;
  Ground ground_;
  Prng prng_;
  std::set<Fault> faults_;
  cli::GenesisChoices choices_;
  std::vector<std::unique_ptr<NodeProcess>> nodes_;
  std::vector<std::unique_ptr<ControllerProcess>> controllers_;
  Checker checker_{ground_, nodes_};
  std::unique_ptr<Clients> clients_;
  bool healed_ = false;
};

}  // namespace

const char* fault_name(Fault fault) {
  static constexpr const char* names[] = {
      "append_unknown", "append_lost", "append_late", "slow_log", "reports_doubled", "late_end", "lagging_readers", "starts_behind",
      "controller_killed", "controller_paused", "reelection", "agent_killed", "node_cut_off", "host_restarted",
      "driver_fails", "reply_lost", "effect_lost", "guest_powers_off", "deaf_guests", "small_disks", "log_full", "wall_jumps"};
  static_assert(std::size(names) == static_cast<std::size_t>(Fault::count));
  return names[static_cast<std::size_t>(fault)];
}

Outcome run_world(const WorldOptions& options) { return World(options).run(); }

}  // namespace reprise::sim
