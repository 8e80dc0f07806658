// Log time (design, section 2, rule 6): never decreases along the chain, advances by the controller's
// steady clock, and is slewed to wall time by at most a tenth.
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
  // A new leader starts at the later of the head's time and its own wall clock.
  void start(Now now, std::int64_t head_at_ms) {
    at_ms_ = std::max(head_at_ms, now.wall_ms);
    steady_ms_ = now.steady_ms;
  }
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
