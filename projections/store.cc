#include "projections/store.h"

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/comparator.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "events/wal_check.h"
#include "projections/state.h"
#include "projections/store_status.h"
#include "projections/view.h"

namespace reprise {
namespace {

constexpr std::uint64_t store_format = 1;
constexpr std::int64_t history_steps = 16;  // the cut moves by such a part of its age
constexpr const char* head_key = "head";
constexpr std::size_t move_bytes = 4u << 20;  // written at once
constexpr const char* family_names[] = {"now", "history", "trail", "tail"};

// The head as a row: every member's default is its zero value, hence the offsets plus one.
struct HeadRow {
  static constexpr const char* table_name = "head";
  std::uint64_t format = 0;
  Head head;
  StoreHead rest;
  std::uint64_t offset_plus_1 = 0;

  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "format", s.format), f(2, "log", s.head.log), f(3, "level", s.head.level), f(4, "seq", s.head.seq);
    f(5, "hash", s.head.hash), f(6, "at_ms", s.head.at_ms), f(7, "controller", s.head.controller);
    f(8, "sealed_to", s.head.sealed_to), f(9, "offset_plus_1", s.offset_plus_1),
        f(10, "digest", s.rest.digest);
    f(11, "cloud", s.rest.cloud), f(12, "origin", s.rest.origin), f(13, "place", s.rest.place);
    f(14, "next_offset", s.rest.next_offset), f(15, "voids", s.rest.voids);
    f(16, "tail_from", s.rest.tail_from), f(17, "tail_half", s.rest.tail_half),
        f(18, "tail_half_bytes", s.rest.tail_half_bytes), f(19, "history_from", s.rest.history_from);
  }
};

std::string encode_head(const StoreHead& head) {
  return encode_row(HeadRow{.format = store_format,
                            .head = head.head,
                            .rest = head,
                            .offset_plus_1 = static_cast<std::uint64_t>(head.head.offset + 1)});
}

Result<StoreHead> decode_head(std::string_view bytes) {
  auto row = decode_row<HeadRow>(bytes);
  if (!row) return row.error();
  if (row->format != store_format)
    return Error{Errc::unsupported,
                 fmt::format("has format {}, this program reads {}", row->format, store_format)};
  StoreHead head = row->rest;
  head.head = row->head;
  head.head.offset = static_cast<std::int64_t>(row->offset_plus_1) - 1;
  return head;
}

struct LineRow {
  static constexpr const char* table_name = "record lines";
  RecordLine line;
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "offset", s.line.offset), f(2, "hash", s.line.hash), f(3, "at_ms", s.line.at_ms),
        f(4, "digest", s.line.digest), f(5, "apart", s.line.apart);
  }
};

// How many ids the keys of each table begin with that are objects of their own: what `why` follows.
template <class Row>
constexpr std::uint8_t leading_ids() {
  if constexpr (requires(const Row& row) { row.object(); }) return 1;
  if constexpr (std::is_same_v<Row, RoleAssignment>) return 3;
  if constexpr (std::is_same_v<Row, Keypair> || std::is_same_v<Row, Quota>) return 1;
  return 0;
}
constexpr auto ids_by_table = [] {
  std::array<std::uint8_t, 128> ids{};
#define TABLE(Row, member) ids[Row::table] = leading_ids<Row>();
#include "projections/tables.def"
#undef TABLE
  return ids;
}();

constexpr auto history_by_table = [] {
  std::array<bool, 128> in{};
#define TABLE(Row, member) in[Row::table] = in_history<Row>();
#include "projections/tables.def"
#undef TABLE
  return in;
}();
// A row's key or an index entry's.
bool is_in_history(std::string_view key) { return history_by_table[static_cast<std::uint8_t>(key[0]) & 0x7f]; }

rocksdb::ColumnFamilyOptions family_options(const StoreOptions& options,
                                            std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;
  rocksdb::ColumnFamilyOptions family;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  family.write_buffer_size = options.write_buffer_bytes;
  family.arena_block_size = 64u << 10;
  family.level_compaction_dynamic_level_bytes = true;
  family.compression = rocksdb::kNoCompression;
  return family;
}

// What is filed under an id is mostly nothing or little: a filter knows it without a search.
void filter_prefixes(rocksdb::ColumnFamilyOptions& family) {
  family.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(index_prefix_bytes));
  family.memtable_prefix_bloom_size_ratio = 0.05;
  family.memtable_whole_key_filtering = true;
}

