// The port to the log (design, section 2): four topics of entries, appended in order, read in order,
// kept. Three implementations under one contract test (tests/contract/log_contract.h): embedded_log
// (RocksDB in process), kafka_log (librdkafka), and the simulator's.
//
// Promises:
// - An append whose `done` got an offset is durable, and no reader sees an entry that is not.
// - Offsets of a topic only grow; they may have holes. Every reader of a topic sees the same entries
//   at the same offsets.
// - One producer is one session without gaps: after a failed append nothing later of it is ever written.
// - No call blocks longer than a hand-over to another thread. `wake` and `done` are called from any
//   thread, must not block, and must not call into the log.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "events/codec.h"
#include "events/ids.h"
#include "events/result.h"

namespace reprise {

struct Entry {
  std::int64_t offset = 0;
  Bytes bytes;
};

class Producer {
 public:
  // Purges what was not sent, ends the session; `done`s that are still open are called with timed_out.
  virtual ~Producer() = default;

  // `done` is called exactly once: with the offset; or invalid (too large: nothing was written, the
  // session goes on), timed_out (unknown whether it was or will be written; the session is over),
  // session_broken, no_space or unreachable (surely not written: an earlier append failed, or this one; over as well).
  using Done = std::function<void(Result<std::int64_t>)>;
  virtual void append(Topic topic, Bytes bytes, Done done) = 0;
};

class Reader {
 public:
  virtual ~Reader() = default;

  // What is there from the position on, at most `entries_max` (and at least one, if any is there).
  // Empty: nothing yet, `wake` will come. not_found: the position is no longer kept (behind
  // retention) or not there any more (the log ends before it): see `Log::begin` and `Log::end`.
  virtual Result<std::vector<Entry>> poll(std::size_t entries_max) = 0;
  // The offset that the next poll starts at.
  virtual std::int64_t position() const = 0;
};

// Who may claim the controller's place: liveness only, safety is the chain (rule 3).
class Candidacy {
 public:
  virtual ~Candidacy() = default;
  virtual bool elected() const = 0;
};

class Log {
 public:
  virtual ~Log() = default;

  virtual Result<std::unique_ptr<Producer>> open_producer() = 0;
  // Reads from `offset` on (or from the first entry kept, if that is later and offset is 0). `wake` is
  // called whenever a poll that was empty may no longer be.
  virtual Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset, std::function<void()> wake) = 0;
  // The offset after the last durable entry, as of a moment after this call. `answer` may come before
  // the call returns.
  using Answer = std::function<void(Result<std::int64_t>)>;
  virtual void end(Topic topic, Answer answer) = 0;
  // The same, from a log that knows it without asking anybody.
  virtual std::optional<std::int64_t> end_here(Topic) { return std::nullopt; }
  // The latest time that another clock than this host's was heard to tell, in milliseconds since 1970; it is not earlier
  // now. None: there is no other, or it was not heard yet.
  virtual std::optional<std::int64_t> time_heard() const { return std::nullopt; }
  // The first offset still kept.
  virtual Result<std::int64_t> begin(Topic topic) = 0;
  // `wake` is called when elected() may have changed.
  virtual std::unique_ptr<Candidacy> stand(std::function<void()> wake) = 0;
  // For people: "embedded:/var/lib/reprise/log", "kafka:HOST:PORT/CLUSTER".
  virtual std::string place() const = 0;
};

}  // namespace reprise
