// Calls at a time to come: what a deadline is made of. One thread, asleep until the next is due.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace reprise::api {

class Alarms {
 public:
  using Id = std::uint64_t;

  Alarms();
  Alarms(const Alarms&) = delete;
  ~Alarms() { stop(); }
  // What is not yet due is dropped; nothing is called after it returns.
  void stop();

  // `call` must not block; it comes on the alarms' own thread.
  Id after(std::chrono::milliseconds time, std::function<void()> call);
  // True: it will not be called.
  bool cancel(Id id);

 private:
  using Clock = std::chrono::steady_clock;
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<Clock::time_point, Id>, std::function<void()>> due_;
  std::map<Id, Clock::time_point> times_;
  Id last_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace reprise::api
