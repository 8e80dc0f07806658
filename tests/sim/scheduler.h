// Virtual time: who wants something done later says when. One thread; what is due at the same moment runs in
// the order in which it was asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

namespace reprise::sim {

class Scheduler {
 public:
  virtual ~Scheduler() = default;
  virtual std::int64_t now_ms() const = 0;
  // `fn` runs once, from the loop: never from within this call, also when `ms` is now or past.
  virtual void at(std::int64_t ms, std::function<void()> fn) = 0;
};

class EventQueue final : public Scheduler {
 public:
  explicit EventQueue(std::int64_t now_ms = 0) : now_ms_(now_ms) {}

  std::int64_t now_ms() const override { return now_ms_; }
  void at(std::int64_t ms, std::function<void()> fn) override {
    queue_.emplace(std::pair(ms < now_ms_ ? now_ms_ : ms, ++asked_), std::move(fn));
  }
  // Does what is due next; false when nothing is left.
  bool step() {
    if (queue_.empty()) return false;
    auto next = queue_.extract(queue_.begin());
    now_ms_ = next.key().first;
    next.mapped()();
    return true;
  }
  // Does all that is due by then.
  void run_until(std::int64_t ms) {
    while (!queue_.empty() && queue_.begin()->first.first <= ms) step();
    if (now_ms_ < ms) now_ms_ = ms;
  }

 private:
  std::int64_t now_ms_;
  std::uint64_t asked_ = 0;
  std::map<std::pair<std::int64_t, std::uint64_t>, std::function<void()>> queue_;
};

}  // namespace reprise::sim
