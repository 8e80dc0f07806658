// The simulated log: events/log.h in memory, in one thread and virtual time, with every fault that a real one
// can show and its callers must bear. Never calls back from within a call; what it draws comes from the seed
// alone.
//
// All clients share one SimLog; each is one simulated process, that can be paused (its callbacks wait; what
// it sent goes on its way: a zombie), cut off (nothing gets there or back), or killed (none of its callbacks
// runs ever again; of what it sent, a beginning may still be written).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "events/log.h"
#include "events/log_topics.h"
#include "tests/sim/prng.h"
#include "tests/sim/scheduler.h"

namespace reprise::sim {

// What goes wrong from now on. Chances are per mille, of each append unless said otherwise.
struct LogFaults {
  std::int64_t append_ms_min = 1;  // on the way to the log
  std::int64_t append_ms_max = 1;
  std::int64_t answer_ms_max = 0;  // and back: readers may see an entry before its producer knows
  unsigned timed_out = 0;        // the session ends: of what is open a beginning (none, some, all) is written
  std::int64_t late_ms_max = 0;  // … that much later, after others' appends and after its producer was told
  unsigned lost = 0;             // the session ends: unreachable, nothing of what is open is written
  bool full = false;             // the session ends: no_space, nothing is written
  unsigned duplicated_report = 0;  // of each report: it is there once more, later (an agent's retry)
  std::int64_t duplicate_ms_max = 1000;
  unsigned hole = 0;  // some offsets before it are left out
  std::int64_t hole_max = 5;
  unsigned end_fails = 0;       // of each end()
  std::int64_t end_ms_max = 0;  // how late end() answers; what it answers was true at some moment in between
  std::int64_t lag_ms_max = 0;  // how late each reader sees an entry
  std::int64_t behind_ms_max = 0;  // a new reader sees some beginning of the log, and the rest so much later
  unsigned short_poll = 0;      // of each poll: fewer entries than there are
  std::array<std::int64_t, topic_count> retention_ms = {-1, -1, -1, -1};  // -1: for ever
  std::int64_t deadline_ms = 10'000;                                      // a producer's own, and end's
  std::int64_t session_ms = 6'000;  // after which the group gives up on a candidate that is not heard
  bool all_elected = false;          // every candidate believes that it is the one
  unsigned struck = 0;               // of each call: its process is killed in it
};

struct Stored {
  std::int64_t offset = 0;
  std::int64_t at_ms = 0;
  Bytes bytes;
};

class SimLog {
 public:
  SimLog(Scheduler& scheduler, Prng prng);
  ~SimLog();

  // Read at every draw: change it at any moment.
  LogFaults& faults();

  // A process of that name; one of the same name that was killed before stays dead.
  std::unique_ptr<Log> client(const std::string& name);
  void pause(const std::string& name);
  void resume(const std::string& name);
  void cut(const std::string& name);
  void heal(const std::string& name);
  void kill(const std::string& name);
  // Told of a process that was killed in a call, by its name: later, and once.
  void on_struck(std::function<void(const std::string&)> told);
  // The group chooses another candidate, if there is one.
  void reelect();

  // For checkers, and for what does not go through a client.
  const std::deque<Stored>& stored(Topic topic) const;
  void write(Topic topic, Bytes bytes);
  // Retention: what is below goes, the last entry excepted.
  void cut_off(Topic topic, std::int64_t below);
  // What is appended to it from now on gets there so much later; the other topics go on.
  void hold_up(Topic topic, std::int64_t ms);
  bool is_held_up() const;
  // For so long its last entries are not there for who reads; a partition's next leader learns late of its end.
  void forget_end(Topic topic, std::int64_t entries, std::int64_t ms);
  // One byte of an entry changes under everyone's eyes.
  void corrupt(Topic topic, std::int64_t offset, std::size_t byte, std::uint8_t flip);

  struct Core;

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace reprise::sim
