#include "projections/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>

#include "projections/fetch.h"
#include "projections/moved.h"
#include "projections/start.h"

namespace reprise {
namespace {

constexpr std::size_t entries_per_poll = 256;
constexpr std::size_t batch_bytes_max = 4u << 20;

std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool passes_by_itself(Errc code) {
  return code == Errc::unreachable || code == Errc::timed_out || code == Errc::again || code == Errc::no_space;
}

}  // namespace

// Wakes the thread; outlives the projection in the log's hands.
struct Projection::Bell {
  std::mutex mutex;
  std::condition_variable changed;
  bool rung = false;
  bool stop = false;

  void ring() {
    std::lock_guard lock(mutex);
    rung = true;
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return rung || stop; });
    rung = false;
  }
  void pause(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, time, [&] { return stop; });
  }
  bool stopping() {
    std::lock_guard lock(mutex);
    return stop;
  }
};

struct Projection::Watcher {
  std::recursive_mutex mutex;  // held while it is called: unwatch() waits for it
  std::function<void(const Folded&)> callback;
  Seq after = 0;  // what was published when it came
  bool alive = true;
};

// What was folded since the last write.
struct Projection::Batch {
  struct Item {
    Record record;
    Bytes bytes;
    Head head;
    State::Touched touched;
    std::vector<std::pair<IntentId, std::uint32_t>> intents;
  };
  std::vector<Item> items;
};

Projection::Projection(Log& log, ProjectionOptions options, std::unique_ptr<Store> store)
    : log_(log),
      options_(std::move(options)),
      store_(std::move(store)),
      bell_(std::make_shared<Bell>()),
      state_(true) {}

Projection::~Projection() { stop(); }

Result<std::unique_ptr<Projection>> Projection::open(Log& log, ProjectionOptions options) {
  std::string began = begin_from_checkpoint(options.checkpoints, options.store, options.cloud);
  auto store = Store::open(options.store);
  std::string damage;
  if (!store && store.error().code == Errc::conflict && !options.store.read_only) {
    damage = store.error().text;
    if (auto aside = Store::set_aside(options.store.dir); !aside) return aside.error();
    began = begin_from_checkpoint(options.checkpoints, options.store, options.cloud);
    store = Store::open(options.store);
  }
  if (!store) return store.error();
  const StoreHead& head = (*store)->head();
  if (options.cloud && head.head.seq != 0 && head.cloud != options.cloud)
    return Error{Errc::conflict, fmt::format("the store in {} is of cloud {}, not of {}: give another folder",
                                             options.store.dir, head.cloud.str(), options.cloud.str())};
  std::unique_ptr<Projection> projection(new Projection(log, std::move(options), std::move(*store)));
  projection->status_.began = std::move(began);
  if (auto moved = projection->move_in(); !moved) return moved.error();
  if (auto loaded = projection->load(std::move(damage)); !loaded) return loaded.error();
  return projection;
}

// What was folded elsewhere goes on here, or is nothing that this log may go on from.
Status Projection::move_in() {
  if (store_->head().head.seq == 0 || store_->head().place == log_.place()) return {};
  const auto end = fetch_end(log_, Topic::events, log_patience);
  if (!end) return end.error();
  if (*end > 0)
    if (auto same = check_genesis(log_, *store_); !same) return same;
  const auto moved = move_store(*store_, log_, log_patience);
  if (moved || moved.error().code != Errc::conflict) return moved;
  return {Errc::broken, moved.error().text};
}

// `damage`: of the store that stood here before; it was set aside.
Status Projection::load(std::string damage) {
  status_.log_place = log_.place();
  snapshot_ = store_->snapshot();
  store_->when_damaged([bell = bell_] { bell->ring(); });
  if (!damage.empty()) {
    status_.rebuilt_because = std::move(damage);
    status_.rebuilding = true;
  }
  if (store_->head().head.seq != 0) {
    auto state = load_state(View::now(snapshot_), true);
    if (!state && state.error().code != Errc::conflict) return state.error();
    if (!state) {
      // Once the log is seen to hold the stored head (follow()): until then nothing of it is thrown away, and
      // nothing is shown.
      unusable_ = state.error().text;
      status_.rebuilding = true;
      return {};
    }
    state_ = std::move(*state);
    state_head_ = store_->head().head;
  }
  publish({});
  return {};
}

void Projection::start() {
  CHECK(!thread_.joinable());
  thread_ = std::thread([this] { run(); });
}

void Projection::stop() {
  {
    std::lock_guard lock(bell_->mutex);
    bell_->stop = true;
    bell_->changed.notify_all();
  }
  if (!thread_.joinable()) return;
  thread_.join();
  if (status().broken.empty()) waiters_->fail({Errc::again, "this process stops: ask another, or again"});
}

