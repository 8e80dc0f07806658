// The simulation in a process of its own: a seed that crashes or never ends takes nothing else with it.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace reprise::sim {

// This very program with other words; its stdout is read.
class Child {
 public:
  explicit Child(const std::vector<std::string>& words);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;

  // Waits for its end; true: it ended well.
  bool join();
  const std::string& said() const { return said_; }
  // To be polled for its end.
  int pipe() const { return pipe_; }

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
  std::string said_;
};

}  // namespace reprise::sim
