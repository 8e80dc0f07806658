// Checkpoints of a running server's projection: on a schedule by records, and when asked (POST /checkpoint).
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "controlplane/api/service.h"
#include "projections/checkpoint.h"
#include "projections/runner.h"

namespace reprise::cli {

class Checkpoints {
 public:
  struct Options {
    std::string folder;
    std::uint64_t every_records = 0;  // 0: only when asked
    std::size_t keep = 2;
  };
  // The projection outlives it.
  Checkpoints(Projection& projection, Options options, std::function<void(const std::string&)> say);
  ~Checkpoints();  // after the one under way

  // Makes one and drops what is too old. Blocks: never on an I/O thread.
  Result<Checkpoint> make();

 private:
  void run();

  Projection& projection_;
  const Options options_;
  const std::function<void(const std::string&)> say_;
  std::mutex making_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Seq last_ = 0;  // of the newest checkpoint, or of where this process began
  bool due_ = false;
  bool ending_ = false;
  Projection::WatchId watch_ = 0;
  std::thread thread_;
};

void register_checkpoint_route(api::Api& api, Checkpoints& checkpoints);

}  // namespace reprise::cli
