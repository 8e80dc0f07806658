// Reads a few entries of a topic and waits for them: for checks and look-ups, not for following.
#pragma once

#include <chrono>
#include <vector>

#include "events/log.h"

namespace reprise {

// At least one entry from `offset` on, at most `max`. timed_out: none came in time; otherwise the log's
// own errors (not_found: that offset is not there).
Result<std::vector<Entry>> fetch(Log& log, Topic topic, std::int64_t offset, std::size_t max,
                                 std::chrono::milliseconds patience);

// The log's end, waited for.
Result<std::int64_t> fetch_end(Log& log, Topic topic, std::chrono::milliseconds patience);

}  // namespace reprise
