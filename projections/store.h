// Where a projection keeps what it folded: RocksDB, five column families.
//
//   (default)  "head": StoreHead. What restart goes on from.
//   now        latest rows (table ‖ key) and index entries (0x80|table ‖ index ‖ index key): once a batch.
//   history    the same keys and values, every record, with the seq as user-defined timestamp; but for tables that are
//              not kept there (table.h).
//   trail      'o' id seq: this record touched that object; 's' seq: RecordLine; 'h' hash: that record
//              was folded (its seq) or void (0).
//   tail       seq: the record's bytes; the newest ones, bounded by bytes.
//
// Promises:
// - One batch is written whole or not at all, with its head: after any crash the store is as it was at
//   the end of some batch. The log is the truth: writes are not synced, a lost end is folded again.
// - With `history_ms` the history is cut: a record older than that, by log time, is no longer read as of its seq.
//   It moves by steps of a sixteenth; what lies before is dropped from disk behind the readers' backs. `now`,
//   `trail` and `tail` keep what they have.
// - What is read is checked: what is not as it was written comes back as Errc::conflict. It is only a copy of
//   the log: whoever has that makes it anew. Errc::broken: the disk or the system refuse, nothing is damaged.
// - One writer (one thread), any number of readers; a snapshot and its views stay valid after wipe().
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "events/chain.h"
#include "events/result.h"
#include "projections/table.h"

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Env;
class Snapshot;
class WriteBatch;
}  // namespace rocksdb

namespace reprise {

struct StoreHead {
  Head head;
  Hash digest;
  CloudId cloud;
  LogId origin;                  // of the genesis: what this store's history began with
  std::string place;             // of the log that the offsets count in, in its own words
  std::int64_t next_offset = 0;  // what was not read yet begins here
  std::uint64_t voids = 0;       // records skipped so far
  // The tail is dropped by halves: what stands before `tail_half` goes once the half since then is full.
  Seq tail_from = 0;
  Seq tail_half = 0;
  std::uint64_t tail_half_bytes = 0;
  Seq history_from = 0;  // the first seq that can be read as of; 0: the history was never cut
};

// What is kept of every record for ever.
struct RecordLine {
  std::int64_t offset = 0;
  Hash hash;
  std::int64_t at_ms = 0;
  Hash digest;  // of the state after it
  Hash apart;   // of that state's rows that are not kept in the history
};

// What readers found that is not as it was written. Any thread.
class StoreDamage {
 public:
  void report(const std::string& what) const;
  // The first report; empty: none.
  std::string found() const;
  std::function<void()> ring;  // called at the first report; set before there are readers

 private:
  mutable std::mutex mutex_;
  mutable std::string found_;
};

// The open database: closed when the last store, snapshot and view of it are gone.
struct StoreFamilies {
  std::shared_ptr<rocksdb::DB> db;
  rocksdb::ColumnFamilyHandle* meta = nullptr;
  rocksdb::ColumnFamilyHandle* now = nullptr;
  rocksdb::ColumnFamilyHandle* history = nullptr;
  rocksdb::ColumnFamilyHandle* trail = nullptr;
  rocksdb::ColumnFamilyHandle* tail = nullptr;
  StoreDamage damage;
  ~StoreFamilies();
};

// By table: the last record that changed a row of it, or the head that the store was opened at.
using TablesChanged = std::array<Seq, 128>;

// A row or an index entry as it is written; none: erased.
struct StoreEntry {
  std::string key;
  std::optional<std::string> row;
};

// The store as it was after one batch.
struct StoreSnapshot {
  std::shared_ptr<const StoreFamilies> families;
  const rocksdb::Snapshot* snapshot = nullptr;
  StoreHead head;
  TablesChanged changed{};
  ~StoreSnapshot();
};

struct StoreOptions {
  std::string dir;
  bool read_only = false;  // for tools, also beside a running writer: sees what was written until then
  std::size_t write_buffer_bytes = 16u << 20;  // per family, at most two
  std::size_t cache_bytes = 16u << 20;
  std::size_t tail_bytes = 64u << 20;  // at most; at least half of it
  std::int64_t history_ms = 0;         // how far back the past can be read; 0: to the beginning
  rocksdb::Env* env = nullptr;         // tests put a failing disk beneath
};

// Where a store's records stand in another log.
struct StoreMove {
  std::string place;
  std::vector<std::int64_t> offsets;  // of seq 1, 2, … up to the head
  std::vector<Hash> voids;            // of what does not count there
};

class Store final : public SeenHashes {
 public:
  // invalid: not a store; conflict: damaged; denied: another process has it, or permissions; no_space; broken.
  static Result<std::unique_ptr<Store>> open(const StoreOptions& options);
  // Moves a damaged one out of the way (DIR.damaged; one that is there already goes): its tail may hold what a
  // log has lost.
  static Status set_aside(const std::string& dir);
  ~Store() override;

