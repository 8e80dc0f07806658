#include "agents/core/reconciler.h"

#include <fmt/format.h>

#include <algorithm>

namespace reprise {
namespace {

constexpr std::int64_t idle_ms = 30'000;        // look again although nothing called
constexpr std::int64_t confirm_wait_ms = 1'000;
constexpr std::int64_t backoff_ms_min = 250, backoff_ms_max = 15'000;
constexpr std::uint32_t transient_attempts_max = 8;

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

}  // namespace

template <class Kind>
std::set<AnyId> Reconciler<Kind>::waiting_now(std::int64_t steady_ms, std::int64_t& next) const {
  std::set<AnyId> skip;
  for (const auto& [key, waiting] : waiting_) {
    if (waiting.until_ms <= steady_ms) continue;
    skip.insert(key);
    next = std::min(next, waiting.until_ms);
  }
  return skip;
}

template <class Kind>
void Reconciler<Kind>::put_off(const typename Kind::Action& action, const Status& result, std::int64_t steady_ms) {
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

template <class Kind>
bool Reconciler<Kind>::full_is_due(const NodeView& view, std::int64_t steady_ms) const {
  if (reported_incarnation_ != view.incarnation || reported_claim_ != view.claimed_at) return true;
  return view.skipped_at > full_at_ || steady_ms - full_ms_ >= options_.full_report_ms;
}

template <class Kind>
void Reconciler<Kind>::report(const NodeView& view, const typename Kind::Have& have, Seq realized, std::int64_t steady_ms) {
  auto seen = Kind::seen(view.assignment, have);
  for (auto& [key, one] : seen) {
    const auto waiting = waiting_.find(key);
    // A network's trouble is that of every port that is not ready yet.
    const auto common = Kind::kind == AgentKind::network ? waiting_.find({}) : waiting_.end();
    if (waiting != waiting_.end() && waiting->second.since == one.since) one.error = waiting->second.error;
    if constexpr (Kind::kind == AgentKind::network)
      if (common != waiting_.end() && !one.ready) one.error = common->second.error;
  }
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
  const bool news = full || !Kind::list(observed).empty() || !observed.fences.empty();
  if (news && !outbox_.add(std::move(observed))) return;
  reported_ = std::move(seen);
  reported_fences_ = std::move(fences);
  reported_incarnation_ = view.incarnation;
  reported_claim_ = view.claimed_at;
  if (full) full_at_ = view.head, full_ms_ = steady_ms, full_while_lost_ = view.lost && realized;
}

template <class Kind>
void Reconciler<Kind>::settle(Seq head) {
  if constexpr (Kind::kind == AgentKind::compute) board_.set_servers_settled(head);
  std::lock_guard lock(status_mutex_);
  status_.settled = head;
}

template <class Kind>
std::int64_t Reconciler<Kind>::step(std::int64_t steady_ms) {
  const auto confirmed = board_.confirmed();
  const auto view = board_.view();   // after the confirmation: its head is not older
  if (!view) return steady_ms + idle_ms;
  auto have = driver_.observe();
  {
    std::lock_guard lock(status_mutex_);
    status_.trouble = have ? std::string{} : have.error().text;
  }
  if (!have) return steady_ms + backoff(observe_failures_++);
  observe_failures_ = 0;

  const bool ours = board_.incarnation() != 0 && view->incarnation == board_.incarnation();
  // One that was declared dead clears its host before it is admitted again.
  const bool may_act = (ours || view->dead) && confirmed.seq != 0 && view->head >= confirmed.seq;
  const Seq realized = may_act ? view->assignment.seq : 0;
  if (ours && !view->dead) report(*view, *have, realized, steady_ms);
  if (!may_act) return steady_ms + idle_ms;
  {
    std::lock_guard lock(status_mutex_);
    status_.realized = realized;
  }

  std::int64_t next = steady_ms + idle_ms;
  const auto skip = waiting_now(steady_ms, next);
  std::optional<typename Kind::Action> action;
  if constexpr (Kind::kind == AgentKind::storage) {
    if (view->void_since && board_.servers_settled() < view->void_since) return settle(0), steady_ms + confirm_wait_ms;
    action = Kind::plan(view->void_since ? Kind::cleared(view->assignment, *have) : view->assignment, *have, skip);
  } else {
    action = Kind::plan(view->assignment, *have, skip);
  }
  settle(!action && skip.empty() ? view->head : 0);
  if (!action) {
    if (skip.empty()) waiting_.clear();
    last_action_.reset();
    return next;
  }
  if (Kind::is_exclusive(*action) && steady_ms - confirmed.asked_ms > options_.lease_ms / 2) return steady_ms + confirm_wait_ms;
  if (last_action_ == action) {
    // Done once and not yet so: the guest takes its time. Others' turn, then again.
    put_off(*action, {}, steady_ms);
    last_action_.reset();
    return steady_ms;
  }
  const Status result = driver_.perform(*action);
  {
    std::lock_guard lock(status_mutex_);
    ++status_.actions;
  }
  if (result) {
    last_action_ = action;
    const auto waiting = waiting_.find(Kind::key(*action));
    if (waiting != waiting_.end()) waiting->second.error.clear();
  } else {
    put_off(*action, result, steady_ms);
    last_action_.reset();
  }
  return steady_ms;
}

template class Reconciler<ComputeKind>;
template class Reconciler<StorageKind>;
template class Reconciler<NetworkKind>;

// ---- compute

std::optional<compute::Action> ComputeKind::plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip) {
  std::set<ServerId> servers;
  for (const auto& id : skip) servers.insert(id.as<ServerId>());
  return compute::next_action(want.compute, have, servers);
}

std::string ComputeKind::words(const Action& action) {
  return fmt::format("{} {}", compute::step_name(action.step), action.server.id.str());
}

std::map<AnyId, ServerSeen> ComputeKind::seen(const Assignment& want, const Have& have) {
  std::map<AnyId, ServerSeen> all;
  for (const auto& [key, server] : have.servers) {
    ServerSeen one{.id = server.id, .born = server.born, .present = true, .running = server.running,
                   .cause = static_cast<wire::StopCause>(server.cause), .power_seq = server.power_seq,
                   .reboot_seq = server.reboot_seq,
                   .host_restarted = !server.running && !server.boot_id.empty() && server.boot_id != have.boot_id};
    for (const auto& disk : server.disks)
      if (!disk.boot) one.volumes.push_back(disk.id.as<VolumeId>());
    all[server.id.as<AnyId>()] = std::move(one);
  }
  for (const auto& [id, wished] : want.compute) {
    auto& one = all[id.as<AnyId>()];
    // Another life of that id is not it: this one is absent.
    if (one.born != wished.born) one = {.id = id, .born = wished.born};
    one.since = wished.since;
  }
  return all;
}

// ---- storage

std::optional<storage::Action> StorageKind::plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip) {
  return storage::next_action(want.storage, have, skip, want.fences);
}

