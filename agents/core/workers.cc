#include "agents/core/workers.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace reprise {

struct WorkerThreads::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t at_work = 0;
  bool ending = false;
};

WorkerThreads::WorkerThreads(std::size_t most) : most_(most), shared_(std::make_shared<Shared>()) {}

WorkerThreads::~WorkerThreads() { end({}); }

bool WorkerThreads::run(std::function<Status()> work, std::function<void(Status)> done, bool urgent) {
  {
    std::lock_guard lock(shared_->mutex);
    if (shared_->ending || (!urgent && shared_->at_work >= most_)) return false;
    ++shared_->at_work;
  }
  std::thread([shared = shared_, work = std::move(work), done = std::move(done)] {
    done(work());
    std::lock_guard lock(shared->mutex);
    --shared->at_work;
    shared->changed.notify_all();
  }).detach();
  return true;
}

bool WorkerThreads::end(std::chrono::milliseconds patience) {
  std::unique_lock lock(shared_->mutex);
  shared_->ending = true;
  return shared_->changed.wait_for(lock, patience, [this] { return shared_->at_work == 0; });
}

}  // namespace reprise