std::vector<rocksdb::ColumnFamilyDescriptor> descriptors(const StoreOptions& options) {
  const auto plain = family_options(options, rocksdb::NewLRUCache(options.cache_bytes));
  auto small = plain;
  small.write_buffer_size = 1u << 20;
  auto history = plain;
  const rocksdb::Comparator* comparator = nullptr;
  const auto found = rocksdb::Comparator::CreateFromString(rocksdb::ConfigOptions(),
                                                           "leveldb.BytewiseComparator.u64ts", &comparator);
  CHECK(found.ok());
  history.comparator = comparator;
  history.compression = rocksdb::kLZ4Compression;
  filter_prefixes(history);
  auto tail = plain;
  tail.write_buffer_size = std::min<std::size_t>(options.write_buffer_bytes, options.tail_bytes / 4);
  tail.compression = rocksdb::kLZ4Compression;
  auto now = plain;
  filter_prefixes(now);
  return {{rocksdb::kDefaultColumnFamilyName, small},
          {"now", now},
          {"history", history},
          {"trail", plain},
          {"tail", tail}};
}

rocksdb::DBOptions database_options(const StoreOptions& given) {
  rocksdb::DBOptions options;
  if (given.env) options.env = given.env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_open_files = 256;
  options.max_background_jobs = 2;
  options.max_total_wal_size = 64u << 20;
  options.wal_bytes_per_sync = 1u << 20;
  options.bytes_per_sync = 1u << 20;
  options.allow_concurrent_memtable_write = false;  // one writer
  options.keep_log_file_num = 2;
  options.max_log_file_size = 1u << 20;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.skip_stats_update_on_db_open = true;
  options.avoid_flush_during_recovery = true;
  return options;
}

// Beside RocksDB's files: that the next start must not use them.
std::string damage_mark(const std::string& dir) { return dir + "/damaged"; }

Error damaged(const std::string& dir, const std::string& how) {
  return {Errc::conflict,
          fmt::format("the store in {} is damaged ({}): `reprise serve` makes it anew from the log", dir, how)};
}

// What RocksDB does not see by itself when it opens the folder.
Status check_files(const std::string& dir) {
  if (std::ifstream mark(damage_mark(dir)); mark) {
    std::string how;
    std::getline(mark, how);
    return damaged(dir, how);
  }
  for (const auto& how : {find_changed_header(dir), find_missing_end(dir)})
    if (!how.empty()) return damaged(dir, how);
  return {};
}

}  // namespace

Error store_error(const rocksdb::Status& status, const std::string& dir) {
  const std::string words = status.ToString();
  const auto says = [&words](const char* what) { return words.find(what) != std::string::npos; };
  if (status.IsCorruption() || status.IsPathNotFound()) return damaged(dir, words);
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kNoSpace)
    return {Errc::no_space,
            fmt::format("no space left for the store in {}: free some, then it goes on by itself", dir)};
  if (status.IsNotFound()) return {Errc::not_found, fmt::format("not in the store in {}", dir)};
  if (says("Read-only file system"))
    return {Errc::denied,
            fmt::format("the store in {} can only be read: mount its file system writable ({})", dir, words)};
  if (says("lock") || says("LOCK"))
    return {
        Errc::denied,
        fmt::format("the store in {} is in use by another process (or may not be opened): {}", dir, words)};
  if (says("ermission denied"))
    return {Errc::denied, fmt::format("the store in {} may not be opened: {}", dir, words)};
  if (status.IsInvalidArgument())
    return {Errc::invalid, fmt::format("{} holds no store of ours: {}", dir, words)};
  return {Errc::broken,
          fmt::format("the store in {} cannot be used: {}; look at the disk (dmesg), then start again", dir, words)};
}

void StoreDamage::report(const std::string& what) const {
  {
    const std::lock_guard lock(mutex_);
    if (!found_.empty()) return;
    found_ = what;
  }
  if (ring) ring();
}

std::string StoreDamage::found() const {
  const std::lock_guard lock(mutex_);
  return found_;
}

StoreFamilies::~StoreFamilies() {
  for (auto* family : {meta, now, history, trail, tail})
    if (family) (void)db->DestroyColumnFamilyHandle(family);
}

StoreSnapshot::~StoreSnapshot() {
  if (snapshot) families->db->ReleaseSnapshot(snapshot);
}

void objects_of(const Change& change, std::vector<AnyId>& objects) {
  const std::uint8_t count = change.table < ids_by_table.size() ? ids_by_table[change.table] : 0;
  KeyReader in(change.key);
  for (int i = 0; i < count; ++i) in.id(objects.emplace_back());
}

