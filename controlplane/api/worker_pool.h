// Threads for what must not run on an I/O thread: what waits for the log and then answers, argon2id, key generation, reads of
// the past, writing an upload to disk.
//
// Promises:
// - Two lanes. What is posted begins in the order given, and one thread is always there for it (where there are two). What is
//   posted slow takes the others, each share in turn, and none of them more than half of those threads: a project that keeps
//   the disk or a core busy holds up neither decided answers nor another project.
// - When `queue_max` pieces wait already (of one share an eighth of that), a post says no and does nothing, so that a flood is
//   answered with 503 rather than with memory.
// - Destruction finishes what runs and drops what waits.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
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
  // What takes a disk or a core for longer. `share`: on whose behalf, a project's id or the like.
  [[nodiscard]] bool post_slow(const std::string& share, std::function<void()> work);

 private:
  using Work = std::function<void()>;
  struct Share {
    std::deque<Work> waiting;
    std::size_t running = 0;
  };

  void run();
  // Under the lock: the share whose turn it is, at the front of turns_; nothing: none may go on.
  bool next_share();

  const std::size_t queue_max_, share_queue_max_, slow_max_, share_running_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;
  std::map<std::string, Share> shares_;
  std::deque<std::string> turns_;  // of shares where something waits
  std::size_t slow_waiting_ = 0, slow_running_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace reprise::api
