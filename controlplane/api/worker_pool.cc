#include "controlplane/api/worker_pool.h"

#include <algorithm>

#include "events/check.h"

namespace reprise::api {

WorkerPool::WorkerPool(int threads, std::size_t queue_max)
    : queue_max_(queue_max),
      share_queue_max_(std::max<std::size_t>(1, queue_max / 8)),
      slow_max_(std::max<std::size_t>(1, static_cast<std::size_t>(threads) - 1)),
      share_running_max_((slow_max_ + 1) / 2) {
  CHECK(threads > 0);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

void WorkerPool::stop() {
  std::deque<Work> dropped;  // destroyed outside the lock: they may answer requests
  std::map<std::string, Share> slow_dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
    for (auto& [name, share] : shares_) slow_dropped[name].waiting.swap(share.waiting);
    turns_.clear();
    slow_waiting_ = 0;
  }
  changed_.notify_all();
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
}

bool WorkerPool::post(Work work) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= queue_max_) return false;
    queue_.push_back(std::move(work));
  }
  changed_.notify_one();
  return true;
}

bool WorkerPool::post_slow(const std::string& share, Work work) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = shares_.find(share);
    const std::size_t its_own = found == shares_.end() ? 0 : found->second.waiting.size();
    if (stopping_ || slow_waiting_ >= queue_max_ || its_own >= share_queue_max_) return false;
    if (its_own == 0) turns_.push_back(share);
    shares_[share].waiting.push_back(std::move(work));
    ++slow_waiting_;
  }
  changed_.notify_one();
  return true;
}

bool WorkerPool::next_share() {
  if (slow_running_ >= slow_max_) return false;
  const auto ready = std::find_if(turns_.begin(), turns_.end(), [this](const auto& name) { return shares_[name].running < share_running_max_; });
  if (ready == turns_.end()) return false;
  std::rotate(turns_.begin(), ready, std::next(ready));
  return true;
}

void WorkerPool::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty() || next_share(); });
    if (stopping_) return;
    Work work;
    std::string slow_for;
    const bool slow = queue_.empty();
    if (slow) {
      slow_for = std::move(turns_.front());
      turns_.pop_front();
      Share& share = shares_[slow_for];
      work = std::move(share.waiting.front());
      share.waiting.pop_front();
      ++share.running, ++slow_running_, --slow_waiting_;
      if (!share.waiting.empty()) turns_.push_back(slow_for);
    } else {
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    lock.unlock();
    work();
    work = nullptr;  // what it holds may answer a request: not under the lock
    lock.lock();
    if (!slow) continue;
    --slow_running_;
    if (const auto share = shares_.find(slow_for); --share->second.running == 0 && share->second.waiting.empty()) shares_.erase(share);
    changed_.notify_one();  // whoever waited for this one's end
  }
}

}  // namespace reprise::api