std::string row_key(std::uint8_t table, std::string_view key) { return KeyWriter().byte(table).rest(key); }
std::string index_key(std::uint8_t table, std::uint8_t index, std::string_view key) {
  return KeyWriter().byte(0x80 | table).byte(index).rest(key);
}
std::string object_key(AnyId object, Seq seq) { return KeyWriter().byte('o').id(object).number(seq); }
std::string line_key(Seq seq) { return KeyWriter().byte('s').number(seq); }
std::string tail_key(Seq seq) { return KeyWriter().number(seq); }

std::string hash_key(const Hash& hash) {
  return KeyWriter().byte('h').rest({reinterpret_cast<const char*>(hash.bytes.data()), hash.bytes.size()});
}

std::string timestamp_of(Seq seq) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(seq >> (8 * i));
  return bytes;
}

Result<RecordLine> decode_line(std::string_view bytes) {
  auto row = decode_row<LineRow>(bytes);
  if (!row) return row.error();
  return row->line;
}

Store::Store(StoreOptions options, std::shared_ptr<StoreFamilies> families)
    : options_(std::move(options)),
      families_(std::move(families)),
      batch_(std::make_unique<rocksdb::WriteBatch>()) {}
Store::~Store() {
  if (!dropper_.joinable()) return;
  families_->db->DisableManualCompaction();
  dropper_.join();
}

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& options) {
  std::error_code error;
  if (options.read_only) {
    if (!std::filesystem::exists(options.dir + "/CURRENT", error))
      return Error{Errc::not_found, fmt::format("there is no store in {}", options.dir)};
  } else if (std::filesystem::create_directories(options.dir, error); error) {
    return Error{Errc::denied, fmt::format("cannot make {}: {}", options.dir, error.message())};
  }
  if (!options.read_only)
    if (auto whole = check_files(options.dir); !whole) return whole.error();
  const bool is_new = !std::filesystem::exists(options.dir + "/CURRENT", error);
  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const auto families = descriptors(options);
  const auto opened =
      options.read_only
          ? rocksdb::DB::OpenForReadOnly(database_options(options), options.dir, families, &handles, &db)
          : rocksdb::DB::Open(database_options(options), options.dir, families, &handles, &db);
  if (!opened.ok()) return store_error(opened, options.dir);
  auto held = std::make_shared<StoreFamilies>();
  held->db.reset(db);
  held->meta = handles[0], held->now = handles[1], held->history = handles[2], held->trail = handles[3];
  held->tail = handles[4];
  std::unique_ptr<Store> store(new Store(options, std::move(held)));
  if (auto read = is_new ? Status{} : store->read_head(); !read) return read.error();
  store->next_ = store->head_;
  store->changed_.fill(store->head_.head.seq);
  store->take_snapshot();
  return store;
}

Status Store::read_head() {
  std::string bytes;
  const auto got = families_->db->Get({}, families_->meta, head_key, &bytes);
  if (got.IsNotFound()) {
    // Nothing was ever flushed, or wipe() was cut off: whatever rows are there belong to nothing.
    return options_.read_only ? Status{} : make_families();
  }
  if (!got.ok()) return store_error(got, options_.dir);
  auto head = decode_head(bytes);
  if (!head && head.error().code == Errc::broken) return damaged(options_.dir, head.error().text);
  if (!head) return {head.error().code, fmt::format("the store in {}: {}", options_.dir, head.error().text)};
  head_ = std::move(*head);
  return {};
}

// Fresh, empty families in place of the old ones, whose handles live as long as their last reader.
Status Store::make_families() {
  auto fresh = std::make_shared<StoreFamilies>();
  fresh->db = families_->db;
  fresh->damage.ring = families_->damage.ring;
  const auto all = descriptors(options_);
  rocksdb::ColumnFamilyHandle* old[] = {families_->now, families_->history, families_->trail,
                                        families_->tail};
  rocksdb::ColumnFamilyHandle** made[] = {&fresh->now, &fresh->history, &fresh->trail, &fresh->tail};
  for (std::size_t i = 0; i < std::size(old); ++i) {
    auto status = fresh->db->DropColumnFamily(old[i]);
    if (status.ok()) status = fresh->db->CreateColumnFamily(all[i + 1].options, family_names[i], made[i]);
    if (!status.ok()) return store_error(status, options_.dir);
  }
  fresh->meta = std::exchange(families_->meta, nullptr);
  families_ = std::move(fresh);
  changed_.fill(0);
  cut_at_ms_ = 0;
  return {};
}

