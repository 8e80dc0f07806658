// Counts a driver's wakes, so that a test can wait for the next one instead of asking again and again.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace reprise {

class Wakes {
 public:
  using Clock = std::chrono::steady_clock;

  void wake() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  int count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  // False when the deadline passed without a wake later than `seen`.
  bool wait(int seen, Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, deadline, [&] { return count_ > seen; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

}  // namespace reprise
