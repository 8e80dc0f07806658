#include "tests/sim/processes.h"

#include <cstdio>

#include "events/print.h"

namespace reprise::sim {
namespace {

constexpr std::int64_t idle_ms = 3'600'000;  // the log wakes it

}  // namespace

void Ground::say(const std::string& who, const std::string& text) const {
  if (trace) std::printf("%10ld %s: %s\n", static_cast<long>(queue.now_ms()), who.c_str(), text.c_str());
}

Follower::Follower(Ground& ground, Log& log, std::function<void()> wake, Projected stored)
    : ground_(ground), log_(&log), wake_(std::move(wake)), stored_(std::move(stored)) {}

void Follower::reopen(Log& log) {
  reader_.reset();
  log_ = &log;
}

void Follower::pump(const std::function<void(const Step&, const State::Touched&)>& folded) {
  if (!broken_.empty()) return;
  if (!reader_) {
    auto opened = log_->open_reader(Topic::events, stored_.head.offset + 1, wake_);
    if (!opened) return;
    reader_ = std::move(*opened);
  }
  for (;;) {
    auto entries = reader_->poll(64);
    if (!entries && entries.error().code == Errc::not_found) reader_.reset();  // and opened again, after a while
    if (!entries || entries->empty()) return;
    for (const auto& entry : *entries) {
      const Step step = read_step(stored_.head, stored_.seen, entry);
      if (step.verdict == Verdict::broken) {
        broken_ = step.why;
        return ground_.violate("a reader found the log broken: " + step.why);
      }
      stored_.seen.add(step.hash);
      if (step.verdict == Verdict::is_void) {
        ++voids_;
        continue;
      }
      if (auto status = apply_step(stored_.state, stored_.head, step); !status) {
        broken_ = status.error().text;
        return ground_.violate("replay differs: " + status.error().text);
      }
      folded(step, stored_.state.take_touched());
    }
  }
}

// ---- controllers

ControllerProcess::ControllerProcess(Ground& ground, std::string name)
    : ground_(ground), name_(std::move(name)), prng_(ground.prng(name_)) {}

void ControllerProcess::start() {
  if (controller_) return;
  client_name_ = name_ + "." + std::to_string(++lives_);
  client_ = ground_.log->client(client_name_);
  task_ = std::make_unique<Task>(ground_, [this] {
    Now now = ground_.now();
    now.wall_ms += skew_ms_;
    return controller_->step(now);
  });
  Controller::Ports ports{.log = client_.get(), .random = [this] { return prng_.next(); },
                          .wake = [task = task_.get()] { task->wake(); },
                          .say = [this](const std::string& text) { ground_.say(name_, text); }};
  State state(false, true);
  Head head;
  if (ground_.api && !prng_.chance(store_lost_permille)) {  // its process has a projection, which may know more than it sees yet
    state = ground_.api->state().copy(false, true);
    head = ground_.api->head();
    ports.seen_before = &ground_.api->seen();
  }
  controller_ = std::make_unique<Controller>(std::move(ports), Controller::Options{.host = name_}, std::move(state), head);
  task_->wake();
}

void ControllerProcess::kill() {
  if (!controller_) return;
  ground_.log->kill(client_name_);
  controller_.reset();
  task_.reset();
  client_.reset();
}

void ControllerProcess::pause(bool paused) {
  if (!controller_) return;
  if (paused) ground_.log->pause(client_name_);
  else ground_.log->resume(client_name_);
  task_->pause(paused);
}

// ---- nodes

bool SimWorkers::run(std::function<Status()> work, std::function<void(Status)> done, bool urgent) {
  if (!urgent && *under_way_ >= most) return false;
  const std::int64_t hangs = hang_ms_();
  if (!hangs && prng_.chance(700)) return done(work()), true;
  ++*under_way_;
  const std::int64_t at = ground_.queue.now_ms() + (hangs ? hangs : prng_.between(1, ground_.work_ms_max));
  const auto result = std::make_shared<std::optional<Status>>();
  if (prng_.chance(500)) *result = work();
  ground_.queue.at(at, [life = life_, under_way = under_way_, result, work = std::move(work), done = std::move(done)] {
    if (!*life) return;
    --*under_way;
    if (!*result) *result = work();
    done(std::move(**result));
  });
  return true;
}

NodeProcess::NodeProcess(Ground& ground, NodeFacts facts, std::shared_ptr<SimulatedDisks> disks, SimulatedHost::Hooks hooks)
    : ground_(ground), facts_(std::move(facts)), prng_(ground.prng(facts_.name)),
      host_(facts_.boot_id, std::move(disks), facts_.id, std::move(hooks)) {}

void NodeProcess::start() {
  if (agent_ || (held_ && !cut_)) return;
  client_name_ = facts_.name + "." + std::to_string(++lives_);
  ground_.say(client_name_, "started");
  client_ = ground_.log->client(client_name_);
  if (cut_) ground_.log->cut(client_name_);
  life_ = std::make_shared<bool>(true);
  pump_ = std::make_unique<Task>(ground_, [this] { return pump(), ground_.queue.now_ms() + (follower_->reading() ? idle_ms : follower_retry_ms); });
  follower_ = std::make_unique<Follower>(ground_, *client_, [task = pump_.get()] { task->wake(); },
                                         prng_.chance(store_lost_permille) ? Projected{} : std::move(stored_));
  for (int kind = 0; kind < 3; ++kind)
    workers_[kind] = std::make_unique<SimWorkers>(ground_, prng_.fork("workers"), [this, kind] { return hang_ms(static_cast<AgentKind>(kind)); }, life_);
  tick_ = std::make_unique<Task>(ground_, [this] { return agent_->tick(ground_.queue.now_ms()); });
  for (int kind = 0; kind < 3; ++kind)
    loops_[kind] = std::make_unique<Task>(ground_, [this, kind] {
      const std::int64_t now = ground_.queue.now_ms();
      if (now < hangs_until_[kind]) return hangs_until_[kind];
      const std::int64_t next = agent_->loop(static_cast<AgentKind>(kind)).step(now);
      return next <= now ? now + work_ms() : next;
    });
  const auto wake_loops = [this, life = life_] {
    if (!*life) return;
    for (auto& loop : loops_) loop->wake(work_ms());
  };
  NodeAgent::Ports ports{.log = client_.get(), .random = [this] { return prng_.next(); },
                         .confirm = [this, life = life_](std::function<void(Status)> done) {
                           client_->end(Topic::events, [this, life, done = std::move(done)](Result<std::int64_t> end) {
                             if (!*life) return;
                             if (!end) return done(end.error());
                             confirming_.push_back({*end, done});
                             pump_->wake();
                           });
                         },
                         .wake = [this, life = life_] { if (*life) tick_->wake(); },
                         .wake_loops = wake_loops,
                         .workers = {workers_[0].get(), workers_[1].get(), workers_[2].get()},
                         .say = [this](const std::string& text) { ground_.say(facts_.name, text); }};
  agent_ = std::make_unique<NodeAgent>(std::move(ports), facts_, ReconcilerOptions{}, host_.compute(), host_.storage(), host_.network());
  if (follower_->head().seq) agent_->update(follower_->state(), follower_->head());
  pump_->wake();
  tick_->wake(1);
}

void NodeProcess::pump() {
  bool touched = false;
  follower_->pump([&](const Step& step, const State::Touched& nodes) {
    touched = touched || nodes.all || nodes.nodes.contains(facts_.id) || is_claim(step.record);
  });
  if (touched) agent_->update(follower_->state(), follower_->head());
  auto waiting = std::exchange(confirming_, {});
  for (auto& one : waiting) {
    if (follower_->position() >= one.end) one.done({});
    else confirming_.push_back(std::move(one));
  }
}

void NodeProcess::kill() {
  if (!agent_) return;
  ground_.say(client_name_, "killed");
  *life_ = false;
  ground_.log->kill(client_name_);
  host_.compute().on_change({});
  host_.storage().on_change({});
  host_.network().on_change({});
  for (auto& loop : loops_) loop.reset();
  tick_.reset();
  pump_.reset();
  agent_.reset();
  for (auto& one : workers_) one.reset();
  stored_ = follower_->take();
  follower_.reset();
  confirming_.clear();
  client_.reset();
}

void NodeProcess::cut(bool off) {
  if (held_) return;
  cut_ = off;
  if (!agent_) return;
  if (off) ground_.log->cut(client_name_);
  else ground_.log->heal(client_name_);
}

void NodeProcess::pause(bool paused) {
  if (!agent_) return;
  if (paused) ground_.log->pause(client_name_);
  else ground_.log->resume(client_name_);
  for (auto* task : {&pump_, &tick_, &loops_[0], &loops_[1], &loops_[2]}) (*task)->pause(paused);
}

void NodeProcess::let_go() {
  held_ = false;
  cut(false);
  start();
}

void NodeProcess::restart_host() {
  kill();
  facts_.boot_id = facts_.name + "-boot-" + std::to_string(++boots_);
  host_.restart(facts_.boot_id);
}

}  // namespace reprise::sim
