// Is this host on its way down? A guest that is stopped then did not stop by its own will, and none is
// started any more.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>

namespace reprise::compute {

// Asks systemd where it rules (its manager's state is `stopping`), else utmp for runlevel 0 or 6, as
// sysvinit writes them. A shutdown that is only planned for later does not count.
bool host_is_going_down();

// Remembers an answer of `ask` for a second, and a yes for ever. For any thread.
class HostState {
 public:
  explicit HostState(std::function<bool()> ask) : ask_(std::move(ask)) {}
  bool going_down();

 private:
  std::function<bool()> ask_;
  std::mutex mutex_;
  bool going_down_ = false;
  std::optional<std::chrono::steady_clock::time_point> asked_;
};

}  // namespace reprise::compute
