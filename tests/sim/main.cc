#include <fmt/ranges.h>

#include <csignal>
#include <cstdio>
#include <list>

#include <poll.h>
#include <unistd.h>

#include "tests/sim/child.h"
#include "tests/sim/options.h"
#include "tests/sim/shrink.h"

using namespace reprise::sim;

namespace {

constexpr const char* help = R"(simulate [SEED] [COUNT] [options]: runs so many worlds, each drawn from its seed

The first one that fails ends it, with its seed, the shortest form of it that was found, and the command for that.
  --jobs N         so many processes at once
  --twice          each seed in two processes; they must end in the same fingerprint
  --patience S     a seed that takes longer than S seconds fails (60)
  --no-shrink      leaves a failing world as it is
  --trace          every event as it is folded
of a world, instead of what is drawn:
  --nodes N, --controllers N, --busy MS, --faults a,b,…|none, --wishes 1,2,…|none
Exit: 0 all clean, 1 one failed, 2 bad usage.
)";

constexpr std::uint64_t chunk = 25;  // seeds a process runs
constexpr int shrink_s_max = 60;
constexpr unsigned shrink_patience_s = 10;

struct Sums {
  std::uint64_t seeds = 0, records = 0, intents = 0, voids = 0, mixed = 0;
  std::int64_t settled_ms_max = 0;

  void add(const Sums& other) {
    seeds += other.seeds, records += other.records, intents += other.intents, voids += other.voids, mixed ^= other.mixed;
    settled_ms_max = std::max(settled_ms_max, other.settled_ms_max);
  }
  std::string words() const {
    return fmt::format("{} seeds clean: {} intents, {} records, {} void, settled within {} s; fingerprint {:016x}", seeds, intents, records,
                       voids, settled_ms_max / 1000, mixed);
  }
};

volatile std::uint64_t seed_under_way = 0;

// The process is lost already: what is not safe in a handler does no further harm.
void say_seed_and_end(int signal) {
  char line[160];
  const int size = std::snprintf(line, sizeof line, "seed %lu failed: %s\n", static_cast<unsigned long>(seed_under_way),
                                 signal == SIGALRM ? "it does not end" : "it crashed");
  [[maybe_unused]] const auto written = write(STDOUT_FILENO, line, static_cast<std::size_t>(size));
  _exit(1);
}

// All in this process.
bool run_here(const RunOptions& options) {
  Sums sums;
  for (const int signal : {SIGABRT, SIGSEGV, SIGALRM}) std::signal(signal, say_seed_and_end);
  WorldOptions world = options.world;
  for (std::uint64_t i = 0; i < options.count; ++i, ++world.seed) {
    seed_under_way = world.seed;
    alarm(options.patience_s);
    const Outcome outcome = run_world(world);
    if (!outcome.ok) {
      fmt::print("seed {} failed: {}\n", world.seed, outcome.why);
      return false;
    }
    sums.add({1, outcome.records, outcome.intents, outcome.voids, outcome.fingerprint, outcome.settled_ms});
  }
  alarm(0);
  fmt::print("{}\n", sums.words());
  return true;
}

class Fleet {
 public:
  explicit Fleet(const RunOptions& options) : options_(options) {}

  // The seed that failed; none: all were clean.
  std::optional<std::uint64_t> run() {
    const std::uint64_t end = options_.world.seed + options_.count;
    for (std::uint64_t next = options_.world.seed; next < end || !flights_.empty();) {
      while (next < end && static_cast<int>(flights_.size()) < options_.jobs && !failed_) {
        flights_.push_back(start(next, std::min(chunk, end - next)));
        next += std::min(chunk, end - next);
      }
      if (flights_.empty()) break;
      land();
    }
    if (!failed_) fmt::print("{}\n", sums_.words());
    return failed_;
  }

 private:
  struct Flight {
    std::uint64_t seed, count;
    Child child;
  };

  Flight start(std::uint64_t seed, std::uint64_t count) {
    std::vector<std::string> words{std::to_string(seed), std::to_string(count), "--no-shrink", "--patience", std::to_string(options_.patience_s)};
    for (auto& word : world_words(options_.world)) words.push_back(std::move(word));
    return {seed, count, Child(words)};
  }

  // Takes the first that says its line.
  void land() {
    std::vector<pollfd> polled;
    for (const auto& flight : flights_) polled.push_back({flight.child.pipe(), POLLIN, 0});
    poll(polled.data(), polled.size(), -1);
    const auto first = std::find_if(polled.begin(), polled.end(), [](const pollfd& one) { return one.revents != 0; });
    if (first == polled.end()) return;
    const auto flight = std::next(flights_.begin(), first - polled.begin());
    if (!flight->child.join()) fail(flight->child.said(), flight->seed);
    else if (options_.twice && !same_again(*flight))
      fail(fmt::format("seed {} failed: it, or one soon after it, ends otherwise in a second process\n", flight->seed), flight->seed);
    else add(flight->child.said());
    flights_.erase(flight);
  }

  bool same_again(const Flight& flight) {
    Flight again = start(flight.seed, flight.count);
    return again.child.join() && again.child.said() == flight.child.said();
  }

  void fail(const std::string& said, std::uint64_t seed) {
    unsigned long named = seed;
    if (const auto at = said.find("seed "); at != std::string::npos) std::sscanf(said.c_str() + at, "seed %lu failed", &named);
    if (failed_ && *failed_ < named) return;
    fmt::print("{}", said);
    failed_ = named;
  }

  void add(const std::string& said) {
    unsigned long seeds = 0, intents = 0, records = 0, voids = 0, mixed = 0;
    long settled_s = 0;
    std::sscanf(said.c_str(), "%lu seeds clean: %lu intents, %lu records, %lu void, settled within %ld s; fingerprint %lx", &seeds, &intents,
                &records, &voids, &settled_s, &mixed);
    sums_.add({seeds, records, intents, voids, mixed, settled_s * 1000});
    if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r{} of {} seeds", sums_.seeds, options_.count);
  }

  const RunOptions& options_;
  std::list<Flight> flights_;
  Sums sums_;
  std::optional<std::uint64_t> failed_;
};

void say_shortest(const RunOptions& options, std::uint64_t seed) {
  WorldOptions world = options.world;
  world.seed = seed;
  if (options.shrink) world = shrink(world, shape_of(world), std::min(options.patience_s, shrink_patience_s), shrink_s_max);
  fmt::print("run it again: simulate {} 1 {}{}--trace\n", seed, fmt::join(world_words(world), " "), world_words(world).empty() ? "" : " ");
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (std::find(words.begin(), words.end(), "--help") != words.end()) return std::fputs(help, stdout), 0;
  RunOptions options;
  if (const auto wrong = parse_options(words, options); !wrong.empty()) {
    fmt::print(stderr, "simulate: {}; --help says what there is\n", wrong);
    return 2;
  }
  const bool here = options.world.trace || (options.jobs == 1 && !options.twice && !options.shrink);
  if (here) return run_here(options) ? 0 : 1;
  const auto failed = Fleet(options).run();
  if (!failed) return 0;
  say_shortest(options, *failed);
  return 1;
}
