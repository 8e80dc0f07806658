// What clients wish for, drawn from what there is: every intent of the catalog, each with its weight.
#pragma once

#include <map>

#include "projections/state.h"
#include "tests/sim/prng.h"

namespace reprise::sim {

struct Actor {
  UserId user;
  ProjectId project;
};

class Workload {
 public:
  Workload(Actor admin, RoleId member, Prng prng);

  // Two more projects with a member each, to be made before all else. Some have little quota.
  std::vector<Intent> opening();
  // One wish, with its actor and object, or several alike; the same `prng` and state give the same.
  std::vector<Intent> draw(Prng prng, const State& state) const;

  const Actor& admin() const { return actors_[0]; }

  using Weights = std::map<IntentType, unsigned>;

 private:
  Weights weights_;              // of this world: some kinds more, some not at all
  std::array<Actor, 3> actors_;  // the first is the admin
  const RoleId member_;
  Prng prng_;
};

}  // namespace reprise::sim
