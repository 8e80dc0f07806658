// A disk that fails in the middle of some change: the power is lost (what was not synced is gone, in part or
// as zeros, new names too), it is full, does not sync, is gone, or can only be read. Then it works again; what
// was acknowledged is there, and log and projection go on, by themselves or when they are opened again.
#include <fmt/format.h>

#include <filesystem>

#include "tests/fire/child.h"

namespace reprise::fire {
namespace {

using Fault = contract::FaultyDisk::Fault;
constexpr std::size_t records_per_cloud = 2500;

struct Kind {
  const char* name;
  Fault fault;
  bool loses_power;
};
constexpr Kind kinds[] = {{"power", Fault::gone, true},
                          {"full", Fault::full, false},
                          {"no_sync", Fault::sync_fails, false},
                          {"gone", Fault::gone, false},
                          {"read_only", Fault::read_only, false}};

}  // namespace

int run_disks(const Trial& trial) {
  sim::Prng prng(trial.seed);
  std::uint64_t rounds = 0, clouds = 0, rebuilt = 0, aborted = 0;
  std::uint64_t by[std::size(kinds)] = {};
  double slowest_ms = 0;
  while (rounds < trial.count) {
    const auto history = History::make(trial.seed + clouds, records_per_cloud);
    const Place place = trial.place(clouds++, history);
    Told told;
    for (bool more = true; more && rounds < trial.count;) {
      const auto which = prng.chance(400) ? 0 : prng.below(std::size(kinds));
      const auto& kind = kinds[which];
      const Mishap mishap{kind.fault, 1 + prng.below(1500), kind.loses_power};
      const auto ended = Child(place, place.history(), prng.next(), mishap).follow({}, told);
      if (!ended) return trial.wrong(rounds, fmt::format("{}: {}", kind.name, ended.error().text));
      more = *ended != Ended::told;
      rounds += more, by[which] += more, aborted += *ended == Ended::aborted;
      told.folded = 0;  // what the projection stores is not synced: the log has it
      const auto found = check(place, history, told, prng);
      if (!found) return trial.wrong(rounds, fmt::format("after {}: {}", kind.name, found.error().text));
      if (!found->rebuilt.empty()) {
        ++rebuilt;
        if (!trial.json) fmt::print(stderr, "folded anew after {}: {}\n", kind.name, found->rebuilt);
      }
      slowest_ms = std::max(slowest_ms, found->recovery_ms);
      trial.progress(rounds, fmt::format("slowest recovery {:.0f} ms", slowest_ms));
    }
    std::filesystem::remove_all(place.dir);
  }
  std::string fields, words;
  for (std::size_t i = 0; i < std::size(kinds); ++i) {
    fields += fmt::format("\"{}\":{},", kinds[i].name, by[i]);
    words += fmt::format("{}{} {}", i ? ", " : "", by[i], kinds[i].name);
  }
  return trial.well(
      fmt::format("\"rounds\":{},{}\"lost\":0,\"doubled\":0,\"differing\":0,\"rebuilt\":{},\"aborted\":{},"
                  "\"slowest_recovery_ms\":{:.1f}",
                  rounds, fields, rebuilt, aborted, slowest_ms),
      fmt::format("{} rounds ({}): nothing acknowledged was lost or doubled, no digest differs; {} projections folded "
                  "anew, {} ended by an assertion of RocksDB; slowest recovery {:.1f} ms",
                  rounds, words, rebuilt, aborted, slowest_ms));
}

}  // namespace reprise::fire