  // As of the last flush.
  const StoreHead& head() const { return head_; }
  std::shared_ptr<const StoreSnapshot> snapshot() const { return snapshot_; }
  const std::string& dir() const { return options_.dir; }

  // Into the pending batch. `head` and `digest` are those after the record; `objects` are touched beside
  // the rows that changed.
  // `apart`: the state's digest_apart().
  void add(const Record& record, const Head& head, std::string_view bytes, Changes changes,
           std::vector<AnyId> objects, const Hash& apart = {});
  void add_void(const Hash& hash, std::int64_t offset);
  std::size_t pending_bytes() const;
  // Writes the pending batch, with the log's place in words, and takes a new snapshot.
  Status flush(const std::string& place);
  // Forgets the pending batch.
  void discard();
  // Folded, void or pending. What cannot be read is not; see damage().
  bool contains(const Hash& hash) const override;

  // The same records in another log. Nothing may be pending. Cut off, the store still names the former place.
  Status move(const StoreMove& move);
  // What a reader found that is not as it was written; empty: nothing since it was opened or wiped.
  std::string damage() const { return families_->damage.found(); }
  // `ring` is called, from any thread, when there is damage. Before anybody reads.
  void when_damaged(std::function<void()> ring) { families_->damage.ring = std::move(ring); }
  // Empties everything, so that the log can be folded anew.
  Status wipe();
  // The next open() finds a conflict.
  void condemn(const std::string& why) const;

 private:
  Store(StoreOptions options, std::shared_ptr<StoreFamilies> families);
  Status read_head();
  Status make_families();
  void take_snapshot();
  void choose_cut();
  Status cut_history();
  void drop_history();
  void add_to_tail(Seq seq, std::string_view bytes);

  StoreOptions options_;
  std::shared_ptr<StoreFamilies> families_;
  std::shared_ptr<const StoreSnapshot> snapshot_;
  StoreHead head_;
  StoreHead next_;  // with the pending batch
  TablesChanged changed_{};
  std::int64_t cut_at_ms_ = 0;  // log time when the history was last cut
  std::atomic<bool> dropping_ = false;
  std::thread dropper_;
  std::unique_ptr<rocksdb::WriteBatch> batch_;
  bool write_failed_ = false;
  std::vector<StoreEntry> now_;  // of the pending batch, in order of the records
  std::vector<Hash> pending_hashes_;
};

// The objects (ids) that a changed row is about; none for rows that only count or remember.
void objects_of(const Change& change, std::vector<AnyId>& objects);

// Table, index and one id: `now` and `history` have a filter for as much of their index entries.
inline constexpr std::size_t index_prefix_bytes = 18;

// Keys and values, shared with the view.
std::string row_key(std::uint8_t table, std::string_view key);
std::string index_key(std::uint8_t table, std::uint8_t index, std::string_view key);
std::string object_key(AnyId object, Seq seq);
std::string line_key(Seq seq);
std::string tail_key(Seq seq);
std::string hash_key(const Hash& hash);
std::string timestamp_of(Seq seq);  // as RocksDB's u64ts comparator has it
Result<RecordLine> decode_line(std::string_view bytes);

}  // namespace reprise
