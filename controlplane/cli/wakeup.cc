#include "controlplane/cli/wakeup.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "events/check.h"

namespace reprise::cli {
namespace {

std::int64_t read_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

std::int64_t steady_now_ms() { return read_clock(CLOCK_BOOTTIME); }
std::int64_t wall_now_ms() { return read_clock(CLOCK_REALTIME); }

Wakeup::Wakeup()
    : bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      timer_(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)) {
  CHECK(bell_ >= 0 && timer_ >= 0);
}

Wakeup::~Wakeup() {
  ::close(bell_);
  ::close(timer_);
}

void Wakeup::ring() {
  const std::uint64_t one = 1;
  (void)!::write(bell_, &one, sizeof one);  // full: it rings already
}

void Wakeup::wait(std::int64_t until_steady_ms) {
  const std::int64_t until = std::max<std::int64_t>(until_steady_ms, 1);
  itimerspec at{};
  at.it_value = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1'000'000};
  CHECK(::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &at, nullptr) == 0);
  pollfd either[] = {{.fd = bell_, .events = POLLIN, .revents = 0},
                     {.fd = timer_, .events = POLLIN, .revents = 0}};
  (void)::poll(either, 2, -1);  // interrupted: an early return is well
  std::uint64_t count = 0;
  (void)!::read(bell_, &count, sizeof count);
}

}  // namespace reprise::cli
