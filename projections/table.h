// A table of the state: ordered rows in memory that know what changed.
//
// A fold edits rows; State::settle(), after each event, makes the consequences: indexes, digest,
// changes for the store, and the undo journal by which the controller steps back.
// A row type has: Key, key(), fields() (see canonical.h), table (its number), table_name, and
// optionally indexes(emit), where emit(number, bytes) files the row under those bytes.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "events/check.h"
#include "events/hash.h"
#include "projections/canonical.h"

namespace reprise {

// What became of one row or index entry in a record. Keys as the store has them, without the family.
struct Change {
  std::uint8_t table = 0;
  std::string key;
  std::optional<std::string> row;  // none: erased
};
struct IndexChange {
  std::uint8_t table = 0;
  std::uint8_t index = 0;
  std::string key;                 // index key followed by the row's key
  bool added = false;
};
struct Changes {
  std::vector<Change> rows;
  std::vector<IndexChange> indexes;
  bool empty() const { return rows.empty() && indexes.empty(); }
  void clear() { rows.clear(), indexes.clear(); }
};

// Rows that only count how far something was read say `kept_in_history = false`: the store has them as they are now, and no
// view of the past has them.
template <class Row>
constexpr bool in_history() {
  if constexpr (requires { Row::kept_in_history; }) return Row::kept_in_history;
  else return true;
}

template <class Row>
concept HasIndexes = requires(const Row& row) { row.indexes([](std::uint8_t, std::string) {}); };

inline constexpr std::size_t indexes_max = 6;

template <class Row>
class Table {
 public:
  using Key = typename Row::Key;

  const Row* find(const Key& key) const {
    const auto at = cells_.find(key);
    return at == cells_.end() ? nullptr : &at->second.row;
  }
  const Row& at(const Key& key) const {
    const Row* row = find(key);
    CHECK(row != nullptr);
    return *row;
  }
  bool contains(const Key& key) const { return cells_.contains(key); }
  std::size_t size() const { return cells_.size(); }

  // Every row in key order.
  template <class F>
  void each(F&& f) const {
    for (const auto& [key, cell] : cells_) f(cell.row);
  }
  // The rows filed in `index` under keys that begin with `prefix`, in order; f returns false to stop.
  template <class F>
  void each_by(std::uint8_t index, const std::string& prefix, F&& f) const {
    const auto& entries = indexes_[index];
    for (auto at = entries.lower_bound(prefix); at != entries.end() && at->starts_with(prefix); ++at)
      if (!f(row_of(*at, index))) return;
  }
  // The entries of an index in order, as bytes with the row; f returns false to stop.
  template <class F>
  void each_entry(std::uint8_t index, F&& f) const {
    for (const auto& entry : indexes_[index])
      if (!f(std::string_view(entry), row_of(entry, index))) return;
  }
  bool any_by(std::uint8_t index, const std::string& prefix) const {
    const auto at = indexes_[index].lower_bound(prefix);
    return at != indexes_[index].end() && at->starts_with(prefix);
  }

  // The last row filed in `index` under keys that begin with `prefix`; null: none.
  const Row* last_by(std::uint8_t index, const std::string& prefix) const {
    std::string past = prefix;
    while (!past.empty() && static_cast<std::uint8_t>(past.back()) == 0xff) past.pop_back();
    if (!past.empty()) ++past.back();
    const auto& entries = indexes_[index];
    auto at = past.empty() ? entries.end() : entries.lower_bound(past);
    if (at == entries.begin()) return nullptr;
    --at;
    return at->starts_with(prefix) ? &row_of(*at, index) : nullptr;
  }

  // To change a row that is there: before the first change the journal keeps what it was.
  Row& edit(const Key& key) {
    const auto at = cells_.find(key);
    CHECK(at != cells_.end());
    touch(key, at->second);
    return at->second.row;
  }
  void insert(Row row) {
    const Key key = row.key();
    CHECK(!cells_.contains(key));
    // A row that was erased and made again within one event has its entry already.
    bool known = false;
    if (erased_) known = std::any_of(touched_.begin(), touched_.end(), [&](const auto& t) { return t.key == key; });
    if (!known) touched_.push_back({key, std::nullopt});
    cells_.emplace(key, Cell{std::move(row), {}, true});
  }
  void erase(const Key& key) {
    const auto at = cells_.find(key);
    CHECK(at != cells_.end());
    touch(key, at->second);
    erased_ = true;
    cells_.erase(at);
  }

  // Makes the consequences of what was touched since the last call. `derive(before, after)` is called
  // for each row that really differs (null: not there).
  template <class Derive>
  void settle(Digest& digest, Changes* changes, bool keep_undo, Derive&& derive) {
    if (touched_.empty()) return;  // most tables, after most events
    for (auto& touched : touched_) settle_one(touched, digest, changes, derive);
    if (keep_undo)
      for (auto& touched : touched_) undo_.push_back(std::move(touched));
    touched_.clear();
    erased_ = false;
  }

