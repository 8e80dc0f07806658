// Where an agent's actions are carried out: beside its loop, so that one that hangs holds up nothing else.
//
// Promises: run() never waits. `done` is called once, on any thread, maybe before run() returns. WorkerThreads gives each
// action a thread of its own; one that never returns is left to itself at the end, and whoever owns what it works on must
// then not destroy that (end() says so).
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "events/result.h"

namespace reprise {

class Workers {
 public:
  virtual ~Workers() = default;
  // False: as many as may be are at work; nothing was begun. `urgent`: begun however many there are (a fence, a forced stop).
  virtual bool run(std::function<Status()> work, std::function<void(Status)> done, bool urgent = false) = 0;
};

// In the caller's own time: for drivers that never block.
class InPlace final : public Workers {
 public:
  bool run(std::function<Status()> work, std::function<void(Status)> done, bool) override { return done(work()), true; }
};

class WorkerThreads final : public Workers {
 public:
  explicit WorkerThreads(std::size_t most);
  ~WorkerThreads() override;
  bool run(std::function<Status()> work, std::function<void(Status)> done, bool urgent) override;
  // Begins nothing more, and waits for those at work. False: some had not ended after `patience`.
  bool end(std::chrono::milliseconds patience);

 private:
  struct Shared;
  const std::size_t most_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace reprise
