// The folder of an embedded log: RocksDB, its lock and its marks. Knows bytes, offsets and topics; no
// sessions, no threads of its own. Layout: a column family per topic, key = offset (8 bytes, big-endian),
// value = time of the append (8 bytes, big-endian, ms since 1970) and the entry; the default family holds the
// format and the cluster.
//
// A file `reprise-log` marks the folder as ours; it gets its name only when the rest of a new log is on disk.
// A file `holder` is locked by the process that writes, and says who that is.
// read, stamp and bounds may be called from any thread, write and forget from one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "events/embedded_log.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
struct Options;
class Status;
}  // namespace rocksdb

namespace reprise {

class EmbeddedStore {
 public:
  struct Bounds {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    bool operator==(const Bounds&) const = default;
  };
  struct Item {
    Topic topic = Topic::intents;
    std::int64_t offset = 0;
    std::string_view bytes;
  };
  enum class Mode { write, read_only };

  static Result<std::unique_ptr<EmbeddedStore>> open(const std::string& dir, Mode mode,
                                                     const EmbeddedLogOptions& options);
  ~EmbeddedStore();

  // As found when it was opened.
  Bounds bounds(Topic topic) const { return bounds_[index_of(topic)]; }
  // Some: what comes after the bounds' end cannot be read (read_only; for writing such a log does not open).
  const std::optional<Error>& damage(Topic topic) const { return damage_[index_of(topic)]; }

  // All or nothing; synced means on disk when it returns. After an error nobody knows: open it anew.
  Status write(std::span<const Item> items, std::int64_t now_ms, bool sync);
  // The entries in [from, to), at most so many, and about so many bytes (one at least). An offset that is
  // missing in between is broken.
  Result<std::vector<Entry>> read(Topic topic, std::int64_t from, std::int64_t to, std::size_t entries_max,
                                  std::size_t bytes_max) const;
  // When the entry was appended.
  Result<std::int64_t> stamp(Topic topic, std::int64_t offset) const;
  // Drops the entries below `begin`.
  Status forget(Topic topic, std::int64_t begin);

 private:
  EmbeddedStore(std::string dir, Mode mode);
  Status open_db(const EmbeddedLogOptions& options, bool fresh);
  Status check_meta(const EmbeddedLogOptions& options, bool fresh);
  rocksdb::Status try_to_open(const rocksdb::Options& wanted);
  Status find_bounds();
  Status find_bounds(Topic topic);
  Status check_dense(Topic topic) const;
  Error explain(const rocksdb::Status& status, std::string_view doing) const;

  const std::string dir_;
  const Mode mode_;
  int lock_fd_ = -1;
  std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* meta_ = nullptr;                       // owned by handles_
  std::array<rocksdb::ColumnFamilyHandle*, topic_count> families_{};  // owned by handles_
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::array<Bounds, topic_count> bounds_;
  std::array<std::optional<Error>, topic_count> damage_;
};

}  // namespace reprise
