// The simulated cloud: production controllers, folds, assignments, plans and outboxes over a simulated
// log, hosts, clocks and randomness. One thread, virtual time, everything drawn from one seed.
#pragma once

#include <optional>

#include "tests/sim/faults.h"

namespace reprise::sim {

// What is not given is drawn from the seed.
struct WorldOptions {
  std::uint64_t seed = 1;
  std::optional<int> nodes, controllers;
  std::optional<bool> shared;                      // storage
  std::optional<std::int64_t> busy_ms;             // with workload and faults; then everything heals
  std::optional<std::set<Fault>> faults;
  std::optional<std::set<std::uint64_t>> wishes;   // only these, by their numbers
  bool trace = false;                              // every event as it is folded, on stdout
};

// The world as it was drawn.
struct Shape {
  int nodes = 0, controllers = 0;
  bool shared = false;                             // nodes share a storage pool, most of them
  std::int64_t busy_ms = 0;
  double pace = 1;                                 // of the faults: see Nemesis
  std::set<Fault> faults;
  std::uint64_t wishes = 0;                        // asked for
};

// What would be run; with the number of its wishes.
Shape shape_of(const WorldOptions& options);

struct Outcome {
  bool ok = false;
  std::string why;                  // what was violated, or what did not settle
  std::uint64_t fingerprint = 0;    // of the whole run
  std::uint64_t records = 0;
  std::uint64_t intents = 0;
  std::uint64_t voids = 0;
  std::int64_t settled_ms = 0;      // after the healing
};

// Runs one world to its end.
Outcome run_world(const WorldOptions& options);

}  // namespace reprise::sim