  std::size_t undo_size() const { return undo_.size(); }
  // Back to how it was when undo_size() was `size`. The digest is restored by the caller.
  void roll_back(std::size_t size) {
    CHECK(touched_.empty());
    while (undo_.size() > size) {
      auto& last = undo_.back();
      const auto at = cells_.find(last.key);
      if (at != cells_.end()) {
        unfile(at->second.row);
        cells_.erase(at);
      }
      if (last.before) {
        file(last.before->row);
        cells_.emplace(last.key, std::move(*last.before));
      }
      undo_.pop_back();
    }
  }
  // What came before the first `count` entries can no longer be undone.
  void forget_undo(std::size_t count) { undo_.erase(undo_.begin(), undo_.begin() + static_cast<std::ptrdiff_t>(count)); }

  // From the store, at start: rows as they were settled.
  void load(Row row, const Hash& hash, Digest& digest) {
    digest.add(hash);
    file(row);
    const Key key = row.key();
    cells_.emplace(key, Cell{std::move(row), hash, false});
  }

  // BLAKE2b(table ‖ key ‖ canonical row): what the digest sums.
  static Hash row_hash(const std::string& key, const std::string& bytes) {
    std::string all = hashed_before_row(key);
    all += bytes;
    return blake2b(all);
  }

 private:
  struct Cell {
    Row row;
    Hash hash;
    bool touched = false;  // since the last settle
  };
  struct Touched {
    Key key;
    std::optional<Cell> before;
  };

  void touch(const Key& key, Cell& cell) {
    if (cell.touched) return;
    touched_.push_back({key, cell});
    cell.touched = true;
  }

  template <class Derive>
  void settle_one(Touched& touched, Digest& digest, Changes* changes, Derive& derive) {
    const auto at = cells_.find(touched.key);
    Row* after = at == cells_.end() ? nullptr : &at->second.row;
    if (after) at->second.touched = false;
    const Row* before = touched.before ? &touched.before->row : nullptr;
    if (!before && !after) return;
    if (before && after && *before == *after) {
      at->second.hash = touched.before->hash;  // it may have been erased and made again
      return;
    }
    std::string key = encode_key(touched.key);
    if (touched.before) digest.take(touched.before->hash);
    refile(before, after, changes);
    derive(before, const_cast<const Row*>(after));
    std::optional<std::string> bytes;
    if (after) {
      std::string all = hashed_before_row(key);
      const std::size_t row_at = all.size();
      CanonicalWriter writer(all);
      Row::fields(const_cast<const Row&>(*after), writer);
      at->second.hash = blake2b(all);
      digest.add(at->second.hash);
      if (changes) bytes = all.substr(row_at);
    }
    if (changes) changes->rows.push_back({Row::table, std::move(key), std::move(bytes)});
  }

  static std::string hashed_before_row(const std::string& key) {
    std::string all;
    all.reserve(key.size() + 256);  // most rows are smaller
    all.push_back(static_cast<char>(Row::table));
    CanonicalWriter(all).varint(key.size());
    return all += key;
  }

  // A row stands in few indexes, seldom twice in one: a vector that is searched costs less than a set that is made.
  using Entries = std::vector<std::pair<std::uint8_t, std::string>>;
  static Entries entries_of(const Row& row) {
    Entries entries;
    const std::string key = encode_key(row.key());
    row.indexes([&](std::uint8_t index, std::string bytes) {
      CHECK(index < indexes_max);
      entries.emplace_back(index, std::move(bytes += key));
    });
    return entries;
  }
  void file(const Row& row) {
    if constexpr (HasIndexes<Row>)
      for (auto& [index, entry] : entries_of(row)) indexes_[index].insert(std::move(entry));
  }
  void unfile(const Row& row) {
    if constexpr (HasIndexes<Row>)
      for (auto& [index, entry] : entries_of(row)) indexes_[index].erase(entry);
  }
  void refile(const Row* before, const Row* after, Changes* changes) {
    if constexpr (HasIndexes<Row>) {
      const auto old = before ? entries_of(*before) : Entries{};
      const auto now = after ? entries_of(*after) : Entries{};
      const auto in = [](const Entries& entries, const auto& one) { return std::find(entries.begin(), entries.end(), one) != entries.end(); };
      for (const auto& entry : old) {
        if (in(now, entry)) continue;
        indexes_[entry.first].erase(entry.second);
        if (changes) changes->indexes.push_back({Row::table, entry.first, entry.second, false});
      }
      for (const auto& entry : now) {
        if (in(old, entry)) continue;
        indexes_[entry.first].insert(entry.second);
        if (changes) changes->indexes.push_back({Row::table, entry.first, entry.second, true});
      }
    }
  }
  const Row& row_of(const std::string& entry, std::uint8_t) const;

  std::map<Key, Cell> cells_;
  std::array<std::set<std::string>, indexes_max> indexes_;
  std::vector<Touched> touched_;
  std::vector<Touched> undo_;
  bool erased_ = false;  // something, since the last settle
};

// An index entry ends with the row's key; ids have a fixed size, strings stand behind a fixed one.
template <class Row>
const Row& Table<Row>::row_of(const std::string& entry, std::uint8_t) const {
  typename Row::Key key;
  const std::size_t size = encoded_key_size(key);
  CHECK(entry.size() >= size);
  decode_key(std::string_view(entry).substr(entry.size() - size), key);
  return at(key);
}

template <class Tag>
constexpr std::size_t encoded_key_size(const Id<Tag>&) { return 16; }

}  // namespace reprise
