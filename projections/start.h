// What comes before a store follows a log: the checkpoint that it begins from, and the proof that the log is the one it read.
#pragma once

#include <chrono>
#include <string>

#include "events/log.h"
#include "projections/store.h"

namespace reprise {

inline constexpr std::chrono::milliseconds log_patience{10'000};  // for an answer of the log

// The newest checkpoint whose files are what was written becomes the store, if there is none. Its rows are proved when
// they are loaded, and its head against the log before anything follows it.
// In words, which it was and why others were refused; empty: there was none, or no need of one.
std::string begin_from_checkpoint(const std::string& checkpoints, const StoreOptions& options, CloudId cloud);

// The cloud that a log's first record made; null: it is no genesis.
const CloudCreated* genesis_of(const Record& record);

// The log begins with the genesis of the store's cloud. exists: with another's; broken: its beginning was deleted, or
// is none; or what the log says itself.
Status check_genesis(Log& log, const Store& store);

// The record of the store's head stands in the log at its offset. conflict: it does, with another digest than the
// store's; broken: another stands there; or what the log says itself.
Status check_head(Log& log, const Store& store);

}  // namespace reprise