Status Store::set_aside(const std::string& dir) {
  const std::string aside = dir + ".damaged";
  std::error_code failed;
  std::filesystem::remove_all(aside, failed);
  if (!failed) std::filesystem::rename(dir, aside, failed);
  if (failed)
    return {Errc::denied, fmt::format("cannot move the damaged store in {} to {}: {}", dir, aside, failed.message())};
  return {};
}

void Store::condemn(const std::string& why) const {
  std::ofstream(damage_mark(options_.dir)) << why << '\n';
}

Status Store::wipe() {
  discard();
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const auto gone = families_->db->Delete(synced, families_->meta, head_key);
  if (!gone.ok()) return store_error(gone, options_.dir);
  if (auto made = make_families(); !made) return made;
  head_ = next_ = {};
  take_snapshot();
  return {};
}

void Store::discard() {
  batch_->Clear();
  now_.clear();
  pending_hashes_.clear();
  next_ = head_;
}

void Store::take_snapshot() {
  auto taken = std::make_shared<StoreSnapshot>();
  taken->families = families_;
  taken->snapshot = families_->db->GetSnapshot();
  taken->head = head_;
  taken->changed = changed_;
  snapshot_ = std::move(taken);
}

// In order of the keys, which RocksDB takes best; the last of each counts.
static void keep_last(std::vector<StoreEntry>& entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i + 1 < entries.size() && entries[i].key == entries[i + 1].key) continue;
    if (kept != i) entries[kept] = std::move(entries[i]);
    ++kept;
  }
  entries.resize(kept);
}

void Store::add(const Record& record, const Head& head, std::string_view bytes, Changes changes,
                std::vector<AnyId> objects, const Hash& apart) {
  const std::string at = timestamp_of(record.seq);
  const auto& to = *families_;
  // Only what the record made of each key in the end, however often its events changed it.
  std::vector<StoreEntry> entries;
  entries.reserve(changes.rows.size() + changes.indexes.size());
  for (auto& change : changes.rows) {
    objects_of(change, objects);
    changed_[change.table] = record.seq;
    entries.push_back({row_key(change.table, change.key), std::move(change.row)});
  }
  for (const auto& change : changes.indexes)
    entries.push_back({index_key(change.table, change.index, change.key),
                       change.added ? std::optional<std::string>("") : std::nullopt});
  keep_last(entries);
  for (auto& [key, row] : entries) {
    if (is_in_history(key))
      (void)(row ? batch_->Put(to.history, key, at, *row) : batch_->Delete(to.history, key, at));
    now_.push_back({std::move(key), std::move(row)});
  }
  std::sort(objects.begin(), objects.end());
  objects.erase(std::unique(objects.begin(), objects.end()), objects.end());
  for (const auto& object : objects) (void)batch_->Put(to.trail, object_key(object, record.seq), "");
  const LineRow line{.line = {head.offset, head.hash, head.at_ms, record.digest, apart}};
  (void)batch_->Put(to.trail, line_key(record.seq), encode_row(line));
  (void)batch_->Put(to.trail, hash_key(head.hash), std::string(KeyWriter().number(record.seq)));
  add_to_tail(record.seq, bytes);
  pending_hashes_.push_back(head.hash);
  next_.head = head;
  next_.digest = record.digest;
  next_.next_offset = head.offset + 1;
  for (const auto& decision : record.decisions)
    for (const auto& event : decision.events)
      if (event.is<CloudCreated>()) next_.cloud = event.as<CloudCreated>().cloud, next_.origin = record.log;
}

void Store::add_to_tail(Seq seq, std::string_view bytes) {
  if (next_.tail_half_bytes + bytes.size() > options_.tail_bytes / 2) {
    // RocksDB counts an empty range in the write, and gives it no sequence number: see find_missing_end().
    if (next_.tail_from < next_.tail_half)
      (void)batch_->DeleteRange(families_->tail, tail_key(next_.tail_from), tail_key(next_.tail_half));
    next_.tail_from = std::exchange(next_.tail_half, seq);
    next_.tail_half_bytes = 0;
  }
  (void)batch_->Put(families_->tail, tail_key(seq), {bytes.data(), bytes.size()});
  next_.tail_half_bytes += bytes.size();
}

void Store::add_void(const Hash& hash, std::int64_t offset) {
  if (!contains(hash)) {  // a folded record's copy keeps its seq
    (void)batch_->Put(families_->trail, hash_key(hash), std::string(KeyWriter().number(0)));
    pending_hashes_.push_back(hash);
  }
  ++next_.voids;
  next_.next_offset = offset + 1;
}

std::size_t Store::pending_bytes() const { return batch_->GetDataSize(); }

