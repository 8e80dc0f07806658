// One topic of the embedded log as its readers see it: where it begins and ends, its last entries in memory,
// and who waits for more. Every function may be called from any thread.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "events/embedded_store.h"
#include "events/log_session.h"

namespace reprise {

class EmbeddedTail {
 public:
  using Shared = std::shared_ptr<const Bytes>;

  explicit EmbeddedTail(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  void reset(EmbeddedStore::Bounds bounds) {
    const std::lock_guard lock(mutex_);
    bounds_ = bounds;
    entries_.clear();
    bytes_ = 0;
  }
  EmbeddedStore::Bounds bounds() const {
    const std::lock_guard lock(mutex_);
    return bounds_;
  }
  void set_begin(std::int64_t begin) {
    const std::lock_guard lock(mutex_);
    bounds_.begin = begin;
  }
  void publish(std::int64_t offset, Shared bytes) {
    const std::lock_guard lock(mutex_);
    CHECK(offset == bounds_.end);
    bounds_.end = offset + 1;
    bytes_ += bytes->size();
    entries_.push_back(std::move(bytes));
    while (bytes_ > bytes_max_) {
      bytes_ -= entries_.front()->size();
      entries_.pop_front();
    }
  }
  // The entries from `from` on, if they are here; the caller copies them without our lock.
  std::vector<Shared> hot(std::int64_t from, std::size_t entries_max) const {
    const std::lock_guard lock(mutex_);
    const auto first = bounds_.end - static_cast<std::int64_t>(entries_.size());
    if (from < first || from >= bounds_.end) return {};
    const auto at = entries_.begin() + static_cast<std::ptrdiff_t>(from - first);
    const auto count =
        std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(entries_max), entries_.end() - at);
    return {at, at + count};
  }
  // To be woken at the next publish. False: `position` is not the end, look again.
  bool wait(std::int64_t position, const std::shared_ptr<Callback>& wake) {
    const std::lock_guard lock(mutex_);
    if (position != bounds_.end) return false;
    if (std::find(waiting_.begin(), waiting_.end(), wake) == waiting_.end()) waiting_.push_back(wake);
    return true;
  }
  std::vector<std::shared_ptr<Callback>> take_waiting() {
    const std::lock_guard lock(mutex_);
    return std::exchange(waiting_, {});
  }

 private:
  const std::size_t bytes_max_;
  mutable std::mutex mutex_;
  EmbeddedStore::Bounds bounds_;
  std::deque<Shared> entries_;  // the last ones, without a gap, up to the end
  std::size_t bytes_ = 0;
  std::vector<std::shared_ptr<Callback>> waiting_;
};

}  // namespace reprise