void Projection::run() {
  auto time = options_.retry;
  while (!bell_->stopping()) {
    progressed_ = false;
    Status status = follow();
    if (status) continue;
    if (status.error().code != Errc::conflict)
      if (auto back = step_back(); !back) status = std::move(back);
    if (status.error().code == Errc::conflict) {  // what is folded is not what the log says
      if (status = rebuild(status.error().text); status) continue;
    }
    if (!passes_by_itself(status.error().code)) return fail(status.error());
    {
      std::lock_guard lock(mutex_);
      status_.trouble = status.error().text;
    }
    time = progressed_ ? options_.retry : std::min(time * 2, options_.retry * 20);
    waiters_->stale(status.error());
    bell_->pause(time);
  }
}

// Until it is stopped, or something is wrong.
Status Projection::follow() {
  checked_ = false;
  if (auto checked = check_start(); !checked) return checked;
  if (auto usable = check_store(); !usable) return usable;
  checked_ = true;
  publish({});  // a sealed head says so only now
  const std::int64_t offset = from_head_ ? store_->head().head.offset + 1 : store_->head().next_offset;
  auto reader = log_.open_reader(Topic::events, offset, [bell = bell_] { bell->ring(); });
  Batch batch;
  while (!bell_->stopping()) {
    auto entries = reader ? (*reader)->poll(entries_per_poll) : Result<std::vector<Entry>>(reader.error());
    if (!entries && entries.error().code == Errc::not_found) {
      from_head_ = true;  // the end stepped back: check_start() gives it some time
      return {Errc::again, fmt::format("the log at {} ends before what was read of it: {}", log_.place(),
                                       entries.error().text)};
    }
    if (!entries && entries.error().code == Errc::broken)
      return {Errc::broken, fmt::format("the log at {} is broken after seq {}: {}", log_.place(), state_head_.seq,
                                        entries.error().text)};
    if (!entries) return entries.error();
    from_head_ = false;
    for (auto& entry : *entries) {
      auto taken = take(std::move(entry), batch);
      if (taken && store_->pending_bytes() > batch_bytes_max) taken = flush(batch);
      if (taken) continue;
      // What extends the head and was proved counts, whatever comes after it.
      if (auto flushed = flush(batch); !flushed) return flushed;
      return taken;
    }
    if (auto flushed = flush(batch); !flushed) return flushed;
    ask_end();
    if (auto usable = check_store(); !usable) return usable;
    if (!entries->empty()) continue;
    {
      std::lock_guard lock(mutex_);
      status_.caught_up = true;
      status_.rebuilding = false;
      status_.trouble.clear();
    }
    folding_anew_ = false;
    progressed_ = true;
    bell_->wait();
  }
  return {};
}

// What a reader found damaged is folded anew.
Status Projection::check_store() const {
  const std::string damage = unusable_.empty() ? store_->damage() : unusable_;
  return damage.empty() ? Status() : Status(Errc::conflict, damage);
}

Status Projection::check_start() {
  if (store_->head().head.seq == 0) return {};
  const std::int64_t offset = store_->head().head.offset;
  const auto deadline = std::chrono::steady_clock::now() + options_.end_patience;
  while (true) {
    const auto end = fetch_end(log_, Topic::events, log_patience);
    if (!end) return end.error();
    if (*end > 0)
      if (auto same = check_genesis(log_, *store_); !same) return same;
    if (*end > offset) return check_head(log_, *store_);
    if (std::chrono::steady_clock::now() >= deadline)
      return {Errc::broken,
              fmt::format(
                  "the log at {} ends at offset {}, but seq {} was read at offset {}: it has lost records "
                  "that were acknowledged; the store in {} still keeps the newest of them: `reprise log repair` "
                  "appends them again",
                  log_.place(), *end, store_->head().head.seq, offset, store_->dir())};
    bell_->pause(options_.retry);
    if (bell_->stopping()) return {};
  }
}

Status Projection::take(Entry entry, Batch& batch) {
  Step step = read_step(state_head_, *store_, entry);
  if (step.verdict == Verdict::broken) {
    if (auto usable = check_store(); !usable) return usable;  // what cannot be read there is not known here
    return {Errc::broken, fmt::format("the log at {} is broken: {}", log_.place(), step.why)};
  }
  if (step.verdict == Verdict::is_void) {
    store_->add_void(step.hash, step.offset);
    return {};
  }
  if (const CloudCreated* genesis = step.record.seq == 1 ? genesis_of(step.record) : nullptr;
      genesis && options_.cloud && genesis->cloud != options_.cloud)
    return {Errc::exists, fmt::format("the log at {} is of cloud {}, not of {}", log_.place(),
                                      genesis->cloud.str(), options_.cloud.str())};
  Batch::Item item;
  Changes changes;
  Hash apart;
  {
    std::unique_lock lock(state_mutex_);
    if (auto applied = apply_step(state_, state_head_, step); !applied) return applied;
    changes = state_.take_changes();
    apart = state_.digest_apart();
    item.touched = state_.take_touched();
    item.head = state_head_;
  }
  RecordNotes notes = notes_of(step.record);
  store_->add(step.record, item.head, entry.bytes, std::move(changes), std::move(notes.objects), apart);
  item.record = std::move(step.record);
  item.bytes = std::move(entry.bytes);
  item.intents = std::move(notes.intents);
  batch.items.push_back(std::move(item));
  return {};
}

