// The one thread on which all of libopenvswitch runs: it is not thread-safe, so database, OpenFlow and
// poll loop live here, and others post calls.
//
// Promises: call() runs the work on the thread and returns its result; works run one at a time, in order.
// A work may wait with run_until(), during which the parts go on but no other work runs. The library's
// handlers for TERM, INT, HUP and ALRM are kept out: the process's own stay in place.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace reprise::network {

using Clock = std::chrono::steady_clock;

class OvsLoop {
 public:
  // What lives on the loop: run() does what there is to do, wait() names what to wake up for.
  class Part {
   public:
    virtual ~Part() = default;
    virtual void run() = 0;
    virtual void wait() = 0;
  };

  OvsLoop();
  ~OvsLoop();
  OvsLoop(const OvsLoop&) = delete;
  OvsLoop& operator=(const OvsLoop&) = delete;

  template <class Work>
  auto call(Work work) -> std::invoke_result_t<Work> {
    std::packaged_task<std::invoke_result_t<Work>()> task(std::move(work));
    auto result = task.get_future();
    post([&task] { task(); });
    return result.get();
  }

  // The rest only on the thread.
  void attach(Part* part);
  void detach(Part* part);
  bool run_until(const std::function<bool()>& done, Clock::time_point deadline);

 private:
  void post(std::function<void()> work);
  void run();
  void run_parts();
  void wait_parts();

  int wake_ = -1;
  std::mutex mutex_;
  std::deque<std::function<void()>> works_;
  bool ending_ = false;
  std::vector<Part*> parts_;
  std::thread thread_;
};

// Names that appear in a folder (sockets of daemons that come back), told without asking again and again.
class Appearances {
 public:
  Appearances(std::string folder, std::string name);
  ~Appearances();
  // Since the last call. True as well when the folder cannot be watched yet and a second has passed.
  bool happened();
  void wait();

 private:
  void watch();
  std::string folder_, name_;
  int inotify_ = -1;
  bool watching_ = false;
  Clock::time_point again_at_{};
};

}  // namespace reprise::network
