// The simulated cloud: production controllers, folds, assignments, plans and outboxes over a simulated
// log, hosts, clocks and randomness. One thread, virtual time, everything drawn from one seed.
#pragma once

#include <set>

#include "agents/core/node_agent.h"
#include "agents/core/simulated_host.h"
#include "controlplane/controller.h"
#include "projections/replay.h"
#include "tests/sim/sim_log.h"

namespace reprise::sim {

// About half of these are on in a world, drawn from its seed.
enum class Fault : std::uint8_t {
  append_unknown, append_lost, append_late, slow_log, reports_doubled, late_end, lagging_readers, starts_behind,
  controller_killed, controller_paused, reelection, agent_killed, node_cut_off, host_restarted,
  driver_fails, reply_lost, effect_lost, guest_powers_off, deaf_guests, small_disks, log_full, wall_jumps,
  count
};
const char* fault_name(Fault fault);

struct WorldOptions {
  std::uint64_t seed = 1;
  int nodes = 0;                    // 0: drawn
  int controllers = 0;              // 0: drawn
  std::int64_t busy_ms = 120'000;   // with workload and faults; then everything heals
  std::int64_t settle_ms = 3'600'000;
  std::optional<std::set<Fault>> faults;  // none: drawn
  bool trace = false;               // every event as it is folded, on stdout
};

struct Outcome {
  bool ok = false;
  std::string why;                  // what was violated, or what did not settle
  std::uint64_t fingerprint = 0;    // of the whole run
  std::uint64_t records = 0;
  std::uint64_t intents = 0;
  std::uint64_t voids = 0;
  std::int64_t settled_ms = 0;      // after the healing
  Hash digest;
};

// Runs one world to its end.
Outcome run_world(const WorldOptions& options);

}  // namespace reprise::sim
