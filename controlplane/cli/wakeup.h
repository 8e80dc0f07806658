// A thread's bell and alarm clock in one: wait() returns when somebody rang, or when the time has come.
// The clock is CLOCK_BOOTTIME, which goes on while the machine sleeps: a lease is not longer for that.
#pragma once

#include <cstdint>

namespace reprise::cli {

std::int64_t steady_now_ms();  // CLOCK_BOOTTIME
std::int64_t wall_now_ms();    // UTC

class Wakeup {
 public:
  Wakeup();
  Wakeup(const Wakeup&) = delete;
  ~Wakeup();

  void ring();  // from any thread, and from a signal handler
  void wait(std::int64_t until_steady_ms);

 private:
  int bell_;
  int timer_;
};

}  // namespace reprise::cli
