// `reprise log copy FROM TO`: moves a cloud to another log, its chain intact (design, section 2, rule 8).
//
// The source is replayed and proved; what was folded in it is copied byte for byte while it still goes on.
// Then it is sealed towards the target, the rest follows, and the intents that nobody has decided, and last
// LogOpened, which sets the positions anew. From LogSealed to LogOpened nothing is decided anywhere: that is
// the pause.
//
// Promises: cut off at any point, the same call goes on; a target that does not begin as the source does, or
// a source that was sealed towards elsewhere, is refused before anything is written. What is void in the
// source, and what comes to its intents after LogOpened was made, is left behind: its client was told 504.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "controlplane/cli/exit_code.h"
#include "events/chain.h"
#include "events/log.h"
#include "projections/state.h"

namespace reprise::cli {

// One side's history, read by the rules of every reader, and where each of its records stands.
class CopyChain {
 public:
  struct Line {
    Hash hash;
    std::int64_t offset = 0;
  };
  // `folds`: keeps the state too, and compares each record's digest.
  explicit CopyChain(bool folds) : folds_(folds) {}
  // Reads on to the end that the log has now. broken: it is, and where.
  Status read(Log& log, const std::function<void(const Head&)>& progress);

  Head head;
  Hash digest;  // that the head says
  State state;
  MemoryHashes seen;
  std::vector<Line> lines;  // of seq 1, 2, …
  std::uint64_t voids = 0;

 private:
  Status take(const Entry& entry);
  const bool folds_;
  std::int64_t next_offset_ = 0;
};

struct CopySource {
  // What is in it now; asked again when more is to be read.
  std::function<Result<std::shared_ptr<Log>>()> open;
  // Returns when LogSealed is in the log, or with why it is not.
  std::function<Status(const SealLog& wish, const CopyChain& source)> seal;
};

struct CopyOptions {
  std::string place;  // of the target, in full: LogSealed says it to people
  LogId to;           // of the target, unless an earlier copy has chosen
  std::function<std::int64_t()> wall_ms;
  std::function<void(const char* doing, Seq seq)> progress;
};

struct Copied {
  Head head;  // of the target
  Hash digest;
  std::uint64_t records = 0;   // by this run
  std::uint64_t intents = 0;   // that were undecided
  std::uint64_t voids = 0;     // left behind
  std::int64_t paused_ms = 0;  // log time from LogSealed to LogOpened
  bool resumed = false;        // an earlier run had begun it
  bool already = false;        // and ended it
};

// not_found: the source is empty. conflict: the target is no beginning of the source, or has gone on by
// itself; or the source was sealed towards elsewhere. broken: one of them is. Otherwise what the logs say.
Result<Copied> copy_log(const CopySource& source, Log& target, const CopyOptions& options);

struct LogCopyOptions {
  Common common;
  std::string from, to;
};
int run_log_copy(const LogCopyOptions& options);

}  // namespace reprise::cli
