// kill -9 of a process that appends to an embedded log and folds it: at an acknowledgement, at some time, or
// in the middle of a change that it makes to a file (a write half done, a rename, a removal; so also within
// flushes and merges of files).
#include <fmt/format.h>

#include <filesystem>

#include "controlplane/cli/verify.h"
#include "tests/fire/child.h"

namespace reprise::fire {
namespace {

constexpr std::size_t records_per_cloud = 3000;

Status prove(const Place& place, std::int64_t records, const History& history) {
  if (records == 0) return {};
  const auto log = open_embedded_log_read_only(place.log(), place.log_options());
  if (!log) return log.error();
  const auto verified = cli::verify_log(
      **log, {{static_cast<Seq>(records), history[static_cast<std::size_t>(records) - 1].hash, "the trial"}});
  if (!verified) return verified.error();
  return verified->broken.empty() ? Status() : Status(Errc::broken, verified->broken);
}

struct Kill {
  enum When { at_acknowledgement, at_some_time, in_a_change, whens } when;
  Moment moment;
  Mishap mishap;

  static Kill any(sim::Prng& prng) {
    Kill kill{static_cast<When>(prng.below(whens)), {}, {}};
    switch (kill.when) {
      case at_acknowledgement: kill.moment.acknowledgements = 1 + prng.below(600); break;
      case at_some_time: kill.moment.microseconds = prng.between(1, 150'000); break;
      default:
        kill.mishap = {contract::FaultyDisk::Fault::kills, 1 + prng.below(prng.chance(300) ? 60 : 1200), false};
    }
    return kill;
  }
};

}  // namespace

int run_kills(const Trial& trial) {
  sim::Prng prng(trial.seed);
  std::uint64_t kills = 0, clouds = 0, by[Kill::whens] = {}, acknowledged = 0;
  double slowest_ms = 0;
  while (kills < trial.count) {
    const auto history = History::make(trial.seed + clouds, records_per_cloud);
    const Place place = trial.place(clouds++, history);
    Told told;
    Found found;
    for (bool more = true; more && kills < trial.count;) {
      const auto kill = Kill::any(prng);
      const auto ended = Child(place, place.history(), prng.next(), kill.mishap).follow(kill.moment, told);
      if (!ended) return trial.wrong(kills, ended.error().text);
      more = *ended == Ended::killed;
      if (!more && *ended != Ended::told) return trial.wrong(kills, "the writer ended by itself");
      kills += more, by[kill.when] += more;
      auto checked = check(place, history, told, prng);
      if (!checked) return trial.wrong(kills, checked.error().text);
      found = std::move(*checked);
      if (!found.rebuilt.empty()) return trial.wrong(kills, "the projection was folded anew: " + found.rebuilt);
      slowest_ms = std::max(slowest_ms, found.recovery_ms);
      told.folded = static_cast<Seq>(found.records);
      trial.progress(kills, fmt::format("slowest recovery {:.0f} ms", slowest_ms));
    }
    for (const auto end : told.ends) acknowledged += static_cast<std::uint64_t>(end);
    if (auto proved = prove(place, found.records, history); !proved) return trial.wrong(kills, proved.error().text);
    std::filesystem::remove_all(place.dir);
  }
  return trial.well(
      fmt::format("\"kills\":{},\"at_acknowledgement\":{},\"at_some_time\":{},\"in_a_change\":{},\"clouds\":{},"
                  "\"acknowledged\":{},\"lost\":0,\"doubled\":0,\"differing\":0,\"rebuilt\":0,"
                  "\"slowest_recovery_ms\":{:.1f}",
                  kills, by[0], by[1], by[2], clouds, acknowledged, slowest_ms),
      fmt::format("{} kills ({} at an acknowledgement, {} at some time, {} in the middle of a change), {} entries "
                  "acknowledged: none lost, none doubled, no digest differs; slowest recovery {:.1f} ms",
                  kills, by[0], by[1], by[2], acknowledged, slowest_ms));
}

}  // namespace reprise::fire
