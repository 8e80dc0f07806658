#include "projections/view.h"

#include <fmt/format.h>
#include <rocksdb/db.h>

#include "projections/store_status.h"

namespace reprise {
// What the iterator only points to.
struct View::Cursor::Held {
  std::string from, until;
  rocksdb::Slice upper, at;
};

View::Cursor::Cursor(const View& view, std::string from, std::string until)
    : view_(view), held_(std::make_unique<Held>()) {
  const auto& families = *view.snapshot_->families;
  held_->from = std::move(from);
  held_->until = std::move(until);
  held_->upper = held_->until;
  held_->at = view.timestamp_;
  rocksdb::ReadOptions options;
  options.snapshot = view.snapshot_->snapshot;
  options.iterate_upper_bound = &held_->upper;
  if (!view.is_now()) options.timestamp = &held_->at;
  iterator_.reset(families.db->NewIterator(options, view.is_now() ? families.now : families.history));
  iterator_->Seek(held_->from);
}
View::Cursor::~Cursor() = default;

bool View::Cursor::valid() const {
  if (iterator_->Valid()) return true;
  if (const auto status = iterator_->status(); !status.ok()) view_.note(store_error(status, "(view)"));
  return false;
}
std::string_view View::Cursor::key() const { return {iterator_->key().data(), iterator_->key().size()}; }
std::string_view View::Cursor::value() const {
  return {iterator_->value().data(), iterator_->value().size()};
}
void View::Cursor::next() { iterator_->Next(); }
void View::Cursor::seek(std::string_view key) { iterator_->Seek({key.data(), key.size()}); }

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
  View view(std::move(snapshot), seq);
  const auto line = view.line_of(seq);
  if (!line) return Error{Errc::broken, fmt::format("seq {} is missing in the store", seq)};
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

std::size_t View::count_between(std::string from, std::string until) const {
  std::size_t count = 0;
  for (Cursor at(*this, std::move(from), std::move(until)); at.valid(); at.next()) ++count;
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
  if (!got.ok()) {
    note(store_error(got, families.db->GetName()));
    return std::nullopt;
  }
  auto line = decode_line(bytes);
  if (line) return *line;
  note(line.error());
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
    state.member.load(row, hash, state.digest_for_loading());                       \
  });
#include "projections/tables.def"
#undef TABLE
  if (!view.status()) return view.status().error();
  if (state.digest() != view.line().digest)
    return Error{Errc::broken,
                 fmt::format("the stored rows as of seq {} have digest {}, but the record says {}",
                             view.seq(), state.digest().hex(), view.line().digest.hex())};
  return state;
}

}  // namespace reprise
