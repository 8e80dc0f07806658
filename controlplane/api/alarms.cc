#include "controlplane/api/alarms.h"

namespace reprise::api {

Alarms::Alarms() : thread_([this] { run(); }) {}

void Alarms::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Alarms::Id Alarms::after(std::chrono::milliseconds time, std::function<void()> call) {
  std::lock_guard lock(mutex_);
  const auto at = Clock::now() + time;
  const bool first = due_.empty() || at < due_.begin()->first.first;
  due_.emplace(std::pair{at, ++last_}, std::move(call));
  times_.emplace(last_, at);
  if (first) changed_.notify_all();
  return last_;
}

bool Alarms::cancel(Id id) {
  std::function<void()> dropped;  // its captures end without the lock
  std::lock_guard lock(mutex_);
  const auto time = times_.find(id);
  if (time == times_.end()) return false;
  const auto at = due_.find({time->second, id});
  dropped = std::move(at->second);
  due_.erase(at);
  times_.erase(time);
  return true;
}

void Alarms::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (due_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto next = due_.begin();
    if (const auto at = next->first.first; Clock::now() < at) {
      changed_.wait_until(lock, at);
      continue;
    }
    auto call = std::move(next->second);
    times_.erase(next->first.second);
    due_.erase(next);
    lock.unlock();
    call();
    call = nullptr;
    lock.lock();
  }
}

}  // namespace reprise::api
