// Reads of the state as of one record: the newest stored one, or any before it. The same code for both.
//
// A view of the past has no rows of tables that are not kept in the history (table.h).
// A view is one reader's: cheap to make (no lock, no copy of rows), not to be shared between threads.
// All its answers are of one seq. A read that fails (a damaged block) answers "not there" and is kept in
// status(): whoever answers a client on the strength of a view looks at it once at the end. Damage is told to
// whoever keeps the store, which makes it anew.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "projections/state.h"
#include "projections/store.h"

namespace reprise {

class View {
 public:
  // As of the snapshot's head. With nothing folded yet: seq 0, no rows.
  static View now(std::shared_ptr<const StoreSnapshot> snapshot);
  // not_found: after the head; invalid: 0; unsupported: before what the history was cut to.
  static Result<View> at(std::shared_ptr<const StoreSnapshot> snapshot, Seq seq);
  // Of the same snapshot, as of an earlier seq; errors as at().
  Result<View> past(Seq seq) const { return at(snapshot_, seq); }
  ~View();
  View(View&&) noexcept;
  View& operator=(View&&) noexcept;

  Seq seq() const { return seq_; }
  std::int64_t at_ms() const { return line_.at_ms; }
  const RecordLine& line() const { return line_; }
  bool is_now() const { return timestamp_.empty(); }
  // A seq at which these tables' rows were what they are in this view: what was made of them then still holds.
  template <class... Rows>
  Seq unchanged_since() const {
    return is_now() ? std::max({snapshot_->changed[Rows::table]...}) : seq_;
  }
  // The first seq that a view can be of: 1, or what the history was cut to.
  Seq history_from() const { return std::max<Seq>(snapshot_->head.history_from, 1); }
  const StoreHead& store_head() const { return snapshot_->head; }
  const Status& status() const { return status_; }

  template <class Row>
  std::optional<Row> find(const typename Row::Key& key) const {
    std::string bytes;
    if (!get(row_key(Row::table, encode_key(key)), bytes)) return std::nullopt;
    return row_of<Row>(bytes);
  }
  template <class Row>
  bool contains(const typename Row::Key& key) const {
    std::string bytes;
    return get(row_key(Row::table, encode_key(key)), bytes);
  }
  // Every row in key order, beginning behind `after`; f(Row&) may return false to stop, and may take the row.
  template <class Row, class F>
  void each(F&& f, const std::optional<typename Row::Key>& after = std::nullopt) const;
  // The rows filed in `index` under keys that begin with `prefix`, in order of the entries. `after`: a
  // whole entry (index key and row key) to begin behind.
  template <class Row, class F>
  void each_by(std::uint8_t index, const std::string& prefix, F&& f, const std::string& after = {}) const;
  // Every row that is not the same in both views, in key order: f(before, after), null where it is not there.
  template <class Row, class F>
  static void each_changed(const View& from, const View& to, F&& f);
  // The keys alone, without reading the rows.
  template <class Row, class F>
  void each_key_by(std::uint8_t index, const std::string& prefix, F&& f) const;
  template <class Row>
  std::size_t count() const {
    return count_between(row_key(Row::table, {}), row_key(Row::table + 1, {}));
  }
  template <class Row>
  std::size_t count_by(std::uint8_t index, const std::string& prefix) const {
    const std::string from = index_key(Row::table, index, prefix);
    return count_between(from, past(from), from);
  }

  // The records that touched an object, from `from` on, up to this view's seq.
  std::vector<Seq> seqs_of(AnyId object, Seq from = 0, std::size_t max = SIZE_MAX) const;
  // What is kept of a record, up to this view's seq.
  std::optional<RecordLine> line_of(Seq seq) const;
  // The seq of a record by its hash; 0: void, nothing: unknown.
  std::optional<Seq> seq_of(const Hash& hash) const;
  // The last record that is not later than that log time; 0: all are.
  Seq seq_at(std::int64_t at_ms) const;
  // A record's own bytes, while they are in the tail.
  std::optional<Bytes> tail(Seq seq) const;

 private:
  struct Iterator;
  // Rows or entries of [from, until), in order.
  class Cursor {
   public:
    // `prefix`: of all keys between; empty: none is known.
    Cursor(const View& view, const std::string& from, std::string until, std::string_view prefix = {});
    ~Cursor();
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;
    bool valid() const;
    std::string_view key() const;
    std::string_view value() const;
    void next();
    void seek(std::string_view key);

   private:
    const View& view_;
    std::unique_ptr<Iterator> held_;
  };

  View(std::shared_ptr<const StoreSnapshot> snapshot, Seq seq);
  bool get(const std::string& key, std::string& bytes) const;
  std::unique_ptr<Iterator> iterator(bool filtered) const;
  std::size_t count_between(const std::string& from, std::string until, std::string_view prefix = {}) const;
  // The first key behind all that begin with `prefix`.
  static std::string past(std::string prefix);
  void note(Error error) const {
    if (error.code == Errc::conflict) snapshot_->families->damage.report(error.text);
    if (status_) status_ = std::move(error);
  }

