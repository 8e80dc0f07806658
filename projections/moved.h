// A projection goes on in a copy of its log: `reprise log copy`, or a folder that has another name now. There
// the same records stand at other offsets, and others are void.
#pragma once

#include <chrono>

#include "events/log.h"
#include "projections/store.h"

namespace reprise {

// Looks for every record that the store has folded, in order and by its hash, from the log's beginning on;
// then the store's offsets and void hashes are those of this log. Nothing is folded: what was read there is
// what was folded. conflict: the log does not hold them all (the words say from which seq on), and the store
// is as it was. Otherwise what the log or the store says.
Status move_store(Store& store, Log& log, std::chrono::milliseconds patience);

}  // namespace reprise