Status Projection::flush(Batch& batch) {
  if (store_->pending_bytes() == 0 && batch.items.empty()) return {};
  if (auto written = store_->flush(log_.place()); !written) return written;
  progressed_ = true;
  publish(batch);
  batch.items.clear();
  return {};
}

void Projection::publish(const Batch& batch) {
  const StoreHead& head = store_->head();
  {
    std::lock_guard lock(mutex_);
    snapshot_ = store_->snapshot();
    status_.head = head.head;
    status_.digest = head.digest;
    status_.cloud = head.cloud;
    status_.voids = head.voids;
    status_.verified_ms = wall_ms();
  }
  std::vector<Waiters::Outcome> outcomes;
  for (const auto& item : batch.items)
    for (const auto& [intent, index] : item.intents)
      outcomes.push_back({intent, item.record.seq, index, item.record.at_ms, &item.record.decisions[index]});
  const Cloud* cloud = checked_ ? state_.cloud.find({}) : nullptr;
  waiters_->publish(outcomes, head.head, head.next_offset, cloud ? cloud->sealed_place : std::string());
  call_watchers(batch);
}

void Projection::call_watchers(const Batch& batch) {
  std::vector<std::shared_ptr<Watcher>> watchers;
  {
    std::lock_guard lock(watch_mutex_);
    for (const auto& [id, watcher] : watchers_) watchers.push_back(watcher);
  }
  for (const auto& item : batch.items) {
    if (item.head.seq <= watched_) continue;  // the log is folded anew: they had it
    watched_ = item.head.seq;
    const Folded folded{item.record, item.head, item.bytes, item.touched};
    for (const auto& watcher : watchers) {
      std::lock_guard lock(watcher->mutex);
      if (watcher->alive && item.head.seq > watcher->after) watcher->callback(folded);
    }
  }
}

// What was folded and is not stored is folded again.
Status Projection::step_back() {
  store_->discard();
  if (!unusable_.empty() || state_head_ == store_->head().head) return {};
  auto stored = load_state(View::now(store_->snapshot()), true);
  std::unique_lock lock(state_mutex_);
  state_ = stored ? std::move(*stored) : State(true);
  state_head_ = stored ? store_->head().head : Head{};
  return stored ? Status() : Status(stored.error());
}

// Folds the log anew from its first record. Not again before it has come to the log's end: then it is not the
// store that is wrong.
Status Projection::rebuild(const std::string& why) {
  const bool again = std::exchange(folding_anew_, true);
  if (again) {
    (void)step_back();  // what was folded last is not proved
    store_->condemn(why);
    return {Errc::broken,
            fmt::format("{}; the log was folded anew before, because {}; it is so again when this is started again",
                        why, status().rebuilt_because)};
  }
  {
    std::lock_guard lock(mutex_);
    status_.rebuilt_because = why;
    status_.rebuilding = true;
    status_.caught_up = false;
  }
  if (auto wiped = store_->wipe(); !wiped) {
    store_->condemn(why);
    return {Errc::broken, fmt::format("{}; it is folded anew when this is started again", why)};
  }
  unusable_.clear();
  {
    std::unique_lock lock(state_mutex_);
    state_ = State(true);
    state_head_ = {};
  }
  publish({});
  return {};
}

void Projection::fail(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    status_.broken = error.text;
  }
  waiters_->fail(error);
}

void Projection::ask_end() {
  if (!checked_ || !waiters_->ask()) return;  // the stored head is not proved to be in the log yet
  log_.end(Topic::events, [waiters = std::weak_ptr(waiters_), bell = bell_](Result<std::int64_t> end) {
    if (const auto alive = waiters.lock(); alive && alive->ended(end)) bell->ring();
  });
}

Head Projection::head() const {
  std::lock_guard lock(mutex_);
  return status_.head;
}
Hash Projection::digest() const {
  std::lock_guard lock(mutex_);
  return status_.digest;
}
CloudId Projection::cloud() const {
  std::lock_guard lock(mutex_);
  return status_.cloud;
}
std::shared_ptr<const StoreSnapshot> Projection::snapshot() const {
  std::lock_guard lock(mutex_);
  return snapshot_;
}
View Projection::view() const { return View::now(snapshot()); }
Result<View> Projection::view_at(Seq seq) const {
  std::shared_ptr<const StoreSnapshot> snapshot;
  {
    std::lock_guard lock(mutex_);
    snapshot = snapshot_;
  }
  return View::at(std::move(snapshot), seq);
}

