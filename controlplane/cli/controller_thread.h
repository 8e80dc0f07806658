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
  // Begins at the projection's head, with a state of its own.
  ControllerThread(Log& log, const Projection& projection, Controller::Options options,
                   std::function<void(const std::string&)> say);
  ~ControllerThread();  // stop()
  void stop();

  struct Status {
    Controller::Status controller;
    Head head;
  };
  Status status() const;

 private:
  // What the projection folded before: the controller itself remembers what it has seen since.
  class FoldedBefore final : public SeenHashes {
   public:
    explicit FoldedBefore(const Projection& projection) : projection_(projection) {}
    bool contains(const Hash& hash) const override { return projection_.view().seq_of(hash).has_value(); }

   private:
    const Projection& projection_;
  };

  void run();

  const FoldedBefore folded_before_;
  const std::function<void(const std::string&)> say_;
  Wakeup wakeup_;
  std::unique_ptr<Controller> controller_;
  std::atomic<bool> ending_ = false;
  mutable std::mutex mutex_;
  Status status_;
  std::thread thread_;
};

}  // namespace reprise::cli
