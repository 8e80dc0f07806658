#include "tests/sim/clients.h"

#include <algorithm>
#include <cstdio>

#include "events/hash.h"
#include "events/print.h"
#include "events/refusal.h"

namespace reprise::sim {
namespace {
constexpr std::int64_t window_ms = 30'000;
constexpr int tries_max = 4;
constexpr std::int64_t given_up_ms = 600'000;
constexpr std::int64_t ask_time_every_ms = 5'000;
}  // namespace

Clients::Clients(Ground& ground, Actor admin, RoleId member, Folded told)
    : ground_(ground), prng_(ground.prng("clients")), workload_(admin, member, ground.prng("workload")), told_(std::move(told)) {
  client_ = ground_.log->client(client_name_ = "api.0");
  task_ = std::make_unique<Task>(ground_, [this] { return step(); });
  follower_ = std::make_unique<Follower>(ground_, *client_, [this] { task_->wake(); });
  task_->wake();
}

void Clients::open() {
  for (auto& intent : workload_.opening()) dispatch(std::move(intent), 1);
}

void Clients::ask(std::uint64_t number) {
  for (auto& intent : workload_.draw(ground_.prng("wish" + std::to_string(number)), follower_->state())) dispatch(std::move(intent), 1);
}

std::string Clients::ask(Intent intent) {
  dispatch(std::move(intent), 1);
  return "k" + std::to_string(sent_);
}

void Clients::declare_dead(NodeId node) {
  Intent intent;
  intent.user = admin().user;
  intent.project = admin().project;
  intent.object = node.as<AnyId>();
  intent.set(DeclareNodeDead{.id = node});
  dispatch(std::move(intent), tries_max);
}

bool Clients::waits_about(AnyId object) const {
  return std::ranges::any_of(waiting_, [&](const auto& one) { return one.second.object == object; });
}

void Clients::restart_api() {
  ground_.log->kill(client_name_);
  producer_.reset();
  client_ = ground_.log->client(client_name_ = "api." + std::to_string(++lives_));
  follower_->reopen(*client_);
  task_->wake();
  std::vector<Asked> again;
  for (auto& [id, asked] : waiting_)
    if (asked.tries < tries_max) again.push_back(asked), asked.tries = tries_max;
  for (const auto& asked : again) dispatch(std::move(*decode_intent(asked.body)), asked.tries + 1);
}

void Clients::pause(bool paused) {
  if (paused) ground_.log->pause(client_name_);
  else ground_.log->resume(client_name_);
  task_->pause(paused);
}

std::int64_t Clients::step() {
  follower_->pump([this](const Step& step, const State::Touched&) {
    folded(step);
    told_(step, follower_->state());
  });
  // What log time has passed without a decision was not done: asked again under the same key, or given up.
  std::vector<IntentId> expired;
  for (const auto& [id, asked] : waiting_)
    if (asked.expires_ms < follower_->head().at_ms) expired.push_back(id);
  for (const auto& id : expired) {
    const Asked asked = waiting_.at(id);
    waiting_.erase(id);
    said_not_done_.insert(id);
    if (asked.tries < tries_max) dispatch(std::move(*decode_intent(asked.body)), asked.tries + 1);
  }
  const Now now = ground_.now();
  // Where clocks have jumped, log time takes days to get there: the client is told that nobody knows.
  std::erase_if(waiting_, [&](const auto& one) { return now.steady_ms > one.second.sent_ms + given_up_ms; });
  const bool stale = std::ranges::any_of(waiting_, [&](const auto& one) { return now.steady_ms > one.second.sent_ms + window_ms; });
  if (stale && now.steady_ms >= ask_time_ms_) {
    // An idle log: only a later record can prove that nothing was done.
    ask_time_ms_ = now.steady_ms + ask_time_every_ms;
    Intent intent;
    intent.set(AskTime{.asked_ms = now.wall_ms});
    dispatch(std::move(intent), tries_max);
  }
  return now.steady_ms + (follower_->reading() ? ask_time_every_ms : follower_retry_ms);
}

void Clients::folded(const Step& step) {
  ground_.mix(step.record.seq);
  ground_.mix(static_cast<std::uint64_t>(step.record.at_ms));
  for (const Decision& decision : step.record.decisions) {
    if (ground_.trace)
      for (const auto& event : decision.events)
        std::printf("%10ld %6lu %s\n", static_cast<long>(ground_.queue.now_ms()), static_cast<unsigned long>(step.record.seq), print_words(event).c_str());
    if (decision.cause != Cause::intent) continue;
    if (const auto intent = decode_intent(decision.intent)) decided(*intent, decision, step.record.at_ms);
  }
}

void Clients::decided(const Intent& intent, const Decision& decision, std::int64_t at_ms) {
  if (!decided_.insert(intent.id).second) ground_.violate("intent " + intent.id.str() + " was decided twice");
  waiting_.erase(intent.id);
  if (decision.events.size() == 1 && decision.events[0].is<IntentRefused>()) return;
  if (said_not_done_.contains(intent.id)) ground_.violate("intent " + intent.id.str() + " was done after its client was told that it was not");
  if (intent.key.empty()) return;
  const auto [first, is_first] = effects_.emplace(intent.key, at_ms);
  if (!is_first && at_ms <= first->second + client_key_kept_ms) ground_.violate("key " + intent.key + " took effect twice");
}

void Clients::dispatch(Intent intent, int tries) {
  intent.id = AnyId{prng_.next(), prng_.next()}.as<IntentId>();
  intent.sent_ms = ground_.now().wall_ms;
  intent.expires_ms = std::max(ground_.now().wall_ms, follower_->head().at_ms) + window_ms;
  if (intent.key.empty() && intent.type() != IntentType::AskTime) intent.key = "k" + std::to_string(++sent_);
  intent.body_hash = blake2b(intent.key);
  if (tries == 1 && prng_.chance(impatient_)) {
    // One that does not wait for its answer asks again under the same key, at once or much later.
    ++to_ask_again_;
    ground_.queue.at(ground_.queue.now_ms() + prng_.between(0, prng_.chance(300) ? 60'000 : 500),
                     [this, again = intent]() mutable { --to_ask_again_, dispatch(std::move(again), 2); });
  }
  const Bytes body = encode(intent);
  waiting_[intent.id] = {body, intent.object, intent.expires_ms, ground_.now().steady_ms, tries};
  append(body);
}

void Clients::append(Bytes intent) {
  if (*producer_failed_ || !producer_) {
    producer_.reset();
    auto opened = client_->open_producer();
    producer_failed_ = std::make_shared<bool>(!opened);
    if (opened) producer_ = std::move(*opened);
  }
  if (producer_)
    producer_->append(Topic::intents, std::move(intent), [failed = producer_failed_](Result<std::int64_t> offset) {
      if (!offset) *failed = true;
    });
}

}  // namespace reprise::sim
