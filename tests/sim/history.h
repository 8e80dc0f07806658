// What must hold of any history, whoever wrote it: checked on the log of a simulated cloud once it rests.
#pragma once

#include <string>

#include "projections/replay.h"
#include "tests/sim/prng.h"
#include "tests/sim/sim_log.h"

namespace reprise::sim {

// Each answers with what is wrong; empty: nothing.

// Replayed from zero, and started again at random records from rows that were written and read, it is the same state.
std::string check_replay(const SimLog& log, const State& state, Prng prng);

// One byte of one record changes: the reader says so, or what it reads is the same; nothing is silently missing.
// Only of the last record that is read may a reader not know what it was (its hash is what `verify` asks for).
std::string check_damage(const SimLog& log, const Head& head, Prng prng);

}  // namespace reprise::sim
