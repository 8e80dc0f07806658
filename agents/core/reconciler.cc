#include "agents/core/reconciler.h"

#include <fmt/format.h>

#include <algorithm>

namespace reprise {
namespace {

constexpr std::int64_t idle_ms = 30'000;        // look again although nothing called
constexpr std::int64_t confirm_wait_ms = 1'000;
constexpr std::int64_t backoff_ms_min = 250, backoff_ms_max = 15'000;
constexpr std::uint32_t transient_attempts_max = 8;
constexpr std::int64_t forced_after_ms = 5'000;    // an action that hangs is not waited for by one that ends its guest
constexpr std::int64_t silent_after_ms = 30'000;   // a guest whose QEMU does not answer: a busy machine may take a while
constexpr std::int64_t trouble_after_ms = 10'000;  // a daemon that restarts is no trouble
constexpr std::int64_t trouble_again_ms = 60'000;  // whose words change all the time

std::int64_t backoff(std::uint32_t attempts) {
  return std::min(backoff_ms_max, backoff_ms_min << std::min(attempts, 6u));
}

// Worth trying again before it is called an error: a daemon that restarts, a time-out.
bool is_transient(Errc code) { return code == Errc::unreachable || code == Errc::timed_out; }

// Orders that are carried out, whoever did it.
template <class Have>
std::vector<FenceSeen> fences_seen(const Assignment& want, const Have& have) {
  std::vector<FenceSeen> seen;
  if constexpr (std::is_same_v<Have, storage::Have>)
    for (const auto& [node, wished] : want.fences)
      if (have.shuts_out(node, wished.identity)) seen.push_back({.node = node, .identity = wished.identity, .lost = wished.lost});
  return seen;
}

// Another amount of room than was said is news when it is a hundredth more or less: an idle node says nothing.
bool is_another_room(std::uint64_t said, std::uint64_t now) {
  const std::uint64_t apart = said > now ? said - now : now - said;
  return now != 0 && (said == 0 || apart >= std::max<std::uint64_t>(1, said / 100));
}

// The first of its disks that is needed for this step and was not seen; nothing: all are there.
std::optional<AnyId> lacking_disk(const compute::Action& action, const DisksSeen& seen) {
  const auto is_there = [&](const compute::DiskLink& disk) { return seen.disks.contains({disk.id, disk.born}); };
  if (action.step == compute::Step::attach_disk) return is_there(action.disk) ? std::nullopt : std::optional(action.disk.id);
  if (action.step != compute::Step::start) return std::nullopt;
  for (const auto& disk : action.server.disks)
    if (!is_there(disk)) return disk.id;
  return std::nullopt;
}

}  // namespace

template <class Kind>
std::set<AnyId> Reconciler<Kind>::waiting_now(std::int64_t steady_ms, std::int64_t& next) const {
  std::set<AnyId> skip;
  for (const auto& [key, waiting] : waiting_) {
    if (waiting.until_ms <= steady_ms) continue;
    skip.insert(key);
    next = std::min(next, waiting.until_ms);
  }
  for (const auto& [ticket, flight] : flights_) skip.insert(Kind::key(flight.action));
  return skip;
}

template <class Kind>
void Reconciler<Kind>::put_off(const Action& action, const Status& result, std::int64_t steady_ms) {
  Waiting& waiting = waiting_[Kind::key(action)];
  if (waiting.since != Kind::since(action)) waiting = {.since = Kind::since(action)};
  waiting.until_ms = steady_ms + backoff(waiting.attempts++);
  // `again` is no failure: a guest was asked and takes its time.
  if (result || result.error().code == Errc::again) return;
  if (!is_transient(result.error().code) || waiting.attempts > transient_attempts_max) waiting.error = result.error().text;
  std::lock_guard lock(status_mutex_);
  ++status_.failures;
  status_.last_error = fmt::format("{}: {}", Kind::words(action), result.error().text);
}

// ---- actions under way

template <class Kind>
bool Reconciler<Kind>::begin(const Action& action, std::int64_t steady_ms, bool forced) {
  const std::uint64_t ticket = next_ticket_++;
  flights_.emplace(ticket, Flight{.action = action, .begun_ms = steady_ms, .forced = forced});
  {
    std::lock_guard lock(results_->mutex);
    results_->wakes = false;
  }
  const bool begun = workers_.run([&driver = driver_, action] { return driver.perform(action); },
                                  [results = results_, wake = wake_, ticket](Status result) {
                                    std::unique_lock lock(results->mutex);
                                    results->ended.push_back({ticket, std::move(result)});
                                    const bool wakes = results->wakes;
                                    lock.unlock();
                                    if (wakes) wake();
                                  },
                                  Kind::is_urgent(action));
  if (!begun) flights_.erase(ticket);
  collect(steady_ms);
  return begun;
}

template <class Kind>
void Reconciler<Kind>::collect(std::int64_t steady_ms) {
  std::vector<Ended> all;
  {
    std::lock_guard lock(results_->mutex);
    all.swap(results_->ended);
    results_->wakes = true;
  }
  for (const auto& one : all) {
    const auto at = flights_.find(one.ticket);
    const Flight flight = std::move(at->second);
    flights_.erase(at);
    ended(flight, one.result, steady_ms);
  }
  show_busy();
}

template <class Kind>
void Reconciler<Kind>::ended(const Flight& flight, const Status& result, std::int64_t steady_ms) {
  {
    std::lock_guard lock(status_mutex_);
    ++status_.actions;
  }
  if (flight.given_up) return;
  const AnyId key = Kind::key(flight.action);
  if (flight.forced && result)
    for (auto& [ticket, other] : flights_)
      if (Kind::key(other.action) == key) other.given_up = true;
  if (!result) {
    done_.erase(key);
    return put_off(flight.action, result, steady_ms);
  }
  done_.insert_or_assign(key, flight.action);
  if (const auto waiting = waiting_.find(key); waiting != waiting_.end()) waiting->second.error.clear();
}

template <class Kind>
void Reconciler<Kind>::show_busy() {
  std::lock_guard lock(status_mutex_);
  status_.busy_since_ms = flights_.empty() ? 0 : flights_.begin()->second.begun_ms;
  if (flights_.empty()) status_.busy_with.clear();
  else status_.busy_with = Kind::words(flights_.begin()->second.action);
}

// What is under way for it makes what was seen uncertain; that it is absent, until the very end of it.
template <class Kind>
bool Reconciler<Kind>::leaves_out(AnyId key, bool present) const {
  return std::ranges::any_of(flights_, [&](const auto& one) {
    return Kind::key(one.second.action) == key && (!one.second.given_up || !present);
  });
}

// ---- reports

template <class Kind>
bool Reconciler<Kind>::full_is_due(const NodeView& view, std::int64_t steady_ms) const {
  if (reported_incarnation_ != view.incarnation || reported_claim_ != view.claimed_at) return true;
  return view.skipped_at > full_at_ || steady_ms - full_ms_ >= options_.full_report_ms;
}

// Everything that is to be said of the objects, those left out that something is under way for.
template <class Kind>
std::map<AnyId, typename Kind::Seen> Reconciler<Kind>::all_seen(const NodeView& view, const Have& have, std::int64_t steady_ms) const {
  auto seen = Kind::seen(view.assignment, have);
  // What holds up the whole network is the trouble of each port that is not ready yet.
  const auto common = waiting_.find({});
  for (auto& [key, one] : seen) {
    const auto waiting = waiting_.find(key);
    if (waiting != waiting_.end() && waiting->second.since == one.since && one.error.empty()) one.error = waiting->second.error;
    if constexpr (Kind::kind == AgentKind::network)
      if (common != waiting_.end() && !one.ready && one.error.empty()) one.error = common->second.error;
    if constexpr (Kind::kind == AgentKind::compute)
      if (const auto at = silent_since_ms_.find(key); at != silent_since_ms_.end() && steady_ms - at->second >= silent_after_ms && one.error.empty())
        one.error = "its QEMU does not answer: a hard stop or reboot ends it";
    if constexpr (Kind::kind == AgentKind::compute)
      if (const auto at = lacking_.find(key); at != lacking_.end() && at->second.since == one.since && one.error.empty()) one.error = at->second.words;
  }
  std::erase_if(seen, [&](const auto& one) { return leaves_out(one.first, one.second.present); });
  for (const auto& [ticket, flight] : flights_) {
    const AnyId key = Kind::key(flight.action);
    const auto before = reported_.find(key);
    if (!Kind::patience_ms || steady_ms - flight.begun_ms < Kind::patience_ms) continue;
    if (seen.contains(key) || before == reported_.end() || !before->second.present) continue;
    auto one = before->second;
    one.since = Kind::since(flight.action);
    one.error = fmt::format("{} has not come back for {} s: what it asked does not answer", Kind::words(flight.action), Kind::patience_ms / 1000);
    seen.emplace(key, std::move(one));
  }
  return seen;
}

// Since when each guest's QEMU has not answered; what was last seen of it stands meanwhile.
template <class Kind>
void Reconciler<Kind>::note_silence(const Have& have, std::int64_t steady_ms) {
  if constexpr (Kind::kind == AgentKind::compute) {
    std::map<AnyId, std::int64_t> silent;
    for (const auto& [key, server] : have.servers) {
      const AnyId id = key.first.template as<AnyId>();
      const auto before = silent_since_ms_.find(id);
      if (!server.answers) silent[id] = before == silent_since_ms_.end() ? steady_ms : before->second;
    }
    silent_since_ms_ = std::move(silent);
  }
}

template <class Kind>
void Reconciler<Kind>::report(const NodeView& view, const Have& have, Seq realized, std::int64_t steady_ms) {
  note_silence(have, steady_ms);
  auto seen = all_seen(view, have, steady_ms);
  full_while_lost_ = full_while_lost_ && view.lost;
  const bool full = full_is_due(view, steady_ms) || (view.lost && realized && !full_while_lost_);
  Observed observed;
  observed.agent = static_cast<wire::AgentKind>(Kind::kind);
  observed.full = full;
  observed.realized = realized;
  for (const auto& [key, one] : seen) {
    const auto before = reported_.find(key);
    if (full || before == reported_.end() || !(before->second == one))
      Kind::list(observed).push_back(std::make_unique<typename Kind::Seen>(one));
  }
  auto fences = fences_seen(view.assignment, have);
  if (full || fences != reported_fences_)
    for (const auto& one : fences) observed.fences.push_back(std::make_unique<FenceSeen>(one));
  std::uint64_t room = reported_gib_;
  if constexpr (Kind::kind == AgentKind::storage)
    if (is_another_room(room, have.room_gib)) room = have.room_gib;
  if (full || room != reported_gib_) observed.disk_gib = room;
  const bool news = full || !Kind::list(observed).empty() || !observed.fences.empty() || room != reported_gib_ || !reported_trouble_.empty();
  if (news && !outbox_.add(std::move(observed))) return;
  for (auto& [key, one] : reported_)  // what is left out now was said before
    if (leaves_out(key, one.present)) seen.try_emplace(key, std::move(one));
  reported_ = std::move(seen);
  reported_fences_ = std::move(fences);
  reported_gib_ = room;
  reported_trouble_.clear();
  reported_incarnation_ = view.incarnation;
  reported_claim_ = view.claimed_at;
  if (full) full_at_ = view.head, full_ms_ = steady_ms, full_while_lost_ = view.lost && realized;
}

// It sees nothing: once that is certain, the controller knows, and places nothing here.
template <class Kind>
void Reconciler<Kind>::report_trouble(const Error& error, const NodeView& view, std::int64_t steady_ms) {
  if (!blind_since_ms_) blind_since_ms_ = steady_ms;
  const bool ours = board_.incarnation() != 0 && view.incarnation == board_.incarnation() && !view.dead;
  if (!ours || (is_transient(error.code) && steady_ms - blind_since_ms_ < trouble_after_ms)) return;
  const bool said = !reported_trouble_.empty() && trouble_incarnation_ == view.incarnation;
  if (said && (reported_trouble_ == error.text || steady_ms - trouble_ms_ < trouble_again_ms)) return;
  Observed observed;
  observed.agent = static_cast<wire::AgentKind>(Kind::kind);
  observed.trouble = error.text;
  if (!outbox_.add(std::move(observed))) return;
  reported_trouble_ = error.text;
  trouble_incarnation_ = view.incarnation;
  trouble_ms_ = steady_ms;
}

// ---- the step

template <class Kind>
void Reconciler<Kind>::settle(Seq head) {
  if constexpr (Kind::kind == AgentKind::compute) board_.set_servers_settled(head);
  std::lock_guard lock(status_mutex_);
  status_.settled = head;
}

// What to do next; what cannot be begun yet is skipped.
template <class Kind>
std::optional<typename Kind::Action> Reconciler<Kind>::plan(const Assignment& want, const Have& have, std::set<AnyId>& skip,
                                                           std::int64_t steady_ms) {
  const auto before = std::exchange(lacking_, {});
  for (;;) {
    auto action = Kind::plan(want, have, skip);
    if constexpr (Kind::kind == AgentKind::compute) {
      // Its disks were seen since this process began: what was ready before the host restarted may not be mounted yet.
      const auto seen = board_.disks();
      const auto lacks = action ? lacking_disk(*action, seen ? *seen : DisksSeen{}) : std::nullopt;
      if (lacks) {
        Lacking& lacking = lacking_[Kind::key(*action)];
        lacking.since = Kind::since(*action);
        const auto was = before.find(Kind::key(*action));
        lacking.begun_ms = was == before.end() ? steady_ms : was->second.begun_ms;
        if (seen && seen->head >= lacking.since) lacking.words = fmt::format("its disk {} is not on this node", lacks->str());
        else if (steady_ms - lacking.begun_ms >= silent_after_ms) lacking.words = "the storage agent of this node has not seen its disks";
        skip.insert(Kind::key(*action));
        continue;
      }
    }
    return action;
  }
}

// One that ends the guest of an object whose other action hangs.
template <class Kind>
std::optional<typename Kind::Action> Reconciler<Kind>::forced_step(const Assignment& want, const Have& have, std::int64_t steady_ms,
                                                                   std::int64_t& next) const {
  for (const auto& [ticket, flight] : flights_) {
    if (flight.forced || flight.given_up) continue;
    const AnyId key = Kind::key(flight.action);
    const bool forced_already = std::ranges::any_of(flights_, [&](const auto& one) { return one.second.forced && Kind::key(one.second.action) == key; });
    if (forced_already || Kind::is_forced(flight.action)) continue;
    if (steady_ms - flight.begun_ms < forced_after_ms) {
      next = std::min(next, flight.begun_ms + forced_after_ms);
      continue;
    }
    auto action = Kind::plan_one(want, have, key);
    if (action && Kind::is_forced(*action)) return action;
  }
  return std::nullopt;
}

// Cut off, what was in force at a confirmed head and was lost is put back: guests that run keep their network.
template <class Kind>
bool Reconciler<Kind>::put_back(const Have& have, std::int64_t steady_ms, std::int64_t& next) {
  if constexpr (Kind::kind == AgentKind::network) {
    // Whatever this process applied, it applied at a confirmed head.
    if (have.in_force || have.applied == network::Want{}) return false;
    if (waiting_now(steady_ms, next).contains({})) return false;
    return begin({.step = network::Step::apply, .want = have.applied}, steady_ms, false);
  }
  return false;
}

template <class Kind>
std::int64_t Reconciler<Kind>::step(std::int64_t steady_ms) {
  collect(steady_ms);
  if (Kind::alone && !flights_.empty()) return steady_ms + idle_ms;
  const auto confirmed = board_.confirmed();
  const auto view = board_.view();   // after the confirmation: its head is not older
  if (!view) return steady_ms + idle_ms;
  auto have = driver_.observe();
  {
    std::lock_guard lock(status_mutex_);
    status_.trouble = have ? std::string{} : have.error().text;
  }
  if (!have) {
    report_trouble(have.error(), *view, steady_ms);
    return steady_ms + backoff(observe_failures_++);
  }
  observe_failures_ = 0;
  blind_since_ms_ = 0;
  if constexpr (Kind::kind == AgentKind::storage)
    if (board_.set_disks(*have, view->head)) wake_();

  const bool ours = board_.incarnation() != 0 && view->incarnation == board_.incarnation();
  // One that was declared dead clears its host before it is admitted again.
  const bool may_act = (ours || view->dead) && confirmed.seq != 0 && view->head >= confirmed.seq;
  const Seq realized = may_act ? view->assignment.seq : 0;
  if (ours && !view->dead) report(*view, *have, realized, steady_ms);
  std::int64_t next = steady_ms + idle_ms;
  if (!may_act) {
    const bool cut_off = ours && !view->dead && confirmed.seq == 0;
    return cut_off && put_back(*have, steady_ms, next) ? steady_ms : next;
  }
  {
    std::lock_guard lock(status_mutex_);
    status_.realized = realized;
  }
  return act(*view, *have, confirmed, steady_ms, next);
}

template <class Kind>
std::int64_t Reconciler<Kind>::act(const NodeView& view, const Have& have, const Confirmed& confirmed, std::int64_t steady_ms, std::int64_t next) {
  auto skip = waiting_now(steady_ms, next);
  std::optional<Action> action;
  if constexpr (Kind::kind == AgentKind::storage) {
    if (view.void_since && board_.servers_settled() < view.void_since) return settle(0), steady_ms + confirm_wait_ms;
    action = plan(view.void_since ? Kind::cleared(view.assignment, have) : view.assignment, have, skip, steady_ms);
  } else {
    action = plan(view.assignment, have, skip, steady_ms);
  }
  settle(!action && skip.empty() ? view.head : 0);
  if (auto forced = forced_step(view.assignment, have, steady_ms, next)) return begin(*forced, steady_ms, true), steady_ms;
  if (!action) {
    if (skip.empty()) waiting_.clear();
    done_.clear();
    return next;
  }
  if (Kind::is_exclusive(*action) && steady_ms - confirmed.asked_ms > options_.lease_ms / 2) return steady_ms + confirm_wait_ms;
  if (const auto done = done_.find(Kind::key(*action)); done != done_.end() && done->second == *action) {
    // Done once and not yet so: the guest takes its time. Others' turn, then again.
    put_off(*action, {}, steady_ms);
    done_.erase(done);
    return steady_ms;
  }
  return begin(*action, steady_ms, false) ? steady_ms : next;
}

template class Reconciler<ComputeKind>;
template class Reconciler<StorageKind>;
template class Reconciler<NetworkKind>;

}  // namespace reprise
