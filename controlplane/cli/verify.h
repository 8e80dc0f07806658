// `reprise verify`: replays a log from zero, with chain, fold and digest, as every reader does.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "controlplane/cli/exit_code.h"
#include "events/chain.h"
#include "events/log.h"

namespace reprise::cli {

// A head known from elsewhere: the log must have had exactly that record at that seq.
struct KnownHead {
  Seq seq = 0;
  Hash hash;
  std::string from;  // who says so, for the error
};
Result<KnownHead> parse_head(const std::string& text);  // SEQ:HASH

struct Verified {
  Head head;
  Hash digest;
  std::uint64_t entries = 0;
  std::uint64_t voids = 0;
  // Where the log is broken; empty: nowhere.
  std::string broken;
  Seq broken_after = 0;  // the last good seq
  std::int64_t broken_offset = -1;
};

// `progress` is told the head now and then. An Error: the log could not be read at all.
Result<Verified> verify_log(Log& log, const std::vector<KnownHead>& known,
                            const std::function<void(const Head&)>& progress = {});

struct VerifyOptions {
  Common common;
  std::string log;         // empty: as configured
  std::string head;        // SEQ:HASH
  bool with_state = true;  // compare with the projection in the state folder, if there is one
};
int run_verify(const VerifyOptions& options);

}  // namespace reprise::cli
