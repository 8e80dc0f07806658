// A line that tells a person that something takes a while: after two seconds, once a second, on a terminal's
// stderr only; gone when this is.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace reprise::cli {

class ProgressLine {
 public:
  explicit ProgressLine(std::string what);
  ~ProgressLine();

 private:
  void run();

  const std::string what_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace reprise::cli