  template <class Row>
  std::optional<Row> row_of(std::string_view bytes) const {
    auto row = decode_row<Row>(bytes);
    if (row) return std::move(*row);
    note({Errc::conflict, row.error().text + ": the store is damaged"});
    return std::nullopt;
  }
  template <class F, class Argument>
  static bool goes_on(F& f, Argument&& argument) {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, Argument>>) {
      f(std::forward<Argument>(argument));
      return true;
    } else {
      return f(std::forward<Argument>(argument));
    }
  }

  std::shared_ptr<const StoreSnapshot> snapshot_;
  Seq seq_ = 0;
  std::string timestamp_;  // empty: now
  RecordLine line_;
  mutable Status status_;
  mutable std::vector<std::unique_ptr<Iterator>> idle_;  // to make one costs more than to seek
};

template <class Row, class F>
void View::each(F&& f, const std::optional<typename Row::Key>& after) const {
  std::string from = row_key(Row::table, after ? encode_key(*after) : std::string{});
  if (after) from.push_back('\0');
  for (Cursor at(*this, from, row_key(Row::table + 1, {})); at.valid(); at.next()) {
    auto row = row_of<Row>(at.value());
    if (!row || !goes_on(f, *row)) return;
  }
}

template <class Row, class F>
void View::each_changed(const View& from, const View& to, F&& f) {
  const std::string begin = row_key(Row::table, {}), end = row_key(Row::table + 1, {});
  Cursor a(from, begin, end), b(to, begin, end);
  while (true) {
    const bool in_a = a.valid() && (!b.valid() || a.key() <= b.key());
    const bool in_b = b.valid() && (!a.valid() || b.key() <= a.key());
    if (!in_a && !in_b) return;
    if (!in_a || !in_b || a.value() != b.value()) {
      const auto before = in_a ? from.row_of<Row>(a.value()) : std::nullopt;
      const auto after = in_b ? to.row_of<Row>(b.value()) : std::nullopt;
      if (in_a != before.has_value() || in_b != after.has_value()) return;  // damaged: it is noted
      f(before ? &*before : nullptr, after ? &*after : nullptr);
    }
    if (in_a) a.next();
    if (in_b) b.next();
  }
}

template <class Row, class F>
void View::each_key_by(std::uint8_t index, const std::string& prefix, F&& f) const {
  const std::string from = index_key(Row::table, index, prefix);
  for (Cursor at(*this, from, past(from), from); at.valid(); at.next()) {
    typename Row::Key key;
    const std::size_t size = encoded_key_size(key);
    if (at.key().size() < 2 + size)
      return note({Errc::conflict, "an index entry is too short: the store is damaged"});
    decode_key(at.key().substr(at.key().size() - size), key);
    if (!goes_on(f, key)) return;
  }
}

template <class Row, class F>
void View::each_by(std::uint8_t index, const std::string& prefix, F&& f, const std::string& after) const {
  const std::string begin = index_key(Row::table, index, prefix);
  std::string from = after.empty() ? begin : index_key(Row::table, index, after);
  if (!after.empty()) from.push_back('\0');
  Cursor entry(*this, from, past(begin), begin);
  if (!entry.valid()) return;
  // A few rows are sooner looked up than an iterator is made for them. Entries of one prefix are mostly in the
  // order of the rows: in a longer list stepping beats looking each one up.
  constexpr int lookups_max = 4, steps_max = 8;
  const std::size_t size = encoded_key_size(typename Row::Key{});
  int lookups = 0;
  std::string looked_up;
  std::optional<Cursor> row;
  for (; entry.valid(); entry.next()) {
    if (entry.key().size() < 2 + size)
      return note({Errc::conflict, "an index entry is too short: the store is damaged"});
    const std::string key = row_key(Row::table, entry.key().substr(entry.key().size() - size));
    bool there = false;
    if (lookups < lookups_max) {
      ++lookups;
      there = get(key, looked_up);
    } else {
      if (!row) row.emplace(*this, key, row_key(Row::table + 1, {}));
      for (int i = 0; i < steps_max && row->valid() && row->key() < key; ++i) row->next();
      if (!row->valid() || row->key() != key) row->seek(key);
      there = row->valid() && row->key() == key;
    }
    if (!there) {
      // What could not be read is noted, and may be there.
      if (status_) note({Errc::conflict, std::string("an index entry without its row in table ") + Row::table_name});
      return;
    }
    auto found = row_of<Row>(row ? row->value() : std::string_view(looked_up));
    if (!found || !goes_on(f, *found)) return;
  }
}

// The whole state of a view, each row hashed anew: conflict when that does not make the record's digest.
Result<State> load_state(const View& view, bool collect_changes = false, bool keep_undo = false);

}  // namespace reprise
