// Log time (design, section 2, rule 6): never decreases along the chain, advances by the controller's
// steady clock, and is slewed to wall time by at most a tenth. It jumps only towards a wall clock that is near, or
// that a second witness bears out (ops/decisions/0026): a wrong one costs nothing that lasts.
#pragma once

#include <algorithm>
#include <cstdint>

namespace reprise {

// The two clocks of one moment. Steady is CLOCK_BOOTTIME, wall is UTC, both in milliseconds.
struct Now {
  std::int64_t steady_ms = 0;
  std::int64_t wall_ms = 0;
};

class LogTime {
 public:
  // A new leader starts at the head's time, or at its own wall clock if that is later and believed.
  void start(Now now, std::int64_t head_at_ms, bool believed) {
    at_ms_ = believed ? std::max(head_at_ms, now.wall_ms) : head_at_ms;
    steady_ms_ = now.steady_ms;
  }
  // How far the wall clock is ahead.
  std::int64_t behind_ms(Now now) { return now.wall_ms - at(now); }
  std::int64_t at(Now now) {
    const std::int64_t passed = std::max<std::int64_t>(0, now.steady_ms - steady_ms_);
    const std::int64_t off = now.wall_ms - (at_ms_ + passed);
    at_ms_ += passed + std::clamp(off, -passed / 10, passed / 10);
    steady_ms_ += passed;
    return at_ms_;
  }

 private:
  std::int64_t at_ms_ = 0;
  std::int64_t steady_ms_ = 0;
};

}  // namespace reprise
