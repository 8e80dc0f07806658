// simulate [SEED] [COUNT] [--trace] [--nodes N] [--faults a,b,…|none] [--patience S]: runs worlds; the first one that
// fails, crashes or takes longer than S seconds ends it, with its seed and the command that runs it again.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include <unistd.h>

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

volatile std::uint64_t seed_under_way = 0;

// The process is lost already: what is not safe in a handler does no further harm.
void say_seed_and_end(int signal) {
  char line[160];
  const auto seed = static_cast<unsigned long>(seed_under_way);
  const int size = std::snprintf(line, sizeof line, "seed %lu failed: %s\nrun it again: simulate %lu 1 --trace\n", seed,
                                 signal == SIGALRM ? "it does not end" : "it crashed", seed);
  [[maybe_unused]] const auto written = write(STDOUT_FILENO, line, static_cast<std::size_t>(size));
  _exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  WorldOptions options;
  std::uint64_t count = 1;
  unsigned patience_s = 0;
  int position = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--trace") options.trace = true;
    else if (word == "--nodes" && i + 1 < argc) options.nodes = std::stoi(argv[++i]);
    else if (word == "--faults" && i + 1 < argc) options.faults = parse_faults(argv[++i]);
    else if (word == "--patience" && i + 1 < argc) patience_s = static_cast<unsigned>(std::stoul(argv[++i]));
    else if (word == "--help") return std::puts("simulate [SEED] [COUNT] [--trace] [--nodes N] [--faults a,b,...|none] [--patience S]"), 0;
    else if (position++ == 0) options.seed = std::stoull(word);
    else count = std::stoull(word);
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGALRM}) std::signal(signal, say_seed_and_end);
  std::uint64_t records = 0, intents = 0, voids = 0, mixed = 0;
  for (std::uint64_t i = 0; i < count; ++i, ++options.seed) {
    seed_under_way = options.seed;
    if (patience_s) alarm(patience_s);
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
