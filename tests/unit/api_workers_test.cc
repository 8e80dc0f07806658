// The workers' two lanes: what is slow holds up neither what is not, nor another's.
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <vector>

#include "controlplane/api/worker_pool.h"
#include "tests/unit/api_catch.h"

namespace reprise::api {
namespace {

// Pieces of work that last until the test lets them go.
class Held {
 public:
  std::function<void()> work(std::string name) {
    return [this, name = std::move(name)] {
      std::unique_lock lock(mutex_);
      begun_.push_back(name);
      changed_.notify_all();
      changed_.wait(lock, [&] { return all_ || let_go_ == name; });
      if (!all_) let_go_.clear();
      changed_.notify_all();
    };
  }
  void let_go(const std::string& name) {
    std::unique_lock lock(mutex_);
    let_go_ = name;
    changed_.notify_all();
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return let_go_.empty(); }));
  }
  void let_all_go() {
    const std::lock_guard lock(mutex_);
    all_ = true;
    changed_.notify_all();
  }
  std::vector<std::string> begun(std::size_t count) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return begun_.size() >= count; }));
    return begun_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> begun_;
  std::string let_go_;
  bool all_ = false;
};

void answers(WorkerPool& pool) {
  std::promise<void> done;
  REQUIRE(pool.post([&] { done.set_value(); }));
  REQUIRE(done.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready);
}

}  // namespace

TEST_CASE("workers: the slow take all threads but one, each share half of these, in turn") {
  Held held;
  WorkerPool pool(3, 64);
  for (const char* name : {"a1", "a2", "a3"}) REQUIRE(pool.post_slow("a", held.work(name)));
  CHECK(held.begun(1) == std::vector<std::string>{"a1"});
  answers(pool);
  REQUIRE(pool.post_slow("b", held.work("b1")));
  CHECK(held.begun(2).back() == "b1");
  REQUIRE(pool.post_slow("c", held.work("c1")));
  answers(pool);
  held.let_go("b1");  // a has its half: c it is
  CHECK(held.begun(3).back() == "c1");
  held.let_go("a1");
  CHECK(held.begun(4).back() == "a2");
  answers(pool);
  held.let_all_go();
  CHECK(held.begun(5).back() == "a3");
}

TEST_CASE("workers: a share that asks for too much is told so, and others are not") {
  Held held;
  WorkerPool pool(2, 32);
  REQUIRE(pool.post_slow("a", held.work("a0")));
  held.begun(1);
  for (int i = 0; i < 4; ++i) REQUIRE(pool.post_slow("a", [] {}));
  CHECK_FALSE(pool.post_slow("a", [] {}));
  REQUIRE(pool.post_slow("b", [] {}));
  answers(pool);
  held.let_all_go();
}

TEST_CASE("workers: one thread does both, and after the end nothing is taken") {
  WorkerPool pool(1, 8);
  std::promise<void> done;
  REQUIRE(pool.post_slow("a", [&] { done.set_value(); }));
  done.get_future().wait();
  answers(pool);
  pool.stop();
  CHECK_FALSE(pool.post([] {}));
  CHECK_FALSE(pool.post_slow("a", [] {}));
}

}  // namespace reprise::api
