#include "agents/network/ovs_loop.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "agents/network/ovs_headers.h"
#include "events/check.h"

namespace reprise::network {
namespace {

// The library takes over each of these whose handler is the default one; that is ours to decide.
void keep_signals_ours() {
  constexpr std::array signals{SIGTERM, SIGINT, SIGHUP, SIGALRM};
  std::array<struct sigaction, signals.size()> before;
  for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], nullptr, &before[i]);
  fatal_signal_init();
  for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &before[i], nullptr);
}

std::once_flag once;

void prepare_library() {
  set_program_name("reprise");
  vlog_set_levels(nullptr, VLF_ANY_DESTINATION, VLL_OFF);  // what goes wrong comes back as our own errors
  keep_signals_ours();
}

void wait_at_most(Clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  poll_timer_wait(std::max<long long>(0, left));
}

}  // namespace

OvsLoop::OvsLoop() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(wake_ >= 0);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited: the process's signals go to other threads
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

OvsLoop::~OvsLoop() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  eventfd_write(wake_, 1);
  thread_.join();
  close(wake_);
}

void OvsLoop::post(std::function<void()> work) {
  CHECK(std::this_thread::get_id() != thread_.get_id());
  std::lock_guard lock(mutex_);
  works_.push_back(std::move(work));
  eventfd_write(wake_, 1);
}

void OvsLoop::attach(Part* part) { parts_.push_back(part); }
void OvsLoop::detach(Part* part) { std::erase(parts_, part); }

void OvsLoop::run_parts() {
  for (auto* part : parts_) part->run();
}
void OvsLoop::wait_parts() {
  for (auto* part : parts_) part->wait();
}

void OvsLoop::run() {
  std::call_once(once, prepare_library);
  for (;;) {
    eventfd_t drained;
    (void)eventfd_read(wake_, &drained);
    std::function<void()> work;
    {
      std::lock_guard lock(mutex_);
      if (works_.empty() && ending_) return;
      if (!works_.empty()) {
        work = std::move(works_.front());
        works_.pop_front();
      }
    }
    if (work) {
      work();
      continue;
    }
    run_parts();
    wait_parts();
    poll_fd_wait(wake_, POLLIN);
    poll_block();
  }
}

bool OvsLoop::run_until(const std::function<bool()>& done, Clock::time_point deadline) {
  for (;;) {
    run_parts();
    if (done()) return true;
    if (Clock::now() >= deadline) return false;
    wait_parts();
    wait_at_most(deadline);
    poll_block();
  }
}

Appearances::Appearances(std::string folder, std::string name)
    : folder_(std::move(folder)), name_(std::move(name)) {
  inotify_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  CHECK(inotify_ >= 0);
  watch();
}

Appearances::~Appearances() { close(inotify_); }

void Appearances::watch() {
  watching_ = inotify_add_watch(inotify_, folder_.c_str(), IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF) >= 0;
  again_at_ = Clock::now() + std::chrono::seconds(1);
}

bool Appearances::happened() {
  if (!watching_) {
    if (Clock::now() < again_at_) return false;
    watch();
    return true;
  }
  bool seen = false;
  alignas(inotify_event) char buffer[4096];
  for (ssize_t got; (got = read(inotify_, buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof *event + event->len);
      if (event->mask & (IN_IGNORED | IN_DELETE_SELF)) watching_ = false;
      if (event->mask & IN_Q_OVERFLOW || (event->len && name_ == event->name)) seen = true;
    }
  }
  return seen;
}

void Appearances::wait() {
  if (watching_) poll_fd_wait(inotify_, POLLIN);
  else wait_at_most(again_at_);
}

}  // namespace reprise::network
