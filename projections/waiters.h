// Who waits for what in a projection: an intent's decision, an offset, the log's end as asked now.
// Threads: any. Callbacks are called with no lock held, each exactly once unless it was cancelled; they
// must not block (a post to the waiting thread's queue is what they are for).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "events/chain.h"
#include "events/codec.h"
#include "events/result.h"

namespace reprise {

struct DecidedAnswer {
  Seq seq = 0;              // of the record
  std::uint32_t index = 0;  // of the decision in it
  std::int64_t at_ms = 0;   // log time of the record
  Decision decision;
};

// not_found: log time passed the intent's expiry without a decision, it was not and will not be done.
// conflict: the log was sealed (the words say where the cloud went). broken, again (the process stops).
using DecidedCallback = std::function<void(Result<DecidedAnswer>)>;
// unreachable or timed_out: the log's end could not be asked, what is there is stale; conflict: the log was
// sealed, the present is elsewhere. broken, again.
using PassedCallback = std::function<void(Status)>;

class Waiters {
 public:
  using Id = std::uint64_t;  // 0: none (it was called at once)

  // `expires_ms`: of the intent; 0: never.
  Id add_decided(IntentId intent, std::int64_t expires_ms, DecidedCallback callback);
  // `present`: whoever waits takes what is folded then for the present; on a sealed log it is not (conflict).
  Id add_passed(std::int64_t offset, PassedCallback callback, bool present = false);
  // The log was asked elsewhere.
  void know_end(std::int64_t end);
  Id add_fresh(PassedCallback callback);
  // True: it will not be called any more. False: it was, or is being called.
  bool cancel(Id id);
  bool any_decided() const;
  // Takes a waiter back, to be answered by the caller; none when it is gone already.
  std::optional<DecidedCallback> take_decided(Id id);

  // Those who wait for the end, if no question is under way: the caller asks now, and then calls `ended`.
  bool ask();
  // The answer; true: there are new ones who want to ask again.
  bool ended(const Result<std::int64_t>& end);
  // The log does not answer: who waits for its end is told that what is there is stale.
  void stale(const Error& error);

  // One stored batch: what it decided, the newest head, and what is read up to.
  struct Outcome {
    IntentId intent;
    Seq seq = 0;
    std::uint32_t index = 0;
    std::int64_t at_ms = 0;
    const Decision* decision = nullptr;
  };
  // `sealed_place`: where the cloud went, if the head seals the log and that is known to be the log's.
  void publish(const std::vector<Outcome>& outcomes, const Head& head, std::int64_t next_offset,
               const std::string& sealed_place);
  // Nothing will come any more: all who wait, and all who come, are told why.
  void fail(const Error& error);
  // The offset after the last entry read and stored; the last end that was answered (0: none yet).
  std::int64_t next_offset() const;
  std::int64_t known_end() const;

 private:
  struct DecidedWaiter {
    IntentId intent;
    std::int64_t expires_ms = 0;
    DecidedCallback callback;
  };
  struct PassedWaiter {
    PassedCallback callback;
    bool present = false;
  };
  struct Due;

  mutable std::mutex mutex_;
  Id last_ = 0;
  std::unordered_map<Id, DecidedWaiter> decided_;
  std::unordered_multimap<IntentId, Id> by_intent_;
  std::multimap<std::int64_t, Id> by_expiry_;
  std::unordered_map<Id, PassedWaiter> passed_;
  std::multimap<std::int64_t, Id> by_offset_;
  std::map<Id, PassedCallback> fresh_;  // wait for the next question
  std::map<Id, PassedCallback> asked_;  // wait for the answer to this one
  bool asking_ = false;
  Head head_;
  std::int64_t next_offset_ = 0;
  std::int64_t known_end_ = 0;
  std::optional<Error> failed_;
  std::optional<Error> sealed_;

  Status passed(bool present) const { return present && sealed_ ? Status(*sealed_) : Status(); }
  DecidedCallback remove_decided(std::unordered_map<Id, DecidedWaiter>::iterator at);
};

}  // namespace reprise
