#include "controlplane/cli/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

namespace reprise::cli {

using namespace std::chrono_literals;

ProgressLine::ProgressLine(std::string what) : what_(std::move(what)) {
  if (::isatty(STDERR_FILENO)) thread_ = std::thread([this] { run(); });
}

ProgressLine::~ProgressLine() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void ProgressLine::run() {
  const auto begun = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, 2s, [&] { return done_; })) return;
  do {
    const auto took = std::chrono::steady_clock::now() - begun;
    fmt::print(stderr, "\r\033[K{}, {} s", what_,
               std::chrono::duration_cast<std::chrono::seconds>(took).count());
    std::fflush(stderr);
  } while (!changed_.wait_for(lock, 1s, [&] { return done_; }));
  fmt::print(stderr, "\r\033[K");
}

}  // namespace reprise::cli
