// The command line of `simulate`: read from words, and written as words that run the same again.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace reprise::sim {

struct RunOptions {
  WorldOptions world;
  std::uint64_t count = 1;
  unsigned patience_s = 60;   // for one seed
  int jobs = 1;                // processes at once
  bool twice = false;          // each seed in two processes, which must end in the same fingerprint
  bool shrink = true;          // what failed
};

// Empty words of why: all were understood.
std::string parse_options(const std::vector<std::string>& words, RunOptions& options);

// Without the seed: what of a world is not drawn.
std::vector<std::string> world_words(const WorldOptions& options);

}  // namespace reprise::sim
