#include "agents/core/agent_host.h"

#include <sodium/randombytes.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <queue>
#include <shared_mutex>
#include <thread>
#include <unordered_map>

namespace reprise {
namespace {

constexpr std::size_t compute_workers = 64, storage_workers = 4;
constexpr std::chrono::seconds goodbye_patience{5};

std::int64_t steady_now_ms() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

std::uint64_t random_64() {
  std::uint64_t value = 0;
  randombytes_buf(&value, sizeof value);
  return value;
}

// A thread that calls `step(i)` for each of its items when the item is woken or its time has come.
class Wheel {
 public:
  using StepItem = std::function<std::int64_t(std::size_t item, std::int64_t steady_ms)>;

  explicit Wheel(StepItem step) : step_(std::move(step)) {}
  ~Wheel() { stop(); }

  std::size_t add() {
    std::lock_guard lock(mutex_);
    due_.push_back(0);
    woken_.push_back(false);
    return due_.size() - 1;
  }
  void start() {
    std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < due_.size(); ++i) queue_.emplace(0, i);
    thread_ = std::thread([this] { run(); });
  }
  void stop() {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  void wake(std::size_t item) {
    {
      std::lock_guard lock(mutex_);
      if (woken_[item]) return;
      woken_[item] = true;
      ready_.push_back(item);
    }
    changed_.notify_one();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!ending_) {
      const std::int64_t now = steady_now_ms();
      while (!queue_.empty() && queue_.top().first <= now) {
        const auto [at, item] = queue_.top();
        queue_.pop();
        if (due_[item] == at && !woken_[item]) woken_[item] = true, ready_.push_back(item);
      }
      if (ready_.empty()) {
        if (queue_.empty()) changed_.wait(lock);
        else changed_.wait_for(lock, std::chrono::milliseconds(queue_.top().first - now));
        continue;
      }
      const std::size_t item = ready_.front();
      ready_.erase(ready_.begin());
      woken_[item] = false;
      lock.unlock();
      const std::int64_t next = step_(item, steady_now_ms());
      lock.lock();
      due_[item] = next;
      queue_.emplace(next, item);
    }
  }

  using Due = std::pair<std::int64_t, std::size_t>;
  const StepItem step_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::int64_t> due_;
  std::vector<bool> woken_;
  std::deque<std::size_t> ready_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> queue_;
  bool ending_ = false;
  std::thread thread_;
};

// Lets callbacks of others in until it is closed; none runs any more once close() returns.
class Gate {
 public:
  template <class F>
  void run(F&& f) {
    std::shared_lock lock(mutex_);
    if (!closed_) f();
  }
  void close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
  }

 private:
  std::shared_mutex mutex_;
  bool closed_ = false;
};

}  // namespace

// Where the actions of a node's agents are carried out. An image is copied by few at once, a guest waits for nobody.
struct NodeWorkers {
  NodeWorkers(const compute::Driver& compute, const storage::Driver& storage, const network::Driver& network) {
    if (compute.blocks()) threads[0] = std::make_unique<WorkerThreads>(compute_workers);
    if (storage.blocks()) threads[1] = std::make_unique<WorkerThreads>(storage_workers);
    if (network.blocks()) threads[2] = std::make_unique<WorkerThreads>(1);
  }
  Workers* of(std::size_t kind) { return threads[kind] ? static_cast<Workers*>(threads[kind].get()) : &in_place; }

  InPlace in_place;
  std::unique_ptr<WorkerThreads> threads[3];
};

struct AgentHost::Inner {
  Inner(Log& log, AgentSource source, ReconcilerOptions options, std::function<void(const std::string&)> say)
      : log(log), source(std::move(source)), options(options), say(std::move(say)) {}

  std::int64_t tick(std::size_t item, std::int64_t now) {
    refresh(item);
    return nodes[item]->tick(now);
  }
  std::int64_t step(AgentKind kind, std::size_t item, std::int64_t now) { return nodes[item]->loop(kind).step(now); }

  // A view for a node that was touched since it had one.
  void refresh(std::size_t item) {
    std::lock_guard lock(*refreshing[item]);  // who comes second finds the view of who came first in place
    if (!stale[item]->exchange(false)) return;
    source.with_state([&](const State& state, const Head& head) { nodes[item]->update(state, head); });
  }
  void wake_loops(std::size_t item) {
    compute.wake(item);
    storage.wake(item);
    network.wake(item);
  }

