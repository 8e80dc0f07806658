// The log of one machine: a RocksDB of its own in a folder, in this process (see log.h for the port).
//
// Promises beyond the port's:
// - Offsets are dense, from 0. Appends of all producers are committed in groups: one synced write each,
// except
//   that a group of nothing but heartbeats is not synced (they survive kill -9, and may be lost with the
//   machine).
// - After a write that failed (no space, a failing disk) every producer of the log ends. The folder is read
//   again at once, and whenever open_producer is called: what of the failed write is there then counts, for
//   every reader. open_producer works again as soon as the disk does.
// - `done` is never called from within append; end's `answer` is called before end returns.
// - Hot readers are served from the last entries in memory; a reader that is behind reads the folder.
// - One process has it open for writing. Any number may read what is there at a moment (open_..._read_only).
// - RocksDB's checksums guard every entry: damage is `broken`, and names the topic and the offset.
// Readers, producers and candidacies keep the folder open until the last of them is gone.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "events/log.h"
#include "events/log_topics.h"

namespace rocksdb {
class Env;
}

namespace reprise {

struct EmbeddedLogOptions {
  bool create = true;                            // false: a missing or empty folder is not_found
  std::string cluster;                           // written at creation; otherwise, if given, it must be that
  std::size_t tail_bytes_max = 4 * 1024 * 1024;  // in memory, per topic
  std::size_t write_buffer_bytes = 4 << 20;      // per topic, until it becomes a file
  std::array<std::int64_t, topic_count> retention_ms = {
      topic_rules(Topic::intents).retention_ms, topic_rules(Topic::reports).retention_ms,
      topic_rules(Topic::heartbeats).retention_ms, topic_rules(Topic::events).retention_ms};
  std::int64_t sweep_ms = 60 * 1000;     // how often appends look for what is past its retention
  std::function<std::int64_t()> now_ms;  // the wall clock, unless given
  rocksdb::Env* env = nullptr;           // tests put a failing disk beneath
};

// invalid: the folder holds something else, or a log of another cluster or of a newer reprise; denied:
// another process (named) has it open, or permissions; no_space; broken: it is damaged.
Result<std::unique_ptr<Log>> open_embedded_log(const std::string& dir, EmbeddedLogOptions options = {});

// What is there now, for offline tools; also while a server has it open, which it does not disturb. Appends
// are unsupported. A log whose end is damaged opens: the reader that comes there gets `broken`.
Result<std::unique_ptr<Log>> open_embedded_log_read_only(const std::string& dir,
                                                         EmbeddedLogOptions options = {});

}  // namespace reprise
