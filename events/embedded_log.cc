#include "events/embedded_log.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <shared_mutex>
#include <thread>

#include "events/embedded_tail.h"

namespace reprise {
namespace {

constexpr std::size_t group_bytes_max = 8 * 1024 * 1024;
constexpr std::size_t poll_bytes_max = 4 * 1024 * 1024;

std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct Session {
  explicit Session(std::uint64_t epoch) : epoch(epoch) {}
  const std::uint64_t epoch;  // of the log when it was opened: a failed write begins a new one
  OpenAppends open;
};

struct Pending {
  std::shared_ptr<Session> session;
  std::uint64_t number = 0;
  Topic topic = Topic::intents;
  EmbeddedTail::Shared bytes;
  std::int64_t offset = -1;  // where it went, when it did
  Error refusal;
};

// Whoever stood first is elected: the folder's lock keeps other processes away.
class Candidates {
 public:
  void add(const std::shared_ptr<Callback>& wake) {
    const std::lock_guard lock(mutex_);
    standing_.push_back(wake);
  }
  bool elected(const std::shared_ptr<Callback>& wake) const {
    const std::lock_guard lock(mutex_);
    return standing_.front() == wake;
  }
  void remove(const std::shared_ptr<Callback>& wake) {
    std::shared_ptr<Callback> next;
    {
      const std::lock_guard lock(mutex_);
      const bool was = standing_.front() == wake;
      std::erase(standing_, wake);
      if (was && !standing_.empty()) next = standing_.front();
    }
    if (next) (*next)();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Callback>> standing_;
};

// All that is shared: the store, the tails, and the one thread that writes.
class Core {
 public:
  Core(std::string dir, EmbeddedLogOptions options, std::unique_ptr<EmbeddedStore> store, bool read_only);
  ~Core();

  Result<std::shared_ptr<Session>> open_session();
  void append(const std::shared_ptr<Session>& session, Topic topic, Bytes bytes, Producer::Done done);
  Result<std::vector<Entry>> poll(Topic topic, std::int64_t& position, std::size_t entries_max,
                                  const std::shared_ptr<Callback>& wake);
  EmbeddedStore::Bounds bounds(Topic topic) const { return tails_[index_of(topic)].bounds(); }
  bool read_only() const { return read_only_; }
  std::string place() const { return "embedded:" + dir_; }
  Candidates& candidates() { return candidates_; }

 private:
  void run();
  std::vector<Pending> take_group();
  Status write(std::vector<Pending>& group);
  void commit(std::vector<Pending>& group);
  void fail(const Error& error, std::vector<Pending>& group);
  Status reopen();
  Status adopt(std::unique_ptr<EmbeddedStore> store);
  void sweep();
  void sweep(Topic topic, std::int64_t now_ms);
  Result<std::vector<Entry>> cold(Topic topic, std::int64_t from, std::int64_t to, std::size_t entries_max);
  Error not_there(Topic topic, std::int64_t position, EmbeddedStore::Bounds bounds) const;

  const std::string dir_;
  const EmbeddedLogOptions options_;
  const bool read_only_;
  std::deque<EmbeddedTail> tails_;  // by topic
  Candidates candidates_;

  // Shared by those who use the store; held alone while it is replaced.
  std::shared_mutex store_mutex_;
  std::unique_ptr<EmbeddedStore> store_;  // null: it could not even be read again
  std::optional<Error> down_;             // why nothing can be appended now
  std::atomic<std::uint64_t> epoch_ = 0;