  Log& log;
  const AgentSource source;
  const ReconcilerOptions options;
  const std::function<void(const std::string&)> say;
  const std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  // Before the nodes, whose readers and producers wake them up to their own end.
  Wheel ticks{[this](std::size_t item, std::int64_t now) { return tick(item, now); }};
  Wheel compute{[this](std::size_t item, std::int64_t now) { return step(AgentKind::compute, item, now); }};
  Wheel storage{[this](std::size_t item, std::int64_t now) { return step(AgentKind::storage, item, now); }};
  Wheel network{[this](std::size_t item, std::int64_t now) { return step(AgentKind::network, item, now); }};
  std::vector<std::unique_ptr<NodeWorkers>> workers;
  std::vector<std::unique_ptr<NodeAgent>> nodes;
  std::vector<std::unique_ptr<std::atomic<bool>>> stale;
  std::vector<std::unique_ptr<std::mutex>> refreshing;
  std::unordered_map<NodeId, std::size_t> by_id;
  bool stopped = false, hangs = false;
};

AgentHost::AgentHost(Log& log, AgentSource source, ReconcilerOptions options, std::function<void(const std::string&)> say)
    : inner_(std::make_unique<Inner>(log, std::move(source), options, std::move(say))) {}

AgentHost::~AgentHost() { stop(); }

void AgentHost::add(NodeFacts facts, compute::Driver& compute, storage::Driver& storage, network::Driver& network) {
  Inner& inner = *inner_;
  const std::size_t item = inner.ticks.add();
  inner.compute.add();
  inner.storage.add();
  inner.network.add();
  inner.stale.push_back(std::make_unique<std::atomic<bool>>(true));
  inner.refreshing.push_back(std::make_unique<std::mutex>());
  inner.by_id[facts.id] = item;
  inner.workers.push_back(std::make_unique<NodeWorkers>(compute, storage, network));
  NodeWorkers& workers = *inner.workers.back();
  NodeAgent::Ports ports{.log = &inner.log, .random = random_64,
                         .confirm = [&inner, item](std::function<void(Status)> done) {
                           // The projection outlives the host, and may call back when that is gone.
                           inner.source.fresh([&inner, item, gate = inner.gate, done = std::move(done)](Status status) {
                             gate->run([&] {
                               // What was folded is seen before it counts as confirmed.
                               if (status) inner.refresh(item);
                               done(std::move(status));
                             });
                           });
                         },
                         .wake = [&inner, item] { inner.ticks.wake(item); },
                         .wake_loops = [&inner, item, gate = inner.gate] { gate->run([&] { inner.wake_loops(item); }); },
                         .workers = {workers.of(0), workers.of(1), workers.of(2)},
                         .say = inner.say};
  inner.nodes.push_back(std::make_unique<NodeAgent>(std::move(ports), std::move(facts), inner.options, compute, storage, network));
}

void AgentHost::start() {
  inner_->ticks.start();
  inner_->compute.start();
  inner_->storage.start();
  inner_->network.start();
}

bool AgentHost::stop() {
  if (inner_->stopped) return !inner_->hangs;
  inner_->stopped = true;
  inner_->ticks.stop();
  inner_->compute.stop();
  inner_->storage.stop();
  inner_->network.stop();
  for (auto& workers : inner_->workers)
    for (auto& threads : workers->threads)
      if (threads && !threads->end(inner_->hangs ? std::chrono::seconds(0) : goodbye_patience)) inner_->hangs = true;
  inner_->gate->close();
  return !inner_->hangs;
}

void AgentHost::changed(const State::Touched& touched, bool claimed) {
  Inner& inner = *inner_;
  const auto mark = [&](std::size_t item) {
    inner.stale[item]->store(true);
    inner.ticks.wake(item);
  };
  if (touched.all || claimed) {
    for (std::size_t item = 0; item < inner.nodes.size(); ++item) mark(item);
    return;
  }
  for (const auto& id : touched.nodes) {
    const auto at = inner.by_id.find(id);
    if (at != inner.by_id.end()) mark(at->second);
  }
}

std::vector<AgentHost::NodeStatus> AgentHost::status() const {
  std::vector<NodeStatus> all;
  for (const auto& node : inner_->nodes)
    all.push_back({.facts = node->facts(), .incarnation = node->board().incarnation(),
                   .reports_waiting = node->outbox().waiting(), .compute = node->loop(AgentKind::compute).status(),
                   .storage = node->loop(AgentKind::storage).status(), .network = node->loop(AgentKind::network).status(),
                   .stopped = node->stopped()});
  return all;
}

}  // namespace reprise
