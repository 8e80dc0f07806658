#include "controlplane/cli/controller_thread.h"

#include <sodium/randombytes.h>

namespace reprise::cli {
namespace {

std::uint64_t random_64() {
  std::uint64_t value = 0;
  randombytes_buf(&value, sizeof value);
  return value;
}

}  // namespace

ControllerThread::ControllerThread(Log& log, const Projection& projection, Controller::Options options,
                                   std::function<void(const std::string&)> say)
    : folded_before_(projection), say_(std::move(say)) {
  Head head;
  State state = projection.copy_state(head);
  Controller::Ports ports{.log = &log,
                          .random = random_64,
                          .seen_before = &folded_before_,
                          .wake = [this] { wakeup_.ring(); },
                          .say = say_};
  controller_ = std::make_unique<Controller>(std::move(ports), std::move(options), std::move(state), head);
  status_ = {controller_->status(), head};
  thread_ = std::thread([this] { run(); });
}

ControllerThread::~ControllerThread() { stop(); }

void ControllerThread::stop() {
  ending_ = true;
  wakeup_.ring();
  if (thread_.joinable()) thread_.join();
  controller_.reset();
}

ControllerThread::Status ControllerThread::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void ControllerThread::run() {
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
    wakeup_.wait(next);
  }
}

}  // namespace reprise::cli
