// Runs one program to its end and keeps what it said. Never a shell: the argument vector goes to the
// kernel as it is. Used for qemu-img, genisoimage and the like.
//
// Promises: the child dies when the thread that runs it dies (a kill -9 of the agent leaves none
// behind), its standard input is empty, its messages are in English, and no descriptor or signal mask
// of ours leaks into it. Output beyond 1 MiB a stream is dropped.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "events/result.h"

namespace reprise {

struct ChildEnd {
  int exit_code = -1;      // -1: ended by a signal
  int signal = 0;          // 0: ended by itself
  bool timed_out = false;  // we killed it at the deadline
  std::string out;
  std::string err;
  bool well() const { return exit_code == 0; }
  // "exit code 1: last words", for error texts.
  std::string words() const;
};

inline constexpr std::chrono::milliseconds no_deadline{0};

// The error tells that the program could not be started at all (not_found: it is not installed).
Result<ChildEnd> run_child(const std::vector<std::string>& argv,
                           std::chrono::milliseconds deadline = no_deadline);

}  // namespace reprise