Status Store::flush(const std::string& place) {
  if (next_.next_offset == head_.next_offset) return {};
  if (std::exchange(write_failed_, false)) {
    // RocksDB takes no writes after one that failed, until it is told that the disk is well again.
    const auto well = families_->db->Resume();
    write_failed_ = !well.ok();
    // Busy: it looks for space by itself, every few seconds.
    if (!well.ok()) return store_error(well.IsBusy() ? rocksdb::Status::NoSpace() : well, options_.dir);
  }
  keep_last(now_);
  for (const auto& [key, row] : now_)
    (void)(row ? batch_->Put(families_->now, key, *row) : batch_->Delete(families_->now, key));
  next_.place = place;
  choose_cut();
  (void)batch_->Put(families_->meta, head_key, encode_head(next_));
  const auto written = families_->db->Write({}, batch_.get());
  write_failed_ = !written.ok();
  if (!written.ok()) return store_error(written, options_.dir);
  const bool cut = next_.history_from != head_.history_from;
  head_ = next_;
  discard();
  take_snapshot();
  return cut ? cut_history() : Status{};
}

// A batch for each few megabytes; the head comes with the last.
Status Store::move(const StoreMove& move) {
  CHECK(batch_->Count() == 0 && move.offsets.size() == head_.head.seq);
  const auto write = [&](bool synced) -> Status {
    rocksdb::WriteOptions options;
    options.sync = synced;
    const auto written = families_->db->Write(options, batch_.get());
    batch_->Clear();
    return written.ok() ? Status{} : Status(store_error(written, options_.dir));
  };
  const View view = View::now(snapshot_);
  for (Seq seq = 1; seq <= head_.head.seq; ++seq) {
    auto line = view.line_of(seq);
    if (!line) return view.status();
    if (line->offset == move.offsets[seq - 1]) continue;
    line->offset = move.offsets[seq - 1];
    (void)batch_->Put(families_->trail, line_key(seq), encode_row(LineRow{.line = *line}));
    if (batch_->GetDataSize() < move_bytes) continue;
    if (auto written = write(false); !written) return written;
  }
  const std::unique_ptr<rocksdb::Iterator> at(families_->db->NewIterator({}, families_->trail));
  for (at->Seek("h"); at->Valid() && at->key().starts_with("h"); at->Next())
    if (KeyReader({at->value().data(), at->value().size()}).number() == 0)
      (void)batch_->Delete(families_->trail, at->key());
  if (!at->status().ok()) return store_error(at->status(), options_.dir);
  for (const auto& hash : move.voids)
    if (const auto seq = view.seq_of(hash); !seq || *seq == 0)
      (void)batch_->Put(families_->trail, hash_key(hash), std::string(KeyWriter().number(0)));
  next_.voids = move.voids.size();
  next_.place = move.place;
  next_.head.offset = move.offsets.back();
  next_.next_offset = next_.head.offset + 1;
  (void)batch_->Put(families_->meta, head_key, encode_head(next_));
  if (auto written = write(true); !written) return written;
  head_ = next_;
  take_snapshot();
  return {};
}

// Now and then, by log time. The head says so before anything goes.
void Store::choose_cut() {
  const std::int64_t now = head_.head.at_ms, step = options_.history_ms / history_steps;
  if (options_.history_ms == 0 || now - cut_at_ms_ < step) return;
  cut_at_ms_ = now;
  next_.history_from = std::max(next_.history_from, View::now(snapshot_).seq_at(now - options_.history_ms));
}

Status Store::cut_history() {
  const auto cut = families_->db->IncreaseFullHistoryTsLow(families_->history, timestamp_of(head_.history_from));
  if (!cut.ok()) return store_error(cut, options_.dir);
  drop_history();
  return {};
}

// What is before the cut goes when its files are written anew: on a thread of its own, as it takes a while.
void Store::drop_history() {
  if (dropping_.exchange(true)) return;
  if (dropper_.joinable()) dropper_.join();
  dropper_ = std::thread([this, families = families_] {
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
    (void)families->db->CompactRange(options, families->history, nullptr, nullptr);  // else with the next cut
    dropping_ = false;
  });
}

bool Store::contains(const Hash& hash) const {
  if (std::find(pending_hashes_.begin(), pending_hashes_.end(), hash) != pending_hashes_.end()) return true;
  std::string value;
  const auto got = families_->db->Get({}, families_->trail, hash_key(hash), &value);
  if (!got.ok() && !got.IsNotFound()) families_->damage.report(store_error(got, options_.dir).text);
  return got.ok();
}

}  // namespace reprise
