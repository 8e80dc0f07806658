// The one fold (design, section 3): the only way state changes, in the controller, the projections,
// the agents, the tests and the verifier. No I/O, clock, randomness, configuration or lock in it.
#pragma once

#include "events/codec.h"
#include "projections/state.h"

namespace reprise {

// What a fold knows of the record that it is in.
struct RecordFrame {
  Seq seq = 0;
  std::int64_t at_ms = 0;
  std::uint32_t next_event = 0;     // index of the next event in the record
  std::uint32_t next_decision = 0;
};

// In parts, so that the controller can fold while it still decides what else goes into the record.
// `begin` forgets what log time has passed; `decision` folds its events; `end` sets the positions.
void fold_begin(State& state, const RecordFrame& frame);
// `intent`: the decision's own, if the caller has it decoded already.
void fold_decision(State& state, RecordFrame& frame, const Decision& decision, const Intent* intent = nullptr);
void fold_end(State& state, const std::vector<Position>& positions);

// The whole record.
void fold(State& state, const Record& record);

// Is this refusal kept under a client's key? Not if the same key may well succeed later.
bool is_kept_under_key(const Decision& decision);

}  // namespace reprise
