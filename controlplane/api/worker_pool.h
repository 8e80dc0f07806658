// Threads for what must not run on an I/O thread: argon2id, key generation, writing an upload to disk.
//
// Promises: work begins in the order given; when `queue_max` pieces wait already, post() says no and does
// nothing, so that a flood is answered with 503 rather than with memory. Destruction finishes what runs and
// drops what waits.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace reprise::api {

class WorkerPool {
 public:
  WorkerPool(int threads, std::size_t queue_max);
  WorkerPool(const WorkerPool&) = delete;
  ~WorkerPool() { stop(); }
  // From then on post() says no, and nothing runs any more.
  void stop();

  // False: the queue is full, `work` was not taken.
  [[nodiscard]] bool post(std::function<void()> work);

 private:
  void run();

  const std::size_t queue_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace reprise::api
