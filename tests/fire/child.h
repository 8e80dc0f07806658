// The process that appends and folds until it is killed, or its disk fails: `fire writer …`, and how it is led.
#pragma once

#include "tests/contract/faulty_disk.h"
#include "tests/fire/cloud.h"

namespace reprise::fire {

// When it is killed from outside.
struct Moment {
  std::uint64_t acknowledgements = 0;  // 0: not by them
  std::int64_t microseconds = 0;       // 0: not by time
};

// What happens to it from inside: its disk meets a fault from so many changes on.
struct Mishap {
  contract::FaultyDisk::Fault fault = contract::FaultyDisk::Fault::none;
  std::uint64_t changes = 0;
  bool loses_power = false;
};

enum class Ended {
  told,     // it has told the whole history
  failed,   // its disk failed, as it was to; it said what was wrong
  killed,   // by us, or by its disk
  aborted,  // RocksDB's own assertions: Debian's library has them on, and it leaks when it cannot make a file
};

class Child {
 public:
  Child(const Place& place, const std::string& history, std::uint64_t seed, const Mishap& mishap);
  ~Child();
  // Reads what it says until it has ended. An error: it did not end as it should have.
  Result<Ended> follow(const Moment& moment, Told& told);

 private:
  std::uint64_t take_lines(Told& told);

  pid_t pid_ = -1;
  int pipe_ = -1;
  std::string text_;
};

// The process itself: an exit code.
int run_writer(int argc, char** argv);

}  // namespace reprise::fire