  std::mutex queue_mutex_;
  std::condition_variable queue_filled_;
  std::deque<Pending> queue_;
  bool stopping_ = false;
  std::int64_t swept_ms_ = 0;  // the writer's
  std::thread writer_;
};

Core::Core(std::string dir, EmbeddedLogOptions options, std::unique_ptr<EmbeddedStore> store, bool read_only)
    : dir_(std::move(dir)), options_(std::move(options)), read_only_(read_only), store_(std::move(store)) {
  for (const Topic topic : all_topics)
    tails_.emplace_back(options_.tail_bytes_max).reset(store_->bounds(topic));
  if (read_only_) {
    down_ = Error{Errc::unsupported, fmt::format("the log in {} is open for reading only", dir_)};
  } else {
    writer_ = std::thread([this] { run(); });
  }
}

Core::~Core() {
  if (!writer_.joinable()) return;
  {
    const std::lock_guard lock(queue_mutex_);
    stopping_ = true;
  }
  queue_filled_.notify_one();
  writer_.join();
}

Result<std::shared_ptr<Session>> Core::open_session() {
  if (read_only_) return *down_;
  const std::unique_lock lock(store_mutex_);
  if (down_) (void)reopen();
  if (down_) return *down_;
  return std::make_shared<Session>(epoch_);
}

void Core::append(const std::shared_ptr<Session>& session, Topic topic, Bytes bytes, Producer::Done done) {
  const auto number = session->open.add(std::move(done));
  {
    const std::lock_guard lock(queue_mutex_);
    queue_.push_back({session, number, topic, std::make_shared<const Bytes>(std::move(bytes)), -1, {}});
  }
  queue_filled_.notify_one();
}

void Core::run() {
  for (;;) {
    auto group = take_group();
    if (group.empty()) return;
    commit(group);
    sweep();
  }
}

// All that has queued up while the last group was written. Empty: the log is closed.
std::vector<Pending> Core::take_group() {
  std::unique_lock lock(queue_mutex_);
  queue_filled_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
  std::vector<Pending> group;
  if (stopping_) return group;
  std::size_t bytes = 0;
  while (!queue_.empty() && bytes < group_bytes_max) {
    bytes += queue_.front().bytes->size();
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return group;
}

// Gives offsets to what may go into the log, and writes it.
Status Core::write(std::vector<Pending>& group) {
  std::vector<EmbeddedStore::Item> items;
  std::array<std::int64_t, topic_count> next{};
  for (const Topic topic : all_topics) next[index_of(topic)] = bounds(topic).end;
  bool sync = false;
  for (auto& pending : group) {
    const auto limit = topic_rules(pending.topic).entry_bytes_max;
    if (pending.session->open.abandoned()) continue;
    if (pending.session->epoch != epoch_) {
      pending.refusal = {Errc::session_broken,
                         "not written: an earlier append to this log failed; open a new producer"};
    } else if (pending.bytes->size() > limit) {
      pending.refusal = {Errc::invalid, fmt::format("an entry of {} has {} bytes, {} at most; split it",
                                                    topic_name(pending.topic), pending.bytes->size(), limit)};
    } else {
      pending.offset = next[index_of(pending.topic)]++;
      items.push_back({pending.topic, pending.offset, *pending.bytes});
      sync |= pending.topic != Topic::heartbeats;
    }
  }
  if (items.empty()) return {};
  const std::shared_lock lock(store_mutex_);
  return store_->write(items, options_.now_ms(), sync);
}

void Core::commit(std::vector<Pending>& group) {
  if (const auto written = write(group); !written) return fail(written.error(), group);
  for (const auto& pending : group) {
    if (pending.offset >= 0) tails_[index_of(pending.topic)].publish(pending.offset, pending.bytes);
  }
  for (auto& pending : group) {
    if (pending.offset >= 0) pending.session->open.answer(pending.number, pending.offset);
    if (pending.refusal.code != Errc::ok)
      pending.session->open.answer(pending.number, std::move(pending.refusal));
  }
  for (auto& tail : tails_) {
    for (const auto& wake : tail.take_waiting()) (*wake)();
  }
}

// Nobody knows how much of the group is on disk. Every session ends, so that nothing follows it out of order,
// and the folder is read again: what is there then counts.
void Core::fail(const Error& error, std::vector<Pending>& group) {
  {
    const std::unique_lock lock(store_mutex_);
    ++epoch_;
    (void)reopen();
  }
  for (auto& pending : group) {
    if (pending.offset >= 0) pending.session->open.answer(pending.number, error);
    if (pending.refusal.code != Errc::ok)
      pending.session->open.answer(pending.number, std::move(pending.refusal));
  }
  for (auto& tail : tails_) {
    for (const auto& wake : tail.take_waiting()) (*wake)();
  }
}

// Held alone: store_mutex_.
Status Core::reopen() {
  store_.reset();
  auto opened = EmbeddedStore::open(dir_, EmbeddedStore::Mode::write, options_);
  Status result = opened ? adopt(*std::move(opened)) : Status(opened.error());
  down_.reset();
  if (result) return result;
  down_ = result.error();
  if (!store_) {
    auto readable = EmbeddedStore::open(dir_, EmbeddedStore::Mode::read_only, options_);
    if (readable) store_ = *std::move(readable);
  }
  return result;
}

// Nothing that a reader saw may be missing; what is there beyond that (it was written, and not answered) is
// shown now.
Status Core::adopt(std::unique_ptr<EmbeddedStore> store) {
  store_ = std::move(store);
  for (const Topic topic : all_topics) {
    const auto found = store_->bounds(topic), known = bounds(topic);
    if (found.end < known.end) {
      return {
          Errc::broken,
          fmt::format("the log in {}: {} ends at offset {} after a failed write, but {} was on disk before; "
                      "the disk loses what it was told to keep: restore the folder from a copy",
                      dir_, topic_name(topic), found.end, known.end)};
    }
  }
  for (const Topic topic : all_topics) {
    if (store_->bounds(topic) != bounds(topic)) tails_[index_of(topic)].reset(store_->bounds(topic));
  }
  return {};
}

// What is past its retention goes, now and then, in the footsteps of an append: an idle log does not grow.
// The last entry of a topic always stays: offsets go on from there.
void Core::sweep() {
  const auto now_ms = options_.now_ms();
  if (now_ms - swept_ms_ < options_.sweep_ms && now_ms >= swept_ms_) return;
  swept_ms_ = now_ms;
  const std::shared_lock lock(store_mutex_);
  if (down_) return;
  for (const Topic topic : all_topics) sweep(topic, now_ms);
}

void Core::sweep(Topic topic, std::int64_t now_ms) {
  const auto retention_ms = options_.retention_ms[index_of(topic)];
  const auto known = bounds(topic);
  if (retention_ms < 0 || known.end - known.begin <= 1) return;
  // The first offset that is young enough, or the last one. An unreadable stamp is left for a reader to name.
  auto old = known.begin - 1, kept = known.end - 1;
  while (kept - old > 1) {
    const auto middle = old < known.begin ? known.begin : old + (kept - old) / 2;
    const auto stamp = store_->stamp(topic, middle);
    if (!stamp) return;
    (*stamp + retention_ms < now_ms ? old : kept) = middle;
  }
  if (kept == known.begin) return;
  tails_[index_of(topic)].set_begin(kept);  // first: a reader that finds the entries gone must see why
  (void)store_->forget(topic, kept);  // when it fails, so will the next append, and that one is answered
}

Error Core::not_there(Topic topic, std::int64_t position, EmbeddedStore::Bounds bounds) const {
  return {Errc::not_found, fmt::format("{} has no offset {}: it holds {} up to {} (not included)",
                                       topic_name(topic), position, bounds.begin, bounds.end)};
}

Result<std::vector<Entry>> Core::poll(Topic topic, std::int64_t& position, std::size_t entries_max,
                                      const std::shared_ptr<Callback>& wake) {
  auto& tail = tails_[index_of(topic)];
  for (;;) {
    const auto now = tail.bounds();
    if (position < now.begin || position > now.end) return not_there(topic, position, now);
    if (position < now.end) break;
    if (read_only_ && store_->damage(topic)) {
      return Error{Errc::broken, fmt::format("{} at offset {} cannot be read: {}", topic_name(topic),
                                             position, store_->damage(topic)->text)};
    }
    if (tail.wait(position, wake)) return std::vector<Entry>{};
  }
  std::vector<Entry> entries;
  for (const auto& bytes : tail.hot(position, entries_max)) entries.push_back({position++, *bytes});
  if (!entries.empty()) return entries;
  auto read = cold(topic, position, tail.bounds().end, entries_max);
  if (read) position += static_cast<std::int64_t>(read->size());
  return read;
}

Result<std::vector<Entry>> Core::cold(Topic topic, std::int64_t from, std::int64_t to,
                                      std::size_t entries_max) {
  const std::shared_lock lock(store_mutex_);
  if (!store_) return *down_;
  auto read = store_->read(topic, from, to, entries_max, poll_bytes_max);
  if (read) return read;
  const auto now = bounds(topic);
  return from < now.begin ? not_there(topic, from, now) : read.error();
}

class EmbeddedProducer final : public Producer {
 public:
  EmbeddedProducer(std::shared_ptr<Core> core, std::shared_ptr<Session> session)
      : core_(std::move(core)), session_(std::move(session)) {}
  ~EmbeddedProducer() override { session_->open.abandon(); }
  void append(Topic topic, Bytes bytes, Done done) override {
    core_->append(session_, topic, std::move(bytes), std::move(done));
  }

 private:
  const std::shared_ptr<Core> core_;
  const std::shared_ptr<Session> session_;
};

class EmbeddedReader final : public Reader {
 public:
  EmbeddedReader(std::shared_ptr<Core> core, Topic topic, std::int64_t position, std::function<void()> wake)
      : core_(std::move(core)),
        topic_(topic),
        position_(position),
        wake_(std::make_shared<Callback>(std::move(wake))) {}
  ~EmbeddedReader() override { wake_->drop(); }

  Result<std::vector<Entry>> poll(std::size_t entries_max) override {
    if (position_ == 0) position_ = core_->bounds(topic_).begin;
    return core_->poll(topic_, position_, entries_max, wake_);
  }
  std::int64_t position() const override { return position_; }

 private:
  const std::shared_ptr<Core> core_;
  const Topic topic_;
  std::int64_t position_;
  const std::shared_ptr<Callback> wake_;
};

class EmbeddedCandidacy final : public Candidacy {
 public:
  EmbeddedCandidacy(std::shared_ptr<Core> core, std::function<void()> wake)
      : core_(std::move(core)), wake_(std::make_shared<Callback>(std::move(wake))) {
    if (!core_->read_only()) core_->candidates().add(wake_);
  }
  ~EmbeddedCandidacy() override {
    wake_->drop();
    if (!core_->read_only()) core_->candidates().remove(wake_);
  }
  bool elected() const override { return !core_->read_only() && core_->candidates().elected(wake_); }

 private:
  const std::shared_ptr<Core> core_;
  const std::shared_ptr<Callback> wake_;
};

class EmbeddedLog final : public Log {
 public:
  explicit EmbeddedLog(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  Result<std::unique_ptr<Producer>> open_producer() override {
    auto session = core_->open_session();
    if (!session) return session.error();
    return std::unique_ptr<Producer>(std::make_unique<EmbeddedProducer>(core_, *std::move(session)));
  }
  Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset,
                                              std::function<void()> wake) override {
    if (offset < 0)
      return Error{Errc::invalid,
                   fmt::format("offset {} of {}: offsets begin at 0", offset, topic_name(topic))};
    return std::unique_ptr<Reader>(std::make_unique<EmbeddedReader>(core_, topic, offset, std::move(wake)));
  }
  void end(Topic topic, Answer answer) override { answer(core_->bounds(topic).end); }
  std::optional<std::int64_t> end_here(Topic topic) override { return core_->bounds(topic).end; }
  Result<std::int64_t> begin(Topic topic) override { return core_->bounds(topic).begin; }
  std::unique_ptr<Candidacy> stand(std::function<void()> wake) override {
    return std::make_unique<EmbeddedCandidacy>(core_, std::move(wake));
  }
  std::string place() const override { return core_->place(); }

 private:
  const std::shared_ptr<Core> core_;
};

Result<std::unique_ptr<Log>> open_log(const std::string& dir, EmbeddedLogOptions options,
                                      EmbeddedStore::Mode mode) {
  if (!options.now_ms) options.now_ms = wall_ms;
  auto store = EmbeddedStore::open(dir, mode, options);
  if (!store) return store.error();
  const bool read_only = mode == EmbeddedStore::Mode::read_only;
  options.create = false;  // when it is opened again after a failed write, it must be there
  auto core = std::make_shared<Core>(dir, std::move(options), *std::move(store), read_only);
  return std::unique_ptr<Log>(std::make_unique<EmbeddedLog>(std::move(core)));
}

}  // namespace

Result<std::unique_ptr<Log>> open_embedded_log(const std::string& dir, EmbeddedLogOptions options) {
  return open_log(dir, std::move(options), EmbeddedStore::Mode::write);
}

Result<std::unique_ptr<Log>> open_embedded_log_read_only(const std::string& dir, EmbeddedLogOptions options) {
  return open_log(dir, std::move(options), EmbeddedStore::Mode::read_only);
}

}  // namespace reprise
