// Verifies the log of a running cloud in the background, again and again: with its own reader and its own
// state from zero up to the head, every record's bytes, chain and digest, as `reprise verify` does it; and
// that each is the record that was folded here. One thread of the lowest priority, which takes no more than
// its share of one core.
//
// Progress is kept in a file: after a restart it goes on from the last verified record, whose state is loaded
// from the projection's history and must have the digest that was verified. What is found is said, shown by
// `status` and in /metrics, and looked for again in the next round; the cloud goes on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "controlplane/story/status.h"
#include "projections/runner.h"

namespace prometheus {
class Registry;
}

namespace reprise::cli {

struct LogPatrolOptions {
  double cpu_share = 0.05;                                   // of one core; more than 0, at most 1
  std::chrono::milliseconds pause = std::chrono::hours(24);  // from the end of a round to the next
  std::chrono::milliseconds retry{
      5'000};  // first pause after a log that does not answer; doubles up to 60 times it
  std::chrono::milliseconds save_every{30'000};
  std::string file;  // of the progress
};

class LogPatrol {
 public:
  LogPatrol(Log& log, const Projection& projection, LogPatrolOptions options,
            std::function<void(const std::string&)> say);
  ~LogPatrol();  // stop()
  // Keeps how far it came, and ends.
  void stop();
  story::VerificationLine status() const;

 private:
  struct Round;

  void run();
  // Up to the head of now. broken: what is found; unreachable, timed_out, …: the log does not answer.
  Status go_round();
  Status begin_round();
  Status resume(Seq seq);
  Status take(const Entry& entry, const View& folded);
  Status await_entries(Reader& reader, std::vector<Entry>& entries);
  void end_round(const Status& found);
  void pace(std::chrono::nanoseconds cpu);
  // False: it is to end.
  bool rest(std::chrono::nanoseconds pause);
  bool stopping() const;
  void load();
  void save();

  Log& log_;
  const Projection& projection_;
  const LogPatrolOptions options_;
  const std::function<void(const std::string&)> say_;
  std::unique_ptr<Round> round_;  // of the thread alone

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool rung_ = false;  // the log woke the reader
  story::VerificationLine status_;
  std::thread thread_;
};

// reprise_verification{value=…} in /metrics.
void count(prometheus::Registry& registry, const story::VerificationLine& verification);

}  // namespace reprise::cli