ProjectionStatus Projection::status() const {
  std::unique_lock lock(mutex_);
  ProjectionStatus status = status_;
  lock.unlock();
  status.next_offset = waiters_->next_offset();
  status.known_end = waiters_->known_end();
  status.lag = std::max<std::int64_t>(0, status.known_end - status.next_offset);
  status.caught_up = status.caught_up || (status.known_end > 0 && status.lag == 0);
  status.rebuilding = status.rebuilding && !status.caught_up;
  return status;
}

State Projection::copy_state(Head& head) const {
  std::shared_lock lock(state_mutex_);
  head = state_head_;
  return state_.copy(false, true);
}

Waiters::Id Projection::wait_decided(IntentId intent, std::int64_t expires_ms, DecidedCallback callback) {
  const auto id = waiters_->add_decided(intent, expires_ms, std::move(callback));
  if (!id) return 0;
  const auto known = with_state([&](const State& state, const Head&) {
    const auto* row = state.decided.find(intent);
    return row ? *row : Decided{};
  });
  if (known.seq == 0 || known.seq > head().seq) return id;  // not yet, or about to be told
  auto taken = waiters_->take_decided(id);
  if (!taken) return 0;
  const auto records = read_records(known.seq, 1);
  auto record = records ? decode_record((*records)[0].bytes) : Result<Record>(records.error());
  if (record && known.decision < record->decisions.size())
    (*taken)(DecidedAnswer{known.seq, known.decision, record->at_ms,
                           std::move(record->decisions[known.decision])});
  else
    (*taken)(record ? Error{Errc::broken, fmt::format("seq {} has no decision {}", known.seq, known.decision)}
                    : record.error());
  return 0;
}

Waiters::Id Projection::wait_passed(std::int64_t offset, PassedCallback callback) {
  return waiters_->add_passed(offset, std::move(callback));
}

Waiters::Id Projection::fresh(PassedCallback callback) {
  if (const auto end = checked_ ? log_.end_here(Topic::events) : std::nullopt) {
    waiters_->know_end(*end);
    return waiters_->add_passed(*end, std::move(callback), true);
  }
  const auto id = waiters_->add_fresh(std::move(callback));
  if (id) ask_end();
  return id;
}

Projection::WatchId Projection::watch(std::function<void(const Folded&)> callback) {
  auto watcher = std::make_shared<Watcher>();
  watcher->callback = std::move(callback);
  std::lock_guard lock(watch_mutex_);
  watcher->after = head().seq;  // a batch published later finds it in the list
  watchers_.emplace(++last_watch_, std::move(watcher));
  return last_watch_;
}

void Projection::unwatch(WatchId id) {
  std::shared_ptr<Watcher> watcher;
  {
    std::lock_guard lock(watch_mutex_);
    const auto at = watchers_.find(id);
    if (at == watchers_.end()) return;
    watcher = at->second;
    watchers_.erase(at);
  }
  std::lock_guard lock(watcher->mutex);
  watcher->alive = false;
}

Result<std::vector<StoredRecord>> Projection::read_records(Seq from, std::size_t max) const {
  const View view = this->view();
  std::vector<StoredRecord> records;
  for (Seq seq = std::max<Seq>(from, 1); seq <= view.seq() && records.size() < max; ++seq) {
    auto bytes = view.tail(seq);
    const auto line = view.line_of(seq);
    if (!view.status()) return view.status().error();
    if (!bytes && !records.empty()) break;
    if (!bytes) return read_from_log(view, seq, max);
    records.push_back({seq, line->hash, line->offset, std::move(*bytes)});
  }
  return records;
}

Result<std::vector<StoredRecord>> Projection::read_from_log(const View& view, Seq from,
                                                            std::size_t max) const {
  const auto first = view.line_of(from);
  if (!first) return view.status().error();
  auto entries = fetch(log_, Topic::events, first->offset, max, log_patience);
  if (!entries) return entries.error();
  std::vector<StoredRecord> records;
  Seq seq = from;
  for (auto& entry : *entries) {
    const auto line = view.line_of(seq);
    if (!line) break;
    if (entry.offset < line->offset) continue;  // void
    Hash hash;
    const auto record = decode_record(entry.bytes, &hash);
    if (entry.offset != line->offset || !record || hash != line->hash)
      return Error{Errc::broken, fmt::format("at offset {} of the log at {} stood seq {}; now it differs",
                                             line->offset, log_.place(), seq)};
    records.push_back({seq++, hash, entry.offset, std::move(entry.bytes)});
  }
  return records;
}

}  // namespace reprise
