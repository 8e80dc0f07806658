// One step of every reader of the events topic: entry -> record -> judged -> folded -> digest compared.
// The projection, the verifier and whoever else follows the log take the same steps, so that all of
// them fold the same records and stop at the same place.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "events/chain.h"
#include "events/log.h"
#include "projections/state.h"

namespace reprise {

struct Step {
  Verdict verdict = Verdict::broken;
  std::string why;  // for void and broken: in words, with the offset
  Record record;    // not for broken
  Hash hash;
  std::int64_t offset = -1;
};

// Decodes and judges one entry. Needs no state.
Step read_step(const Head& head, const SeenHashes& seen, const Entry& entry);

// Folds a step that extends the head, and advances the head. conflict: the state's digest is not
// the record's; the words name the seq and both digests, and the state must not be used any more.
Status apply_step(State& state, Head& head, const Step& step);

// What a record says about itself beyond its events.
struct RecordNotes {
  std::vector<std::pair<IntentId, std::uint32_t>> intents;  // decided in it, with the decision's index
  std::vector<AnyId> objects;                               // named by its intents, refusals and events
};
RecordNotes notes_of(const Record& record);

}  // namespace reprise
