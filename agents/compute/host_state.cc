#include "agents/compute/host_state.h"

#include <unistd.h>
#include <utmpx.h>

#include "agents/core/child_process.h"

namespace reprise::compute {
namespace {

constexpr std::chrono::seconds answer_holds{1};
constexpr std::chrono::seconds systemctl_deadline{2};

bool systemd_is_stopping() {
  if (access("/run/systemd/system", F_OK) != 0) return false;
  const auto end = run_child({"systemctl", "is-system-running"}, systemctl_deadline);
  return end && end->out.starts_with("stopping");
}

// The record's pid holds the runlevel's letter.
bool runlevel_is_down() {
  bool down = false;
  utmpx wanted{};
  wanted.ut_type = RUN_LVL;
  setutxent();
  if (const auto* record = getutxid(&wanted)) {
    const auto level = static_cast<char>(record->ut_pid % 256);
    down = level == '0' || level == '6';
  }
  endutxent();
  return down;
}

}  // namespace

bool host_is_going_down() { return systemd_is_stopping() || runlevel_is_down(); }

bool HostState::going_down() {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (!going_down_ && (!asked_ || now - *asked_ >= answer_holds)) {
    going_down_ = ask_();
    asked_ = now;
  }
  return going_down_;
}

}  // namespace reprise::compute
