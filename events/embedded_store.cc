#include "events/embedded_store.h"

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "events/embedded_folder.h"
#include "events/wal_check.h"

namespace reprise {
namespace {

constexpr std::string_view format_now = "1";
constexpr std::size_t stamp_bytes = 8;
constexpr const char* missing_entry = "this entry is missing, later ones are there";

using Key = std::array<char, 8>;

Key big_endian(std::int64_t value) {
  Key key;
  for (int i = 0; i < 8; ++i) key[i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (56 - 8 * i));
  return key;
}

std::int64_t from_big_endian(const char* bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return static_cast<std::int64_t>(value);
}

rocksdb::Slice slice(const Key& key) { return {key.data(), key.size()}; }
rocksdb::Slice slice(std::string_view text) { return {text.data(), text.size()}; }

std::string begin_key(Topic topic) { return fmt::format("begin.{}", topic_name(topic)); }

bool has_lz4() {
  const auto known = rocksdb::GetSupportedCompressions();
  return std::find(known.begin(), known.end(), rocksdb::kLZ4Compression) != known.end();
}

// Small: the whole process of an empty cloud has 60 MB. A torn end of the write-ahead log is what a crash
// leaves behind and is dropped; damage before the end is an error (kPointInTime would cut history off there,
// silently).
rocksdb::Options db_options(const EmbeddedLogOptions& given, EmbeddedStore::Mode mode) {
  rocksdb::Options options;
  if (given.env) options.env = given.env;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.write_buffer_size = given.write_buffer_bytes;
  options.db_write_buffer_size = 12 << 20;
  options.max_total_wal_size = 16 << 20;
  options.max_background_jobs = 2;
  options.max_open_files =
      mode == EmbeddedStore::Mode::write ? 128 : -1;  // a reader beside: open before they are deleted
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.keep_log_file_num = 2;
  options.max_log_file_size = 1 << 20;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.compression = has_lz4() ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(4 << 20, 2);
  table.block_size = 16 << 10;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// A position of an iterator, as far as the reader needs it.
bool well_formed(const rocksdb::Iterator& at) {
  return at.key().size() == 8 && at.value().size() >= stamp_bytes;
}

}  // namespace

EmbeddedStore::EmbeddedStore(std::string dir, Mode mode) : dir_(std::move(dir)), mode_(mode) {}

EmbeddedStore::~EmbeddedStore() {
  for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  if (db_) db_->Close().PermitUncheckedError();
  db_.reset();
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

Error EmbeddedStore::explain(const rocksdb::Status& status, std::string_view doing) const {
  const auto text = status.ToString();
  const auto says = [&text](const char* words) { return text.find(words) != std::string::npos; };
  const auto said = fmt::format("the log in {}: {}: {}", dir_, doing, text);
  if (status.IsNoSpace() || says("No space left") || says("Disk quota exceeded")) {
    return {Errc::no_space, said + "; free some space on that file system: the log goes on by itself"};
  }
  if (says("Read-only file system"))
    return {Errc::denied, said + "; mount that file system writable: the log goes on by itself"};
  if (says("Permission denied")) return {Errc::denied, said + "; run as the user that owns the folder"};
  if (status.IsCorruption())
    return {Errc::broken, said + "; restore the folder from a copy, the damage does not heal"};
  return {Errc::broken, said + "; look at the disk (dmesg): when it works again the log goes on by itself"};
}

Result<std::unique_ptr<EmbeddedStore>> EmbeddedStore::open(const std::string& dir, Mode mode,
                                                           const EmbeddedLogOptions& options) {
  auto state = look_at_folder(dir);
  if (!state) return state.error();
  const bool may_make = mode == Mode::write && options.create;
  if (*state != FolderState::log && !may_make) {
    return Error{
        Errc::not_found,
        fmt::format("there is no log in {}; make a cloud with `reprise init`, or name its folder", dir)};
  }
  std::unique_ptr<EmbeddedStore> store(new EmbeddedStore(dir, mode));
  if (mode == Mode::write) {
    if (*state == FolderState::vacant) {
      if (auto made = make_folder(dir); !made) return made.error();
    }
    auto lock = lock_folder(dir);
    if (!lock) return lock.error();
    store->lock_fd_ = *lock;
    state = look_at_folder(dir);  // what we saw before the lock may have been another's first moments
    if (!state) return state.error();
  }
  const bool fresh = *state != FolderState::log;
  if (fresh) {
    if (auto begun = begin_marking(dir); !begun) return begun.error();
    if (*state == FolderState::half_made)
      rocksdb::DestroyDB(dir, db_options(options, mode)).PermitUncheckedError();
  }
  if (auto opened = store->open_db(options, fresh); !opened) return opened.error();
  if (auto checked = store->check_meta(options, fresh); !checked) return checked.error();
  if (auto found = store->find_bounds(); !found) return found.error();
  if (fresh) {
    if (auto finished = finish_marking(dir); !finished) return finished.error();
  }
  return store;
}

Status EmbeddedStore::open_db(const EmbeddedLogOptions& options, bool fresh) {
  auto wanted = db_options(options, mode_);
  wanted.create_if_missing = wanted.create_missing_column_families = fresh;
  if (const auto changed = find_changed_header(dir_); !changed.empty()) {
    const auto error = explain(rocksdb::Status::Corruption(changed), "read its last part");
    if (mode_ == Mode::write) return error;
    damage_.fill(error);
  }

  auto status = try_to_open(wanted);
  // A reader takes what can be read, and says where it ends: first without what follows damage in the
  // write-ahead log, then without tables that cannot be opened.
  for (const bool strict : {true, false}) {
    if (mode_ == Mode::write || !status.IsCorruption()) break;
    damage_.fill(explain(status, "read its last part"));
    wanted.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
    wanted.paranoid_checks = strict;
    status = try_to_open(wanted);
  }
  if (!status.ok()) return explain(status, "open");
  meta_ = handles_[0];
  for (int i = 0; i < topic_count; ++i) families_[i] = handles_[i + 1];
  return {};
}

rocksdb::Status EmbeddedStore::try_to_open(const rocksdb::Options& wanted) {
  const rocksdb::ColumnFamilyOptions family(wanted);
  std::vector<rocksdb::ColumnFamilyDescriptor> families = {{rocksdb::kDefaultColumnFamilyName, family}};
  for (const Topic topic : all_topics) families.emplace_back(topic_name(topic), family);
  rocksdb::DB* db = nullptr;
  rocksdb::Status status;
  if (mode_ == Mode::write) {
    status = rocksdb::DB::Open(wanted, dir_, families, &handles_, &db);
  } else {
    // Files may be deleted by the one who writes while we list them: look again, a few times.
    for (int left = 5; left > 0; --left) {
      status = rocksdb::DB::OpenForReadOnly(wanted, dir_, families, &handles_, &db);
      if (!status.IsPathNotFound() && status.ToString().find("No such file") == std::string::npos) break;
    }
  }
  if (status.ok()) db_.reset(db);
  else handles_.clear();
  return status;
}

Status EmbeddedStore::check_meta(const EmbeddedLogOptions& options, bool fresh) {
  if (fresh) {
    rocksdb::WriteBatch batch;
    batch.Put(meta_, "format", slice(format_now)).PermitUncheckedError();
    batch.Put(meta_, "cluster", options.cluster.empty() ? "reprise" : options.cluster).PermitUncheckedError();
    rocksdb::WriteOptions synced;
    synced.sync = true;
    const auto status = db_->Write(synced, &batch);
    if (!status.ok()) return explain(status, "write its format");
  }
  std::string format, cluster;
  auto status = db_->Get({}, meta_, "format", &format);
  if (status.ok()) status = db_->Get({}, meta_, "cluster", &cluster);
  if (!status.ok())
    return explain(status.IsNotFound() ? rocksdb::Status::Corruption("no format in it") : status,
                   "read its format");
  if (format != format_now) {
    return {Errc::invalid,
            fmt::format("the log in {} has format {}, this reprise reads {}; use the version that made it",
                        dir_, format, format_now)};
  }
  if (!options.cluster.empty() && options.cluster != cluster) {
    return {Errc::invalid, fmt::format("the log in {} is of cluster '{}', not '{}'; name the folder of '{}'",
                                       dir_, cluster, options.cluster, options.cluster)};
  }
  return {};
}

Status EmbeddedStore::find_bounds() {
  for (const Topic topic : all_topics) {
    if (auto found = find_bounds(topic); !found) return found;
  }
  return mode_ == Mode::write ? check_dense(Topic::events) : Status();
}

// Who writes must not go on behind a hole, as in a copy that was made of a running log. Counted from what the
// files say of themselves; only if that does not agree, entry by entry.
Status EmbeddedStore::check_dense(Topic topic) const {
  auto* family = families_[index_of(topic)];
  rocksdb::TablePropertiesCollection tables;
  std::uint64_t in_memory = 0, entries = 0;
  const auto status = db_->GetPropertiesOfAllTables(family, &tables);
  if (!status.ok()) return explain(status, fmt::format("count {}", topic_name(topic)));
  for (const auto& [file, properties] : tables) entries += properties->num_entries;
  db_->GetIntProperty(family, rocksdb::DB::Properties::kNumEntriesActiveMemTable, &in_memory);
  const auto bounds = this->bounds(topic);
  if (entries + in_memory == static_cast<std::uint64_t>(bounds.end - bounds.begin)) return {};
  std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}, family));
  auto wanted = bounds.begin;
  for (at->Seek(slice(big_endian(wanted))); at->Valid() && from_big_endian(at->key().data()) == wanted; at->Next())
    ++wanted;
  if (wanted == bounds.end) return {};
  const auto why = at->status().ok() ? rocksdb::Status::Corruption(missing_entry) : at->status();
  return explain(why, fmt::format("read {} at offset {}", topic_name(topic), wanted));
}

