// Reads entries of a topic and waits for them: for checks, look-ups and copies. A projection follows by
// itself.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "events/log.h"

namespace reprise {

class WaitingReader {
 public:
  static Result<WaitingReader> open(Log& log, Topic topic, std::int64_t offset);
  // At least one entry, at most `max`; timed_out: none came. Otherwise the log's own errors.
  Result<std::vector<Entry>> next(std::size_t max, std::chrono::milliseconds patience);
  std::int64_t position() const { return reader_->position(); }

 private:
  struct Bell;
  WaitingReader() = default;
  std::shared_ptr<Bell> bell_;
  std::unique_ptr<Reader> reader_;
  std::string what_;
};

// At least one entry from `offset` on, at most `max`. timed_out: none came in time; otherwise the log's
// own errors (not_found: that offset is not there).
Result<std::vector<Entry>> fetch(Log& log, Topic topic, std::int64_t offset, std::size_t max,
                                 std::chrono::milliseconds patience);

// The log's end, waited for.
Result<std::int64_t> fetch_end(Log& log, Topic topic, std::chrono::milliseconds patience);

}  // namespace reprise
