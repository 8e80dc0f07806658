#include "projections/view.h"

#include <fmt/format.h>
#include <rocksdb/db.h>

#include <algorithm>

#include "projections/store_status.h"

namespace reprise {

// With what RocksDB's only points to.
struct View::Iterator {
  std::shared_ptr<const StoreSnapshot> snapshot;
  bool filtered = false;
  std::string until, timestamp;
  rocksdb::Slice upper, at;
  std::unique_ptr<rocksdb::Iterator> rows;
};

std::unique_ptr<View::Iterator> View::iterator(bool filtered) const {
  const auto idle = std::find_if(idle_.begin(), idle_.end(),
                                 [&](const auto& one) { return one->filtered == filtered; });
  if (idle != idle_.end()) {
    auto one = std::move(*idle);
    idle_.erase(idle);
    return one;
  }
  auto made = std::make_unique<Iterator>();
  made->snapshot = snapshot_;
  made->filtered = filtered;
  made->timestamp = timestamp_;
  made->at = made->timestamp;
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_->snapshot;
  options.iterate_upper_bound = &made->upper;
  options.total_order_seek = !filtered;
  options.prefix_same_as_start = filtered;
  if (!is_now()) options.timestamp = &made->at;
  const auto& families = *snapshot_->families;
  made->rows.reset(families.db->NewIterator(options, is_now() ? families.now : families.history));
  return made;
}

View::Cursor::Cursor(const View& view, const std::string& from, std::string until, std::string_view prefix)
    : view_(view), held_(view.iterator(prefix.size() >= index_prefix_bytes)) {
  held_->until = std::move(until);
  held_->upper = held_->until;  // a seek looks at it again
  held_->rows->Seek(from);
}
View::Cursor::~Cursor() { view_.idle_.push_back(std::move(held_)); }

bool View::Cursor::valid() const {
  if (held_->rows->Valid()) return true;
  const auto status = held_->rows->status();
  if (!status.ok()) view_.note(store_error(status, view_.snapshot_->families->db->GetName()));
  return false;
}
std::string_view View::Cursor::key() const { return {held_->rows->key().data(), held_->rows->key().size()}; }
std::string_view View::Cursor::value() const {
  return {held_->rows->value().data(), held_->rows->value().size()};
}
void View::Cursor::next() { held_->rows->Next(); }
void View::Cursor::seek(std::string_view key) { held_->rows->Seek({key.data(), key.size()}); }

View::~View() = default;
View::View(View&&) noexcept = default;
View& View::operator=(View&&) noexcept = default;

View::View(std::shared_ptr<const StoreSnapshot> snapshot, Seq seq)
    : snapshot_(std::move(snapshot)), seq_(seq) {}

View View::now(std::shared_ptr<const StoreSnapshot> snapshot) {
  const StoreHead& head = snapshot->head;
  View view(snapshot, head.head.seq);
  view.line_ = {
      .offset = head.head.offset, .hash = head.head.hash, .at_ms = head.head.at_ms, .digest = head.digest};
  return view;
}

Result<View> View::at(std::shared_ptr<const StoreSnapshot> snapshot, Seq seq) {
  const Seq head = snapshot->head.head.seq;
  if (seq == 0) return Error{Errc::invalid, "seq 0 is before the cloud was made: the first is 1"};
  if (seq > head)
    return Error{Errc::not_found, fmt::format("seq {} has not happened yet: the newest is {}", seq, head)};
  if (seq < snapshot->head.history_from)
    return Error{Errc::unsupported, fmt::format("the past before seq {} was cut here: the log still tells of it, what "
                                                "was in seq {} can no longer be read",
                                                snapshot->head.history_from, seq)};
  View view(std::move(snapshot), seq);
  const auto line = view.line_of(seq);
  if (!line) return view.status().error();
  view.line_ = *line;
  view.timestamp_ = timestamp_of(seq);
  return view;
}

bool View::get(const std::string& key, std::string& bytes) const {
  const auto& families = *snapshot_->families;
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_->snapshot;
  rocksdb::Slice at = timestamp_;
  if (!is_now()) options.timestamp = &at;
  const auto got = families.db->Get(options, is_now() ? families.now : families.history, key, &bytes);
  if (!got.ok() && !got.IsNotFound()) note(store_error(got, families.db->GetName()));
  return got.ok();
}

std::size_t View::count_between(const std::string& from, std::string until, std::string_view prefix) const {
  std::size_t count = 0;
  for (Cursor at(*this, from, std::move(until), prefix); at.valid(); at.next()) ++count;
  return count;
}

std::string View::past(std::string prefix) {
  while (!prefix.empty() && static_cast<std::uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

std::vector<Seq> View::seqs_of(AnyId object, Seq from, std::size_t max) const {
  const auto& families = *snapshot_->families;
  const std::string until = object_key(object, seq_ + 1);
  const rocksdb::Slice upper = until;
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_->snapshot;
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> at(families.db->NewIterator(options, families.trail));
  std::vector<Seq> seqs;
  for (at->Seek(object_key(object, from)); at->Valid() && seqs.size() < max; at->Next())
    seqs.push_back(KeyReader({at->key().data() + at->key().size() - 8, 8}).number());
  if (!at->status().ok()) note(store_error(at->status(), families.db->GetName()));
  return seqs;
}

std::optional<RecordLine> View::line_of(Seq seq) const {
  if (seq == 0 || seq > seq_) return std::nullopt;
  const auto& families = *snapshot_->families;
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_->snapshot;
  std::string bytes;
  const auto got = families.db->Get(options, families.trail, line_key(seq), &bytes);
  auto line = got.ok() ? decode_line(bytes) : Result<RecordLine>(store_error(got, families.db->GetName()));
  if (line) return *line;
  const bool missing = got.ok() || got.IsNotFound();
  note({missing ? Errc::conflict : line.error().code, fmt::format("the line of seq {}: {}", seq, line.error().text)});
  return std::nullopt;
}

std::optional<Seq> View::seq_of(const Hash& hash) const {
  const auto& families = *snapshot_->families;
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_->snapshot;
  std::string bytes;
  const auto got = families.db->Get(options, families.trail, hash_key(hash), &bytes);
  if (!got.ok() && !got.IsNotFound()) note(store_error(got, families.db->GetName()));
  if (!got.ok() || bytes.size() != 8) return std::nullopt;
  return KeyReader(bytes).number();
}

// Log time never decreases along the chain: halving finds it.
Seq View::seq_at(std::int64_t at_ms) const {
  Seq before = 0, after = seq_ + 1;
  while (before + 1 < after) {
    const Seq middle = before + (after - before) / 2;
    const auto line = line_of(middle);
    if (!line) return 0;
    (line->at_ms <= at_ms ? before : after) = middle;
  }
  return before;
}

std::optional<Bytes> View::tail(Seq seq) const {
  if (seq == 0 || seq > seq_) return std::nullopt;
  const auto& families = *snapshot_->families;
  rocksdb::ReadOptions options;
  options.snapshot = snapshot_->snapshot;
  std::string bytes;
  const auto got = families.db->Get(options, families.tail, tail_key(seq), &bytes);
  if (!got.ok() && !got.IsNotFound()) note(store_error(got, families.db->GetName()));
  if (!got.ok()) return std::nullopt;
  return bytes;
}

Result<State> load_state(const View& view, bool collect_changes, bool keep_undo) {
  State state(collect_changes, keep_undo);
#define TABLE(Row, member)                                                          \
  view.each<Row>([&](const Row& row) {                                              \
    const Hash hash = Table<Row>::row_hash(encode_key(row.key()), encode_row(row)); \
    state.member.load(row, hash, state.digest_for_loading<Row>());                  \
  });
#include "projections/tables.def"
#undef TABLE
  if (!view.status()) return view.status().error();
  // What the history does not keep is not there; the record's line knows what it came to.
  Digest whole;
  whole.add(state.digest());
  if (!view.is_now()) whole.add(view.line().apart);
  if (whole.value() != view.line().digest)
    return Error{Errc::conflict,
                 fmt::format("the stored rows as of seq {} have digest {}, but the record says {}",
                             view.seq(), state.digest().hex(), view.line().digest.hex())};
  return state;
}

}  // namespace reprise
