// Benchmarks: each measures a figure and its limit in the same run, alternately, and prints one JSON
// object a line (design, section 7). A goal is a ratio: how much of what the machine can do is reached.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "controlplane/decide/decide.h"
#include "projections/fold.h"

namespace reprise::bench {

struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  double limit = 0;            // what it is measured against, same unit; 0: none
  double goal = 0;             // of the ratio value/limit, or of the value itself when there is no limit
  bool lower_is_better = false;
};
// Prints {"name","value","unit","limit","ratio","goal","holds"}.
void print(const Figure& figure);

double seconds(const std::function<void()>& work);

// A cloud in memory that decides and folds as a controller does, without a log.
class Cloud {
 public:
  Cloud(std::size_t nodes, bool collect_changes);
  State state;
  Seq seq = 1;

  // One record of these intents' decisions, folded; its bytes if wanted.
  Record record(const std::vector<Intent>& intents);
  Intent create_server(std::uint64_t number) const;

  UserId user;
  ProjectId project;
  ImageId image;
  std::int64_t at_ms = 1'700'000'000'000;
};

void fold(const std::string& dir);
void placement();
void decided(const std::string& dir);

}  // namespace reprise::bench