Status EmbeddedStore::find_bounds(Topic topic) {
  auto& bounds = bounds_[index_of(topic)];
  std::string begin;
  auto status = db_->Get({}, meta_, begin_key(topic), &begin);
  if (status.ok() && begin.size() == 8) bounds.begin = from_big_endian(begin.data());
  if (!status.ok() && !status.IsNotFound())
    return explain(status, fmt::format("find the first of {}", topic_name(topic)));
  std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}, families_[index_of(topic)]));
  at->SeekToLast();
  if (at->Valid() && at->key().size() == 8) bounds.end = from_big_endian(at->key().data()) + 1;
  if (!at->status().ok()) {
    const auto error = explain(at->status(), fmt::format("find the end of {}", topic_name(topic)));
    if (mode_ == Mode::write || error.code != Errc::broken) return error;
    // As far as it can be read from the front.
    damage_[index_of(topic)] = error;
    for (at->Seek(slice(big_endian(bounds.begin))); at->Valid(); at->Next()) {
      bounds.end = from_big_endian(at->key().data()) + 1;
    }
    bounds.end = std::max(bounds.end, bounds.begin);
  }
  if (damage(topic)) return {};
  if (bounds.end < bounds.begin || (bounds.begin > 0 && bounds.end == bounds.begin)) {
    return {Errc::broken,
            fmt::format("the log in {}: {} ends at offset {}, before what it must still hold ({}); "
                        "restore the folder from a copy",
                        dir_, topic_name(topic), bounds.end, bounds.begin)};
  }
  return {};
}

