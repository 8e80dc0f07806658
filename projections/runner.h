// The projection: follows the events topic, folds it, stores it, and tells those who wait.
//
// One thread: log -> decode -> judge -> fold -> digest compared -> store -> head published -> waiters and
// watchers called. Woken by the log, never polling. It goes on from its stored head after any crash, and
// stops loudly, for good, at the first entry that is broken: status() says where and why. A digest that
// differs, a stored state that does not hash to its head, or damage that a reader meets, makes it fold the log
// anew; if that does not come to the log's end, it stops.
// Threads: every method may be called from any thread; callbacks must not block.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "events/log.h"
#include "projections/replay.h"
#include "projections/store.h"
#include "projections/view.h"
#include "projections/waiters.h"

namespace reprise {

struct ProjectionOptions {
  StoreOptions store;
  CloudId cloud;                                 // that it must be; none: any
  std::string checkpoints;                       // where a store that is not there yet begins from; empty: nowhere
  std::chrono::milliseconds end_patience{5000};  // how long a log may end before the stored head
  std::chrono::milliseconds retry{100};  // first pause after an unreachable log; doubles up to 20 times it
};

// One record that was folded and stored, as watchers see it.
struct Folded {
  const Record& record;
  const Head& head;               // after it
  const std::string& bytes;       // as they stand in the log
  const State::Touched& touched;  // nodes whose assignment may have changed by it
};

struct StoredRecord {
  Seq seq = 0;
  Hash hash;
  std::int64_t offset = -1;
  Bytes bytes;  // decode_record() reads them
};

struct ProjectionStatus {
  Head head;  // published: stored, and told to waiters
  Hash digest;
  CloudId cloud;
  std::string log_place;
  std::int64_t next_offset = 0;
  std::int64_t known_end = 0;  // of the log, when it was last asked
  std::int64_t lag = 0;        // entries not read yet, as of then
  std::uint64_t voids = 0;
  bool caught_up = false;   // everything that was there was read, at least once
  bool rebuilding = false;  // folding the log anew: the digest or the store differed
  std::string rebuilt_because;
  std::string began;             // from which checkpoint, and which were refused, and why; empty: from none
  std::string trouble;           // the log does not answer: why; it is asked again
  std::string broken;            // why it stopped; empty: it did not
  std::int64_t verified_ms = 0;  // wall time when a record's digest last proved the state
};

class Projection {
 public:
  // Opens the store (or makes it) and loads the state; a damaged one is set aside. A store that followed the log at
  // another place finds its records in this one first. conflict, exists: it is another cloud's; broken: this log does
  // not hold what it read; of a log at another place also what that says itself (unreachable …).
  static Result<std::unique_ptr<Projection>> open(Log& log, ProjectionOptions options);
  ~Projection();  // stop()
  void start();
  // Ends the thread after the batch it is at; who waits is told `again`.
  void stop();

  // What is published: stored and told.
  Head head() const;
  Hash digest() const;
  CloudId cloud() const;
  View view() const;
  std::shared_ptr<const StoreSnapshot> snapshot() const;
  Result<View> view_at(Seq seq) const;
  ProjectionStatus status() const;

  // f(const State&, const Head&) at a record border, at the published head or a little after it. Not
  // for long: folding waits. Of the state's caches (node_columns()) nothing may be used here.
  template <class F>
  auto with_state(F&& f) const {
    std::shared_lock lock(state_mutex_);
    return f(static_cast<const State&>(state_), static_cast<const Head&>(state_head_));
  }
  // A state of its own for the controller, with undo.
  State copy_state(Head& head) const;

  // Answers when the intent's decision is stored; at once when it is already. Register before the
  // intent is appended. The id is for cancel().
  Waiters::Id wait_decided(IntentId intent, std::int64_t expires_ms, DecidedCallback callback);
  // Answers when everything before that offset is folded and stored.
  Waiters::Id wait_passed(std::int64_t offset, PassedCallback callback);
  // Answers when everything is folded and stored that was in the log at some moment after this call.
  // One question serves all who ask while another is under way.
  Waiters::Id fresh(PassedCallback callback);
  bool cancel(Waiters::Id id) { return waiters_->cancel(id); }

  // Each record published from now on, in order, once, on the projection's thread, after the waiters: read
  // head() afterwards, and no record is missed in between. After unwatch() returns it is not called any
  // more (unless it is the callback itself that calls unwatch()).
  using WatchId = std::uint64_t;
  WatchId watch(std::function<void(const Folded&)> callback);
  void unwatch(WatchId id);

  // Records from a seq on, at most `max`, up to the head: from the tail, else from the log, which may
  // take until it answers (at most ten seconds).
  Result<std::vector<StoredRecord>> read_records(Seq from, std::size_t max) const;

 private:
  struct Batch;
  struct Bell;
  struct Watcher;

  Projection(Log& log, ProjectionOptions options, std::unique_ptr<Store> store);
  Status move_in();
  Status load(std::string damage);
  void run();
  Status follow();
  Status check_store() const;
  Status check_start();
  Status take(Entry entry, Batch& batch);
  Status flush(Batch& batch);
  void publish(const Batch& batch);
  void call_watchers(const Batch& batch);
  Status step_back();
  Status rebuild(const std::string& why);
  void fail(const Error& error);
  void ask_end();
  Result<std::vector<StoredRecord>> read_from_log(const View& view, Seq from, std::size_t max) const;

  Log& log_;
  ProjectionOptions options_;
  std::unique_ptr<Store> store_;  // the thread's alone
  std::shared_ptr<Waiters> waiters_ = std::make_shared<Waiters>();
  std::shared_ptr<Bell> bell_;
  std::thread thread_;
  std::atomic<bool> checked_ = false;  // the log was seen to hold the stored head
  bool from_head_ = false;             // the log stepped back: read on from the head, not from next_offset
  bool progressed_ = false;
  bool folding_anew_ = false;          // and not yet at the log's end
  std::string unusable_;               // why what is stored cannot be loaded
  Seq watched_ = 0;  // the newest that watchers were told

  mutable std::shared_mutex state_mutex_;
  State state_;
  Head state_head_;

  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<const StoreSnapshot> snapshot_;
  ProjectionStatus status_;

  std::mutex watch_mutex_;
  std::map<WatchId, std::shared_ptr<Watcher>> watchers_;
  WatchId last_watch_ = 0;
};

}  // namespace reprise
