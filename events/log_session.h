// What the implementations of the log share about calling back: whoever is called may go away at any moment,
// and none of its functions may run after that.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "events/log.h"

namespace reprise {

// A `wake` of someone else's, called from our threads until they drop it.
class Callback {
 public:
  explicit Callback(std::function<void()> call) : call_(std::move(call)) {}

  void operator()() {
    const std::lock_guard lock(mutex_);
    if (call_) call_();
  }
  // None runs any more when this returns, and none will.
  void drop() {
    std::function<void()> gone;  // destroyed without the lock
    const std::lock_guard lock(mutex_);
    std::swap(gone, call_);
  }

 private:
  std::mutex mutex_;
  std::function<void()> call_;
};

// The appends of one producer that are not answered yet. Each is answered once, by whoever comes first.
class OpenAppends {
 public:
  std::uint64_t add(Producer::Done done) {
    const std::lock_guard lock(mutex_);
    open_.emplace(++last_, std::move(done));
    return last_;
  }
  void answer(std::uint64_t number, Result<std::int64_t> result) {
    Producer::Done done;  // destroyed without the lock
    const std::lock_guard lock(mutex_);
    const auto at = open_.find(number);
    if (at == open_.end()) return;  // abandoned
    done = std::move(at->second);
    open_.erase(at);
    done(std::move(result));
  }
  // The producer goes: all that are open end now, and none is answered later.
  void abandon() {
    std::map<std::uint64_t, Producer::Done> open;
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    std::swap(open, open_);
    for (auto& [number, done] : open) {
      done(Error{Errc::timed_out, "the producer was closed; this entry may or may not be in the log"});
    }
  }
  bool abandoned() const { return abandoned_; }

 private:
  std::mutex mutex_;
  std::map<std::uint64_t, Producer::Done> open_;  // in the order of the appends
  std::uint64_t last_ = 0;
  std::atomic<bool> abandoned_ = false;
};

}  // namespace reprise
