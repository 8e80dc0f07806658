#include "controlplane/cli/controller_thread.h"

#include <sodium/randombytes.h>

namespace reprise::cli {
namespace {

constexpr std::int64_t projection_patience_ms = 60'000;  // between two looks; it rings

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
                          .say = say_};
  controller_ = std::make_unique<Controller>(std::move(ports), std::move(options_), std::move(state), head);
  auto role = Controller::Role::following;
  while (!ending_) {
    const std::int64_t next = controller_->step({.steady_ms = steady_now_ms(), .wall_ms = wall_now_ms()});
    {
      const std::lock_guard lock(mutex_);
      status_ = {controller_->status(), controller_->head()};
    }
    if (const auto now = controller_->status().role; now != role) {
      role = now;
      say_(std::string("controller: ") + role_name(role) +
           (controller_->status().reason.empty() ? "" : ": " + controller_->status().reason));
    }
    wakeup_->wait(next);
  }
}

}  // namespace reprise::cli
