// A state folder copied file by file, in any order, while it is written. The copy must open and be a prefix of the
// history, or say that it is not whole; also log and projection of different moments. Never a wrong state.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <thread>

#include "controlplane/cli/verify.h"
#include "tests/fire/cloud.h"

namespace reprise::fire {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t records_per_cloud = 3000;

// Appends all the time, until it is told to stop or everything is told.
class Busy {
 public:
  Busy(const Place& place, const History& history, std::uint64_t seed)
      : log_(*open_embedded_log(place.log(), place.log_options())),
        projection_(*Projection::open(*log_, place.projection_options())), prng_(seed) {
    projection_->start();
    thread_ = std::thread([this, &history] {
      Writer writer(*log_, history, [](Topic, std::int64_t) {});
      CHECK(writer.open().ok());
      while (!stop_ && writer.append(prng_, 10)) {
      }
      CHECK(writer.settle().ok());
      done_ = true;
    });
  }
  ~Busy() {
    stop_ = true;
    thread_.join();
  }
  bool done() const { return done_; }

 private:
  std::unique_ptr<Log> log_;
  std::unique_ptr<Projection> projection_;
  sim::Prng prng_;
  std::atomic<bool> stop_ = false, done_ = false;
  std::thread thread_;
};

// As `cp -a` does it, in an order of its own; what goes away meanwhile is not in the copy. Large pieces are copied
// with pauses for whoever writes.
void copy(const Place& from, const Place& to, sim::Prng& prng) {
  std::vector<fs::path> files;
  for (const auto& dir : {from.log(), from.projection()})
    for (const auto& file : fs::directory_iterator(dir)) files.push_back(file.path());
  const bool projection_first = prng.chance(500);
  std::sort(files.begin(), files.end());
  for (std::size_t i = files.size(); i > 1; --i) std::swap(files[i - 1], files[prng.below(i)]);
  if (prng.chance(600))
    std::stable_partition(files.begin(), files.end(), [&](const auto& file) {
      return (file.parent_path() == from.projection()) == projection_first;
    });
  fs::create_directories(to.log()), fs::create_directories(to.projection());
  const auto pause = prng.below(3);
  for (const auto& file : files) {
    std::error_code gone;
    const fs::path there = file.parent_path() == from.log() ? to.log() : to.projection();
    fs::copy_file(file, there / file.filename(), gone);
    for (std::uint64_t i = prng.below(1 + pause * 40); i > 0; --i) std::this_thread::yield();
  }
}

// "whole prefix", or who said what. An error: something wrong was believed.
Result<std::string> judge(const Place& place, const History& history, sim::Prng& prng) {
  const auto read_only = open_embedded_log_read_only(place.log(), place.log_options());
  std::string said;
  if (read_only) {
    const auto verified = cli::verify_log(**read_only, {});
    if (!verified) return verified.error();
    if (verified->head.seq && verified->head.hash != history[verified->head.seq - 1].hash)
      return Error{Errc::broken, "verify believes another history"};
    if (!verified->broken.empty()) said = "verify: not whole";
  } else if (read_only.error().text.empty()) {
    return Error{Errc::broken, "refused without a word"};
  } else {
    said = "log: refused";
  }
  const auto found = check(place, history, {}, prng);
  if (!said.empty()) {
    // What verify finds wrong must not be served either.
    if (found) return Error{Errc::broken, said + ", but it is served"};
    return said;
  }
  if (found) return std::string(found->rebuilt.empty() ? "a prefix" : "a prefix, projection folded anew");
  // A projection that is ahead of the log's copy: it says what the log lacks.
  for (const char* words : {"it has lost records", "restore the folder from a copy", "cannot be read", "missing",
                            "does not hold what was read there"})
    if (found.error().text.find(words) != std::string::npos) return fmt::format("said: {}", words);
  return found.error();
}

}  // namespace

int run_copies(const Trial& trial) {
  sim::Prng prng(trial.seed);
  std::map<std::string, std::uint64_t> outcomes;
  std::uint64_t copies = 0;
  for (std::uint64_t number = 0; copies < trial.count; ++number) {
    const auto history = History::make(trial.seed + number, records_per_cloud);
    const Place place = trial.place(number, history);
    std::vector<Place> made;
    {
      const Busy busy(place, history, prng.next());
      while (!busy.done() && copies + made.size() < trial.count) {
        made.push_back({fmt::format("{}/copy-{}", trial.folder, made.size())});
        copy(place, made.back(), prng);
      }
    }
    for (const auto& one : made) {
      const auto outcome = judge(one, history, prng);
      if (!outcome) return trial.wrong(copies, one.dir + ": " + outcome.error().text);
      ++outcomes[*outcome], ++copies;
      fs::remove_all(one.dir);
      trial.progress(copies, *outcome);
    }
    fs::remove_all(place.dir);
  }
  std::string fields, words;
  for (const auto& [what, count] : outcomes) {
    fields += fmt::format("{}\"{}\":{}", fields.empty() ? "" : ",", what, count);
    words += fmt::format("\n  {:6} {}", count, what);
  }
  return trial.well(fmt::format("\"copies\":{},\"silent\":0,\"outcomes\":{{{}}}", copies, fields),
                    fmt::format("{} copies, none silently wrong:{}", copies, words));
}

}  // namespace reprise::fire
