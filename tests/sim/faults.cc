#include "tests/sim/faults.h"

#include <algorithm>

#include "tests/sim/checker.h"
#include "tests/sim/clients.h"

namespace reprise::sim {
namespace {

constexpr const char* names[] = {
    "append_unknown", "append_lost", "append_late", "slow_log", "log_full", "late_end", "inputs_late", "end_forgotten",
    "reports_doubled", "reports_lost", "intents_lost", "lagging_readers", "starts_behind",
    "controller_killed", "controller_paused", "reelection", "all_elected", "killed_at_a_call",
    "agent_killed", "killed_at_an_effect", "api_killed", "cloud_sleeps", "wall_jumps", "bad_clock",
    "node_cut_off", "host_restarted", "node_declared_dead", "long_away",
    "driver_fails", "driver_broken", "driver_hangs", "reply_lost", "effect_lost", "blind", "slow_work", "small_disks",
    "guest_powers_off", "deaf_guests", "flows_lost",
    "actions_hang", "guests_suspended", "disks_full", "disks_vanish", "folder_gone", "networks_broken", "nodes_lost", "fencer_struck", "lost_again"};
static_assert(std::size(names) == static_cast<std::size_t>(Fault::count));

constexpr std::int64_t day_ms = 86'400'000;

template <class T>
T& pick(const std::vector<std::unique_ptr<T>>& all, Prng& prng) { return *all[prng.below(all.size())]; }

}  // namespace

const char* fault_name(Fault fault) { return names[static_cast<std::size_t>(fault)]; }

std::set<Fault> parse_faults(const std::string& text) {
  std::set<Fault> faults;
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (("," + text + ",").find(std::string(",") + names[i] + ",") != std::string::npos) faults.insert(static_cast<Fault>(i));
  return faults;
}

std::string join_faults(const std::set<Fault>& faults) {
  std::string text;
  for (const Fault fault : faults) text += (text.empty() ? "" : ",") + std::string(fault_name(fault));
  return text.empty() ? "none" : text;
}

Nemesis::Nemesis(Cast cast, std::set<Fault> faults, double pace)
    : cast_(cast), faults_(std::move(faults)), pace_(pace), drivers_(cast.ground.prng("drivers")), strikes_(cast.ground.prng("strikes")),
      fencers_(cast.ground.prng("fencers")), hangs_(cast.ground.prng("hangs")) {}

template <class F>
void Nemesis::now_and_then(Fault fault, std::int64_t until_ms, std::int64_t every_ms, F f) {
  if (!on(fault)) return;
  const auto prng = std::make_shared<Prng>(cast_.ground.prng(fault_name(fault)));
  every_ms = std::max<std::int64_t>(200, static_cast<std::int64_t>(static_cast<double>(every_ms) * pace_));
  for (std::int64_t at = cast_.ground.queue.now_ms() + prng->between(every_ms / 10, every_ms); at < until_ms;
       at += prng->between(every_ms / 4, every_ms * 2))
    cast_.ground.queue.at(at, [this, f, prng] { if (!healed_) f(*prng); });
}

template <class F>
void Nemesis::later(std::int64_t ms, F f) { cast_.ground.queue.at(cast_.ground.queue.now_ms() + ms, std::move(f)); }

void Nemesis::plan(std::int64_t until_ms) {
  set_log_faults();
  plan_losses(until_ms);
  plan_processes(until_ms);
  plan_nodes(until_ms);
  plan_hosts(until_ms);
  plan_lost_nodes(until_ms);
}

void Nemesis::set_log_faults() {
  LogFaults& log = cast_.ground.log->faults();
  Prng prng = cast_.ground.prng("log_faults");
  const bool much_later = prng.chance(300);
  if (on(Fault::append_unknown)) log.timed_out = 10;
  if (on(Fault::append_late)) log.timed_out = 10, log.late_ms_max = much_later ? 60'000 : 2'000;
  if (on(Fault::append_lost)) log.lost = 10;
  if (on(Fault::slow_log)) log.append_ms_max = 200, log.answer_ms_max = 200;
  if (on(Fault::reports_doubled)) log.duplicated_report = 100;
  if (on(Fault::late_end)) log.end_ms_max = 3'000, log.end_fails = 50;
  if (on(Fault::lagging_readers)) log.lag_ms_max = 800, log.short_poll = 200;
  if (on(Fault::starts_behind)) log.behind_ms_max = 15'000;
  if (on(Fault::killed_at_a_call)) log.struck = 1;
  if (on(Fault::slow_work)) cast_.ground.work_ms_max = 1'500;
  cast_.ground.log->on_struck([this](const std::string& client) { struck(client); });
}

// What is in the log is all kept, but for inputs that are too old; what cannot be appended is not.
void Nemesis::plan_losses(std::int64_t until_ms) {
  const auto forget = [this](Topic topic) {
    cast_.checker.look_at_reports();
    const auto& stored = cast_.ground.log->stored(topic);
    if (!stored.empty()) cast_.ground.log->cut_off(topic, stored.back().offset);
  };
  now_and_then(Fault::reports_lost, until_ms, 15'000, [forget](Prng&) { forget(Topic::reports); });
  now_and_then(Fault::intents_lost, until_ms, 30'000, [forget](Prng&) { forget(Topic::intents); });
  now_and_then(Fault::log_full, until_ms, 50'000, [this](Prng& prng) {
    cast_.ground.log->faults().full = true;
    later(prng.between(500, 8'000), [this] { cast_.ground.log->faults().full = false; });
  });
  // A partition without a leader: the other topics go on meanwhile.
  now_and_then(Fault::inputs_late, until_ms, 10'000, [this](Prng& prng) {
    cast_.ground.log->hold_up(prng.chance(700) ? Topic::reports : Topic::intents, prng.between(200, 8'000));
  });
  now_and_then(Fault::end_forgotten, until_ms, 15'000, [this](Prng& prng) {
    constexpr Topic topics[] = {Topic::events, Topic::intents, Topic::reports, Topic::heartbeats};
    cast_.ground.log->forget_end(topics[prng.below(std::size(topics))], prng.between(1, 5), prng.between(10, 8'000));
  });
  now_and_then(Fault::reelection, until_ms, 15'000, [this](Prng&) { cast_.ground.log->reelect(); });
  now_and_then(Fault::all_elected, until_ms, 20'000, [this](Prng& prng) {
    cast_.ground.log->faults().all_elected = true;
    later(prng.between(500, 8'000), [this] { cast_.ground.log->faults().all_elected = false; });
  });
  now_and_then(Fault::wall_jumps, until_ms, 40'000, [this](Prng& prng) {
    cast_.ground.wall_offset_ms += prng.chance(100) ? day_ms : prng.between(-3'000, 60'000);
  });
}

void Nemesis::plan_processes(std::int64_t until_ms) {
  now_and_then(Fault::controller_killed, until_ms, 20'000, [this](Prng& prng) {
    auto& one = pick(cast_.controllers, prng);
    one.kill();
    later(prng.between(10, 8'000), [&one] { one.start(); });
  });
  now_and_then(Fault::controller_paused, until_ms, 25'000, [this](Prng& prng) {
    auto& one = pick(cast_.controllers, prng);
    one.pause(true);
    later(prng.between(100, 40'000), [&one] { one.pause(false); });
  });
  now_and_then(Fault::bad_clock, until_ms, 20'000, [this](Prng& prng) {
    const std::int64_t far_ms = prng.chance(300) ? 9 * 3'600'000 : 20'000;
    pick(cast_.controllers, prng).skew(prng.chance(500) ? prng.between(-3 * far_ms, 0) : prng.between(0, far_ms));
  });
  now_and_then(Fault::agent_killed, until_ms, 15'000, [this](Prng& prng) {
    auto& one = pick(cast_.nodes, prng);
    one.kill();
    later(prng.between(10, 8'000), [&one] { one.start(); });
  });
  now_and_then(Fault::api_killed, until_ms, 15'000, [this](Prng&) { cast_.clients->restart_api(); });
  now_and_then(Fault::cloud_sleeps, until_ms, 60'000, [this](Prng& prng) {
    const auto all = [this](bool paused) {
      for (auto& one : cast_.controllers) one->pause(paused);
      for (auto& one : cast_.nodes) one->pause(paused);
      cast_.clients->pause(paused);
    };
    all(true);
    later(prng.chance(200) ? prng.between(600'000, 7'200'000) : prng.between(15'000, 90'000), [all] { all(false); });
  });
}

void Nemesis::plan_nodes(std::int64_t until_ms) {
  now_and_then(Fault::node_cut_off, until_ms, 30'000, [this](Prng& prng) {
    auto& one = pick(cast_.nodes, prng);
    one.cut(true);
    later(prng.between(1'000, 60'000), [&one] { one.cut(false); });
  });
  const auto restart_host = [this](std::size_t at, std::int64_t off_ms) {
    auto& one = *cast_.nodes[at];
    one.restart_host();
    cast_.checker.restarted(at);
    later(off_ms, [&one] { one.start(); });
  };
  now_and_then(Fault::host_restarted, until_ms, 30'000, [this, restart_host](Prng& prng) {
    restart_host(prng.below(cast_.nodes.size()), prng.between(1'000, 60'000));
  });
  // Its guests go on all the while, or not.
  now_and_then(Fault::long_away, until_ms, 100'000, [this, restart_host](Prng& prng) {
    const auto at = prng.below(cast_.nodes.size());
    const std::int64_t away_ms = prng.chance(20) ? day_ms : prng.between(120'000, 900'000);
    if (prng.chance(300)) return restart_host(at, away_ms);
    auto& one = *cast_.nodes[at];
    one.kill();
    later(away_ms, [&one] { one.start(); });
  });
  now_and_then(Fault::node_declared_dead, until_ms, 40'000, [this, until_ms](Prng& prng) {
    if (prng.chance(200)) return declare_dead(prng.below(cast_.nodes.size()), prng);
    later(prng.between(0, until_ms - cast_.ground.queue.now_ms()),
          [this, own = prng.fork("busiest")]() mutable { declare_busiest_dead(own); });
  });
  now_and_then(Fault::guest_powers_off, until_ms, 10'000, [this](Prng& prng) {
    auto& host = pick(cast_.nodes, prng).host();
    const auto servers = host.servers().servers;
    if (servers.empty()) return;
    auto at = servers.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(prng.below(servers.size())));
    if (prng.chance(500)) host.guest_powers_off(at->first.first);
    else host.kill_guest(at->first.first);
  });
  // Its disk is read-only, its switch is gone: whatever comes to that node fails, and it seems to have the most room.
  now_and_then(Fault::driver_broken, until_ms, 15'000, [this](Prng& prng) {
    const auto agent = static_cast<AgentKind>(prng.below(3));
    broken_until_[{prng.below(cast_.nodes.size()), agent}] = cast_.ground.queue.now_ms() + prng.between(2'000, 40'000);
  });
  now_and_then(Fault::flows_lost, until_ms, 15'000, [this](Prng& prng) {
    const auto at = prng.below(cast_.nodes.size());
    cast_.nodes[at]->host().lose_flows();
  });
  now_and_then(Fault::deaf_guests, until_ms, 10'000, [this](Prng& prng) {
    auto& host = pick(cast_.nodes, prng).host();
    for (const auto& [key, server] : host.servers().servers) host.set_deaf(key.first, prng.chance(500));
  });
}

// What becomes of guests, disks and networks on a host whose agents are well.
void Nemesis::plan_hosts(std::int64_t until_ms) {
  const auto some_guest = [](SimulatedHost& host, Prng& prng) -> std::optional<ServerId> {
    const auto servers = host.servers().servers;
    if (servers.empty()) return std::nullopt;
    auto at = servers.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(prng.below(servers.size())));
    return at->first.first;
  };
  now_and_then(Fault::guests_suspended, until_ms, 10'000, [this, some_guest](Prng& prng) {
    auto& host = pick(cast_.nodes, prng).host();
    const auto guest = some_guest(host, prng);
    if (!guest) return;
    host.pause_guest(*guest, compute::Pause::by_hand);
    if (prng.chance(600)) later(prng.between(100, 30'000), [&host, id = *guest] { host.pause_guest(id, compute::Pause::none); });
  });
  now_and_then(Fault::disks_full, until_ms, 20'000, [this](Prng& prng) {
    auto& host = pick(cast_.nodes, prng).host();
    host.set_full(true);
    later(prng.between(500, 40'000), [&host] { host.set_full(false); });
  });
  now_and_then(Fault::disks_vanish, until_ms, 25'000, [this](Prng& prng) {
    auto& host = pick(cast_.nodes, prng).host();
    const auto disks = host.disks().disks;
    if (disks.empty()) return;
    auto at = disks.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(prng.below(disks.size())));
    if (cast_.checker.vanishes(at->first.first, at->first.second)) host.lose_disk(at->first.first, at->first.second);
  });
  now_and_then(Fault::folder_gone, until_ms, 30'000, [this](Prng& prng) {
    folder_gone_until_[prng.below(cast_.nodes.size())] = cast_.ground.queue.now_ms() + prng.between(1'000, 60'000);
  });
  now_and_then(Fault::networks_broken, until_ms, 15'000, [this](Prng& prng) {
    auto& host = pick(cast_.nodes, prng).host();
    const auto carried = host.ports().networks;
    if (carried.empty()) return;
    auto at = carried.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(prng.below(carried.size())));
    host.set_network_trouble(at->first, "simulated: the device is refused");
    later(prng.between(500, 40'000), [&host, id = at->first] { host.set_network_trouble(id, ""); });
  });
}

