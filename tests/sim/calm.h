// When everything has healed and rests, what is asked must come true, soon, and without a word of trouble: one wish at a
// time, each with the state that it must lead to.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "projections/state.h"
#include "tests/sim/prng.h"
#include "tests/sim/workload.h"

namespace reprise::sim {

inline constexpr std::int64_t calm_wish_ms_max = 400'000;  // a deaf guest is given its time, then forced

struct CalmWish {
  Intent intent;
  std::string name;
  // What is not as it must be once all rests again; empty: nothing. An intent that was refused is not asked about.
  std::function<std::string(const State&)> unmet;
};

// One that this state allows; none: there is nothing to wish for.
std::optional<CalmWish> calm_wish(const State& state, const Actor& admin, bool may_create, Prng prng);

}  // namespace reprise::sim
