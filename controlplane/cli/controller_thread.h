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

  Log& log_;
  Projection& projection_;
  Controller::Options options_;
  const FoldedBefore folded_before_;
  const std::function<void(const std::string&)> say_;
  // Shared with the log, which may answer when the controller is gone.
  const std::shared_ptr<Wakeup> wakeup_ = std::make_shared<Wakeup>();
  std::unique_ptr<Controller> controller_;
  std::atomic<bool> ending_ = false;
  mutable std::mutex mutex_;
  Status status_;
  std::thread thread_;
};

}  // namespace reprise::cli
