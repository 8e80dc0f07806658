// What every trial by fire is made with: one history that is known beforehand, a folder with an embedded log
// and a projection of it, somebody who appends, and the one check of what is found afterwards.
#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "events/embedded_log.h"
#include "projections/runner.h"
#include "tests/sim/prng.h"
#include "tests/unit/scribe.h"

namespace reprise::fire {

// Records of a busy cloud. Entries of the other topics are made from their offset.
class History {
 public:
  static History make(std::uint64_t seed, std::size_t records);
  // The same, from a file that another process wrote.
  static History read(const std::string& file);
  void write(const std::string& file) const;

  std::size_t size() const { return records_.size(); }
  const testing::Written& operator[](std::size_t i) const { return records_[i]; }
  // What must stand at that offset; for events, below size().
  Bytes entry(Topic topic, std::int64_t offset) const;

 private:
  std::vector<testing::Written> records_;
};

// A state folder: DIR/log and DIR/projection, with so small buffers that files are made and merged all the time.
struct Place {
  std::string dir;
  std::string log() const { return dir + "/log"; }
  std::string projection() const { return dir + "/projection"; }
  std::string history() const { return dir + "/history"; }  // what there is to tell, for another process
  EmbeddedLogOptions log_options(rocksdb::Env* env = nullptr) const;
  ProjectionOptions projection_options(rocksdb::Env* env = nullptr) const;
};

// What was said to be done.
struct Told {
  std::array<std::int64_t, topic_count> ends{};  // acknowledged up to here (not included)
  Seq folded = 0;                                // the newest that a watcher was told
};

// Appends what comes next in each topic.
class Writer {
 public:
  using Acknowledged = std::function<void(Topic, std::int64_t offset)>;  // from the log's thread
  Writer(Log& log, const History& history, Acknowledged acknowledged)
      : log_(log), history_(history), acknowledged_(std::move(acknowledged)) {}

  // A session, from what is in the log now.
  Status open();
  // One more entry of some topic, once fewer than `open_max` are unanswered. False: the history is told,
  // or the session is over (settle() says why).
  bool append(sim::Prng& prng, int open_max);
  // Waits for all answers: the first error, if any.
  Status settle();

 private:
  struct Answers {
    std::mutex mutex;
    std::condition_variable changed;
    int open = 0;
    Status failed;
  };
  Log& log_;
  const History& history_;
  const Acknowledged acknowledged_;
  std::array<std::int64_t, topic_count> next_{};
  std::shared_ptr<Answers> answers_;
  std::unique_ptr<Producer> producer_;
};

Status caught_up(Projection& projection);

struct Found {
  double recovery_ms = 0;  // from the first touch until everything is folded
  std::int64_t records = 0;
  std::string rebuilt;  // why the projection was folded anew
};
// Opens log and projection as `serve` does. An error: what is wrong, in words. All that was told is there, once
// and in order; the projection went on from at least `folded` (0: wherever it was) and has the log's own digest,
// also as of the past.
Result<Found> check(const Place& place, const History& history, const Told& told, sim::Prng& prng,
                    rocksdb::Env* env = nullptr);

// What a trial was told to do, and its line on the terminal.
struct Trial {
  std::string name;
  std::uint64_t seed = 1;
  std::uint64_t count = 1;
  bool json = false;
  std::string folder;  // where it works; removed in the end, unless something was wrong

  // A new folder, and the history in it.
  Place place(std::uint64_t number, const History& history) const;
  void progress(std::uint64_t done, const std::string& words) const;
  // Ends it: exit code 0, or 1 with what was wrong and the command that does it again.
  int well(const std::string& json_fields, const std::string& words) const;
  int wrong(std::uint64_t round, const std::string& why) const;
};

// The trials, each an exit code.
int run_kills(const Trial& trial);
int run_disks(const Trial& trial);
int run_flips(const Trial& trial);
int run_copies(const Trial& trial);

}  // namespace reprise::fire
