// Calls that may never come back (libvirt's cannot be cancelled): each on a thread of its own, which is
// left behind at the deadline and ends when its call does.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace reprise::compute {

// As many may be left behind; from then on nothing is called any more until some of them have ended.
inline constexpr int left_behind_at_most = 64;
inline std::atomic<int> calls_left_behind{0};

// Nothing: `call` has not come back. It must own what it uses: it may outlive whoever asked.
template <class T>
std::optional<T> within(std::chrono::milliseconds patience, std::function<T()> call) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable done;
    std::optional<T> answer;
    bool left = false;
  };
  if (calls_left_behind >= left_behind_at_most) return std::nullopt;
  auto shared = std::make_shared<Shared>();
  std::thread([shared, call = std::move(call)]() mutable {
    auto answer = call();
    call = nullptr;
    const std::lock_guard lock(shared->mutex);
    if (shared->left) --calls_left_behind;
    shared->answer = std::move(answer);
    shared->done.notify_all();
  }).detach();
  std::unique_lock lock(shared->mutex);
  if (!shared->done.wait_for(lock, patience, [&] { return shared->answer.has_value(); })) {
    shared->left = true;
    ++calls_left_behind;
    return std::nullopt;
  }
  return std::move(shared->answer);
}

}  // namespace reprise::compute
