// What goes wrong in a simulated cloud. About half of the kinds are on in a world; each draws from randomness of its own,
// so that leaving one out (see shrink.h) does not move the others.
#pragma once

#include <map>
#include <set>
#include <string>

#include "agents/core/simulated_host.h"
#include "projections/replay.h"
#include "tests/sim/prng.h"

namespace reprise::sim {

enum class Fault : std::uint8_t {
  append_unknown, append_lost, append_late, slow_log, log_full, late_end, inputs_late, end_forgotten,  // the log
  reports_doubled, reports_lost, intents_lost, lagging_readers, starts_behind,
  controller_killed, controller_paused, reelection, all_elected, killed_at_a_call,      // processes
  agent_killed, killed_at_an_effect, api_killed, cloud_sleeps, wall_jumps, bad_clock,
  node_cut_off, host_restarted, node_declared_dead, long_away,                          // nodes
  driver_fails, driver_broken, driver_hangs, reply_lost, effect_lost, blind, slow_work, small_disks,  // hosts
  guest_powers_off, deaf_guests, flows_lost,
  actions_hang, guests_suspended, disks_full, disks_vanish, folder_gone, networks_broken,
  nodes_lost, fencer_struck, lost_again,                                                // of shared storage
  count
};
const char* fault_name(Fault fault);
// Of names with commas between them; "none" is none. Unknown ones are passed over.
std::set<Fault> parse_faults(const std::string& text);
std::string join_faults(const std::set<Fault>& faults);

struct Ground;
class NodeProcess;
class ControllerProcess;
class Clients;
class Checker;

// All whom it may befall.
struct Cast {
  Ground& ground;
  const std::vector<std::unique_ptr<NodeProcess>>& nodes;
  const std::vector<std::unique_ptr<ControllerProcess>>& controllers;
  std::unique_ptr<Clients>& clients;
  Checker& checker;
};

class Nemesis {
 public:
  // `pace` stretches or shortens the time between two faults of a kind.
  Nemesis(Cast cast, std::set<Fault> faults, double pace);

  // Everything that will go wrong until then.
  void plan(std::int64_t until_ms);
  // Nothing goes wrong any more, and whoever is down, paused or cut off comes back.
  void heal();
  bool healed() const { return healed_; }

  SimulatedFault driver_fault(std::size_t node, AgentKind agent);
  Status blind(std::size_t node, AgentKind agent);
  // For how long an action that is begun now hangs.
  std::int64_t hang_ms(AgentKind agent);
  // A record was folded.
  void folded(const Step& step);
  // An effect took place on that node.
  void effect(std::size_t node);

 private:
  bool on(Fault fault) const { return faults_.contains(fault); }
  void set_log_faults();
  void plan_processes(std::int64_t until_ms);
  void plan_nodes(std::int64_t until_ms);
  void plan_hosts(std::int64_t until_ms);
  void plan_losses(std::int64_t until_ms);
  void plan_lost_nodes(std::int64_t until_ms);
  // For so long it is cut off, paused, down, or its host is off; then it is back.
  void take_away(std::size_t node, std::int64_t ms, Prng& prng);
  // After at most so long, if anybody is called so.
  void take_away_soon(NodeId id, std::int64_t within_ms, std::int64_t ms_min);
  void declare_busiest_dead(Prng& prng);
  void declare_dead(std::size_t at, Prng& prng);
  void bring_back(NodeProcess& one);
  void struck(const std::string& client);
  template <class F>
  void now_and_then(Fault fault, std::int64_t until_ms, std::int64_t every_ms, F f);
  template <class F>
  void later(std::int64_t ms, F f);

  Cast cast_;
  const std::set<Fault> faults_;
  const double pace_;
  Prng drivers_, strikes_, fencers_, hangs_;
  std::map<std::size_t, std::int64_t> folder_gone_until_;
  std::map<std::pair<std::size_t, AgentKind>, std::int64_t> broken_until_;
  bool healed_ = false;
};

}  // namespace reprise::sim
