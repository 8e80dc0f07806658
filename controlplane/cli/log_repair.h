// `reprise log repair`: appends again what a log has lost that a projection still has (design, section 2, rule 10).
//
// Brokers that lose power together may come back without the end of what they had acknowledged. Every projection keeps
// the bytes of the newest records (Store's `tail`); they go into the log again, in order, at the offsets where they stood,
// so that every reader's positions stay right: where a void record stood, a copy of the record before it is put, which is
// void as well. Topics whose entries were decided and are gone are filled up to the offset that the state has consumed.
//
// Refused, with nothing written: a log of another cloud; one that went on without what it lost (its end is not what the
// projection read there); a loss that goes further back than the tail.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "controlplane/cli/exit_code.h"
#include "events/log.h"
#include "projections/store.h"

namespace reprise::cli {

struct RepairPlan {
  std::int64_t end = 0;      // of the events, as they are
  Seq kept = 0;              // the last record that is still in the log
  Seq last = 0;              // the projection's head: all after `kept` up to it are appended
  std::uint64_t copies = 0;  // of records before them, where void ones stood
  struct Fill {
    Topic topic = Topic::intents;
    std::int64_t from = 0, to = 0;  // offsets: the first that is missing, the first that is not
  };
  std::vector<Fill> fills;

  bool nothing() const { return kept == last && fills.empty(); }
};

// What would be appended. `store` is not written. conflict: refused, the words say why; broken: the store is damaged.
Result<RepairPlan> plan_repair(Log& log, const Store& store);

// Appends it, one entry after the other, each at its offset or no further: conflict, when somebody else appends to the
// log meanwhile. Interrupted, it can be planned and done again.
Status repair(Log& log, const Store& store, const RepairPlan& plan, const std::function<void(Seq)>& progress = {});

struct RepairOptions {
  Common common;
  std::string log;     // empty: as configured
  bool apply = false;  // else it only says what it would do
};
int run_log_repair(const RepairOptions& options);

}  // namespace reprise::cli
