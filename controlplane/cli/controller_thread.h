// Drives a Controller (controlplane/controller.h): one thread, woken by the log and by its deadlines.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "controlplane/cli/wakeup.h"
#include "controlplane/controller.h"
#include "projections/runner.h"

namespace reprise::cli {

class ControllerThread {
 public:
  // Begins once the projection has read what there is, at its head, with a state of its own: to fold a long log
  // twice at once would help neither.
  ControllerThread(Log& log, Projection& projection, Controller::Options options,
                   std::function<void(const std::string&)> say);
  ~ControllerThread();  // stop()
  void stop();

  struct Status {
    Controller::Status controller;
    Head head;
  };
  Status status() const;
  // Empty: it leads. Else why not; where nobody else can lead, nobody does.
  std::string why_not_leading() const;

 private:
  // What the projection folded before: the controller itself remembers what it has seen since.
  class FoldedBefore final : public SeenHashes {
   public:
    explicit FoldedBefore(const Projection& projection) : projection_(projection) {}
    bool contains(const Hash& hash) const override { return projection_.view().seq_of(hash).has_value(); }

   private:
    const Projection& projection_;
  };

  bool projection_is_there();
  void run();
  void tell_of_leader(std::int64_t steady_ms, std::int64_t& next_ms);

  Log& log_;
  Projection& projection_;
  Controller::Options options_;
  const FoldedBefore folded_before_;
  const std::function<void(const std::string&)> say_;
  // Shared with the log, which may answer when the controller is gone.
  const std::shared_ptr<Wakeup> wakeup_ = std::make_shared<Wakeup>();
  std::unique_ptr<Controller> controller_;
  std::atomic<bool> ending_ = false;
  std::atomic<bool> leading_ = false;
  std::int64_t not_leading_ms_ = 0;            // steady: since then; 0: it leads, or another does
  std::string told_;                           // of why nobody leads; empty: nothing was told
  mutable std::mutex mutex_;
  Status status_;
  std::thread thread_;
};

}  // namespace reprise::cli
