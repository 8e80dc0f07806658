#include "controlplane/cli/controller_thread.h"

#include <fmt/format.h>
#include <sodium/randombytes.h>

#include "controlplane/cli/clock_witness.h"

namespace reprise::cli {
namespace {

constexpr std::int64_t projection_patience_ms = 60'000;  // between two looks; it rings
constexpr std::int64_t leaderless_ms_max = 5'000;        // then the operator's log says so

std::uint64_t random_64() {
  std::uint64_t value = 0;
  randombytes_buf(&value, sizeof value);
  return value;
}

}  // namespace

ControllerThread::ControllerThread(Log& log, Projection& projection, Controller::Options options,
                                   std::function<void(const std::string&)> say)
    : log_(log), projection_(projection), options_(std::move(options)), folded_before_(projection), say_(std::move(say)) {
  status_.controller.reason = "the log is being read";
  thread_ = std::thread([this] { run(); });
}

ControllerThread::~ControllerThread() { stop(); }

void ControllerThread::stop() {
  ending_ = true;
  wakeup_->ring();
  if (thread_.joinable()) thread_.join();
  controller_.reset();
}

ControllerThread::Status ControllerThread::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

// False: it will never be, or we are ending.
bool ControllerThread::projection_is_there() {
  struct Answer {
    std::mutex mutex;
    std::optional<reprise::Status> status;
  };
  while (!ending_) {
    const auto answer = std::make_shared<Answer>();
    projection_.fresh([answer, wakeup = wakeup_](reprise::Status status) {
      const std::lock_guard lock(answer->mutex);
      answer->status = std::move(status);
      wakeup->ring();
    });
    for (bool answered = false; !answered && !ending_;) {
      {
        const std::lock_guard lock(answer->mutex);
        answered = answer->status.has_value();
      }
      if (!answered) wakeup_->wait(steady_now_ms() + projection_patience_ms);
    }
    const std::lock_guard lock(answer->mutex);
    if (!answer->status) return false;
    const auto code = answer->status->error().code;
    if (*answer->status || code == Errc::conflict) return true;  // conflict: sealed; it says so itself
    if (code != Errc::unreachable && code != Errc::timed_out) return false;
  }
  return false;
}

void ControllerThread::run() {
  if (!projection_is_there()) return;
  Head head;
  State state = projection_.copy_state(head);
  Controller::Ports ports{.log = &log_,
                          .random = random_64,
                          .seen_before = &folded_before_,
                          .wake = [wakeup = wakeup_] { wakeup->ring(); },
                          .say = say_,
                          .doubt_clock = [this](Now now) { return doubt_clock(log_, now); }};
  controller_ = std::make_unique<Controller>(std::move(ports), std::move(options_), std::move(state), head);
  auto role = Controller::Role::following;
  while (!ending_) {
    const Now now{.steady_ms = steady_now_ms(), .wall_ms = wall_now_ms()};
    std::int64_t next = controller_->step(now);
    leading_ = controller_->status().role == Controller::Role::leading;
    {
      const std::lock_guard lock(mutex_);
      status_ = {controller_->status(), controller_->head()};
    }
    if (const auto now = controller_->status().role; now != role) {
      role = now;
      say_(std::string("controller: ") + role_name(role) +
           (controller_->status().reason.empty() ? "" : ": " + controller_->status().reason));
    }
    tell_of_leader(now.steady_ms, next);
    wakeup_->wait(next);
  }
}

std::string ControllerThread::why_not_leading() const {
  if (leading_) return {};
  const std::lock_guard lock(mutex_);
  const auto& [controller, head] = status_;
  return controller.reason.empty() ? fmt::format("the controller here is {}", role_name(controller.role)) : controller.reason;
}

// Once for each reason, not for each request: who does not lead, since when, and why.
void ControllerThread::tell_of_leader(std::int64_t steady_ms, std::int64_t& next_ms) {
  const auto& status = controller_->status();
  if (status.role == Controller::Role::leading || status.stands_back) {
    if (!told_.empty()) say_(fmt::format("controller: the cloud is led again, after {} s", (steady_ms - not_leading_ms_) / 1000));
    told_.clear();
    not_leading_ms_ = 0;
    return;
  }
  if (not_leading_ms_ == 0) not_leading_ms_ = steady_ms;
  if (steady_ms - not_leading_ms_ < leaderless_ms_max) {
    next_ms = std::min(next_ms, not_leading_ms_ + leaderless_ms_max);
    return;
  }
  const std::string why = why_not_leading();
  if (why == told_) return;
  told_ = why;
  say_(fmt::format("controller: it is elected and has not led for {} s: {}. What clients ask waits meanwhile",
                   (steady_ms - not_leading_ms_) / 1000, why));
}

}  // namespace reprise::cli