Assignment StorageKind::cleared(Assignment want, const Have& have) {
  if (have.shared) return want;
  for (const auto& [key, disk] : have.disks)
    want.storage.try_emplace(disk.id, storage::DiskWant{.id = disk.id, .born = disk.born, .absent = true, .kind = disk.kind});
  return want;
}

std::string StorageKind::words(const Action& action) {
  return fmt::format("{} {}", storage::step_name(action.step),
                     action.step == storage::Step::fence         ? action.fence.node.str()
                     : action.step == storage::Step::evict_image ? action.image.str()
                                                                 : action.disk.id.str());
}

std::map<AnyId, DiskSeen> StorageKind::seen(const Assignment& want, const Have& have) {
  std::map<AnyId, DiskSeen> all;
  for (const auto& [key, disk] : have.disks)
    if (!have.shared || want.storage.contains(disk.id)) all[disk.id] = {.id = disk.id, .born = disk.born, .present = true, .size_gib = disk.size_gib};
  for (const auto& [id, wished] : want.storage) {
    auto& one = all[id];
    if (one.born != wished.born) one = {.id = id, .born = wished.born};
    one.since = wished.since;
  }
  return all;
}

// ---- network

std::optional<network::Action> NetworkKind::plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip) {
  if (!skip.empty()) return std::nullopt;
  return network::next_action(want.network, have);
}

std::string NetworkKind::words(const Action& action) {
  return fmt::format("{} {} networks, {} ports", network::step_name(action.step), action.want.networks.size(), action.want.ports.size());
}

std::map<AnyId, PortSeen> NetworkKind::seen(const Assignment& want, const Have& have) {
  std::map<AnyId, PortSeen> all;
  for (const auto& [key, port] : have.ports)
    all[port.id.as<AnyId>()] = {.id = port.id, .born = port.born, .present = true, .ready = port.ready};
  for (const auto& [id, wished] : want.network.ports) {
    auto& one = all[id.as<AnyId>()];
    if (one.born != wished.born) one = {.id = id, .born = wished.born};
    one.since = wished.since;
  }
  return all;
}

}  // namespace reprise