Status EmbeddedStore::write(std::span<const Item> items, std::int64_t now_ms, bool sync) {
  rocksdb::WriteBatch batch;
  const auto stamp = big_endian(now_ms);
  for (const Item& item : items) {
    const auto key = big_endian(item.offset);
    const rocksdb::Slice key_part = slice(key), parts[] = {slice(stamp), slice(item.bytes)};
    batch
        .Put(families_[index_of(item.topic)], rocksdb::SliceParts(&key_part, 1),
             rocksdb::SliceParts(parts, 2))
        .PermitUncheckedError();
  }
  rocksdb::WriteOptions options;
  options.sync = sync;
  const auto status = db_->Write(options, &batch);
  return status.ok() ? Status() : Status(explain(status, "append"));
}

Result<std::vector<Entry>> EmbeddedStore::read(Topic topic, std::int64_t from, std::int64_t to,
                                               std::size_t entries_max, std::size_t bytes_max) const {
  const auto upper = big_endian(to);
  const auto upper_slice = slice(upper);
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &upper_slice;
  options.fill_cache = false;
  std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(options, families_[index_of(topic)]));
  std::vector<Entry> entries;
  std::size_t bytes = 0;
  at->Seek(slice(big_endian(from)));
  for (; at->Valid() && entries.size() < entries_max && bytes < bytes_max; at->Next()) {
    const auto wanted = from + static_cast<std::int64_t>(entries.size());
    if (!well_formed(*at) || from_big_endian(at->key().data()) != wanted) break;
    entries.push_back({wanted, Bytes(at->value().data() + stamp_bytes, at->value().size() - stamp_bytes)});
    bytes += at->value().size();
  }
  if (!entries.empty() || from >= to) return entries;  // what is wrong with the next one, the next read says
  const auto where = fmt::format("read {} at offset {}", topic_name(topic), from);
  if (!at->status().ok()) return explain(at->status(), where);
  return explain(rocksdb::Status::Corruption(missing_entry), where);
}

Result<std::int64_t> EmbeddedStore::stamp(Topic topic, std::int64_t offset) const {
  rocksdb::PinnableSlice value;
  auto status = db_->Get({}, families_[index_of(topic)], slice(big_endian(offset)), &value);
  if (status.ok() && value.size() < stamp_bytes) status = rocksdb::Status::Corruption("entry without a time");
  if (!status.ok()) return explain(status, fmt::format("read {} at offset {}", topic_name(topic), offset));
  return from_big_endian(value.data());
}

Status EmbeddedStore::forget(Topic topic, std::int64_t begin) {
  auto* family = families_[index_of(topic)];
  const auto first = big_endian(0), last = big_endian(begin);
  rocksdb::WriteBatch batch;
  batch.Put(meta_, begin_key(topic), slice(last)).PermitUncheckedError();
  batch.DeleteRange(family, slice(first), slice(last)).PermitUncheckedError();
  rocksdb::WriteOptions synced;  // with what is kept: the files that go now do not come back
  synced.sync = true;
  auto status = db_->Write(synced, &batch);
  if (!status.ok()) return explain(status, fmt::format("drop old {}", topic_name(topic)));
  // Whole files go at once, without being read again.
  const auto first_slice = slice(first), last_slice = slice(last);
  rocksdb::DeleteFilesInRange(db_.get(), family, &first_slice, &last_slice, false).PermitUncheckedError();
  return {};
}

}  // namespace reprise
