// simulate [SEED] [COUNT] [--trace] [--nodes N] [--faults a,b,…|none]: runs worlds; the first one that fails
// ends it, with its seed and the command that runs it again.
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "tests/sim/world.h"

using namespace reprise::sim;

namespace {

std::set<Fault> parse_faults(const std::string& text) {
  std::set<Fault> faults;
  for (int i = 0; i < static_cast<int>(Fault::count); ++i)
    if (("," + text + ",").find("," + std::string(fault_name(static_cast<Fault>(i))) + ",") != std::string::npos)
      faults.insert(static_cast<Fault>(i));
  return faults;
}

}  // namespace

int main(int argc, char** argv) {
  WorldOptions options;
  std::uint64_t count = 1;
  int position = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--trace") options.trace = true;
    else if (word == "--nodes" && i + 1 < argc) options.nodes = std::stoi(argv[++i]);
    else if (word == "--faults" && i + 1 < argc) options.faults = parse_faults(argv[++i]);
    else if (word == "--help") return std::puts("simulate [SEED] [COUNT] [--trace] [--nodes N] [--faults a,b,...|none]"), 0;
    else if (position++ == 0) options.seed = std::stoull(word);
    else count = std::stoull(word);
  }
  std::uint64_t records = 0, intents = 0, voids = 0, mixed = 0;
  for (std::uint64_t i = 0; i < count; ++i, ++options.seed) {
    const Outcome outcome = run_world(options);
    records += outcome.records, intents += outcome.intents, voids += outcome.voids;
    mixed ^= outcome.fingerprint;
    if (!outcome.ok) {
      fmt::print("seed {} failed: {}\nrun it again: simulate {} 1 --trace\n", options.seed, outcome.why, options.seed);
      return 1;
    }
  }
  fmt::print("{} seeds clean: {} intents, {} records, {} void; fingerprint {:016x}\n", count, intents, records, voids, mixed);
}