void Nemesis::take_away(std::size_t node, std::int64_t ms, Prng& prng) {
  NodeProcess& one = *cast_.nodes[node];
  if (one.held()) return;
  switch (prng.below(4)) {
    case 0: return one.cut(true), later(ms, [&one] { one.cut(false); });
    case 1: return one.pause(true), later(ms, [&one] { one.pause(false); });
    case 2: return one.kill(), later(ms, [&one] { one.start(); });
    default:
      one.restart_host();
      cast_.checker.restarted(node);
      later(ms, [&one] { one.start(); });
  }
}

// One after the other: of those that fall silent together the controller does not know whether it is they, or itself.
void Nemesis::plan_lost_nodes(std::int64_t until_ms) {
  now_and_then(Fault::nodes_lost, until_ms, 30'000, [this](Prng& prng) {
    const auto first = prng.below(cast_.nodes.size());
    take_away(first, prng.between(35'000, 150'000), prng);
    if (prng.chance(500)) return;
    later(prng.between(1'000, 60'000), [this, second = prng.below(cast_.nodes.size()), own = prng.fork("second")]() mutable {
      if (!healed_) take_away(second, own.between(35'000, 120'000), own);
    });
  });
}

void Nemesis::take_away_soon(NodeId id, std::int64_t within_ms, std::int64_t ms_min) {
  const auto node = std::ranges::find(cast_.nodes, id, [](const auto& one) { return one->facts().id; });
  if (node == cast_.nodes.end()) return;
  const auto at = static_cast<std::size_t>(node - cast_.nodes.begin());
  later(fencers_.between(0, within_ms), [this, at, ms_min, own = fencers_.fork("strike")]() mutable {
    if (!healed_) take_away(at, own.between(ms_min, 90'000), own);
  });
}

// Who is asked for a fence is just then not to be had, and may carry it out when it is back. Who is back is gone at once:
// its guests had no time to become clients of its new identity.
void Nemesis::folded(const Step& step) {
  if (healed_) return;
  for (const auto& decision : step.record.decisions)
    for (const auto& event : decision.events) {
      if (event.is<NodeFencing>() && on(Fault::fencer_struck) && fencers_.chance(600)) take_away_soon(event.as<NodeFencing>().by, 60, 1'000);
      if (event.is<NodeReturned>() && on(Fault::lost_again) && fencers_.chance(500)) take_away_soon(event.as<NodeReturned>().id, 20, 25'000);
    }
}

// The one with the most guests.
void Nemesis::declare_busiest_dead(Prng& prng) {
  const auto guests = [](const auto& one) { return one->held() ? 0 : one->host().servers().servers.size(); };
  const auto most = std::ranges::max_element(cast_.nodes, {}, guests);
  if (!healed_) declare_dead(static_cast<std::size_t>(most - cast_.nodes.begin()), prng);
}

// As an operator should: the host is powered off first, and stays so until the cloud has answered. Or nobody reaches it
// any more, not even its power switch: cut off, its agents and its guests live on.
void Nemesis::declare_dead(std::size_t at, Prng& prng) {
  NodeProcess& one = *cast_.nodes[at];
  const bool out_of_reach = prng.chance(600);
  if (out_of_reach && one.facts().storage_pool.empty()) {  // of others' storage an admin makes sure
    one.cut(true);
  } else {
    one.restart_host();
    one.cut(false);
    cast_.checker.restarted(at);
  }
  one.hold();
  for (int i = 0; i < 3; ++i)
    later(prng.between(15'000, 45'000), [this, &one] { cast_.clients->declare_dead(one.facts().id); });
  later(prng.between(45'000, 90'000), [this, &one] { bring_back(one); });
}

void Nemesis::bring_back(NodeProcess& one) {
  if (cast_.clients->waits_about(one.facts().id.as<AnyId>())) return later(1'000, [this, &one] { bring_back(one); });
  one.let_go();
}

void Nemesis::struck(const std::string& client) {
  const std::int64_t back_ms = strikes_.between(10, 8'000);
  for (auto& one : cast_.controllers)
    if (one->client_name() == client) return one->kill(), later(back_ms, [&one] { one->start(); });
  for (auto& one : cast_.nodes)
    if (one->client_name() == client) return one->kill(), later(back_ms, [&one] { one->start(); });
  if (cast_.clients->client_name() == client) cast_.clients->restart_api();
}

SimulatedFault Nemesis::driver_fault(std::size_t node, AgentKind agent) {
  if (healed_) return {};
  if (on(Fault::driver_hangs) && drivers_.chance(20)) cast_.nodes[node]->hang(agent, drivers_.between(5'000, 90'000));
  const auto broken = broken_until_.find({node, agent});
  if (broken != broken_until_.end() && cast_.ground.queue.now_ms() < broken->second)
    return {SimulatedFault::fails, {Errc::broken, "simulated: it is broken"}};
  if (on(Fault::driver_fails) && drivers_.chance(60))
    return {SimulatedFault::fails, {drivers_.chance(500) ? Errc::unreachable : Errc::broken, "simulated: it failed"}};
  if (on(Fault::reply_lost) && drivers_.chance(60)) return {SimulatedFault::reply_lost, {Errc::timed_out, "simulated: no reply"}};
  if (on(Fault::effect_lost) && drivers_.chance(40)) return {SimulatedFault::effect_lost, {}};
  return {};
}

std::int64_t Nemesis::hang_ms(AgentKind) {
  if (healed_ || !on(Fault::actions_hang) || !hangs_.chance(30)) return 0;
  return hangs_.between(1'000, 120'000);
}

Status Nemesis::blind(std::size_t node, AgentKind agent) {
  const auto gone = folder_gone_until_.find(node);
  if (!healed_ && agent == AgentKind::storage && gone != folder_gone_until_.end() && cast_.ground.queue.now_ms() < gone->second)
    return {Errc::not_found, "simulated: the folder of its disks is not the one that it was"};
  if (healed_ || !on(Fault::blind) || !drivers_.chance(50)) return {};
  return {Errc::unreachable, "simulated: it does not answer"};
}

// Between the effect and the report of it the agent dies.
void Nemesis::effect(std::size_t node) {
  if (healed_ || !on(Fault::killed_at_an_effect) || !strikes_.chance(30)) return;
  auto& one = *cast_.nodes[node];
  one.fall_silent();
  later(0, [this, &one] {
    one.kill();
    later(strikes_.between(10, 8'000), [&one] { one.start(); });
  });
}

void Nemesis::heal() {
  healed_ = true;
  LogFaults calm;
  calm.append_ms_max = 2;
  cast_.ground.log->faults() = calm;
  cast_.ground.work_ms_max = usual_work_ms_max;
  for (auto& one : cast_.controllers) one->start(), one->pause(false), one->skew(0);
  for (auto& one : cast_.nodes) {
    one->start();
    one->pause(false);
    one->cut(false);  // guests that are deaf stay so: they are no fault of ours
  }
  cast_.clients->pause(false);
}

}  // namespace reprise::sim
