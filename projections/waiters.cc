#include "projections/waiters.h"

#include <fmt/format.h>

namespace reprise {
namespace {

template <class Map, class Key>
void erase_pair(Map& map, const Key& key, Waiters::Id id) {
  auto [from, to] = map.equal_range(key);
  for (auto at = from; at != to; ++at) {
    if (at->second != id) continue;
    map.erase(at);
    return;
  }
}

Error expired_error(std::int64_t expires_ms, const Head& head) {
  return {Errc::not_found,
          fmt::format("not done: log time {} (seq {}) passed its expiry {} without a decision", head.at_ms,
                      head.seq, expires_ms)};
}

}  // namespace

// What is to be called once the lock is let go.
struct Waiters::Due {
  std::vector<std::pair<DecidedCallback, Result<DecidedAnswer>>> decided;
  std::vector<std::pair<PassedCallback, Status>> passed;

  void call() {
    for (auto& [callback, result] : decided) callback(std::move(result));
    for (auto& [callback, status] : passed) callback(status);
  }
};

DecidedCallback Waiters::remove_decided(std::unordered_map<Id, DecidedWaiter>::iterator at) {
  erase_pair(by_intent_, at->second.intent, at->first);
  erase_pair(by_expiry_, at->second.expires_ms, at->first);
  auto callback = std::move(at->second.callback);
  decided_.erase(at);
  return callback;
}

Waiters::Id Waiters::add_decided(IntentId intent, std::int64_t expires_ms, DecidedCallback callback) {
  std::unique_lock lock(mutex_);
  const auto refusal = failed_ ? failed_ : sealed_;
  if (refusal) {
    lock.unlock();
    callback(*refusal);
    return 0;
  }
  const Id id = ++last_;
  decided_.emplace(id, DecidedWaiter{intent, expires_ms, std::move(callback)});
  by_intent_.emplace(intent, id);
  if (expires_ms) by_expiry_.emplace(expires_ms, id);
  return id;
}

Waiters::Id Waiters::add_passed(std::int64_t offset, PassedCallback callback, bool present) {
  std::unique_lock lock(mutex_);
  if (failed_ || next_offset_ >= offset) {
    const Status status = failed_ ? Status(*failed_) : passed(present);
    lock.unlock();
    callback(status);
    return 0;
  }
  const Id id = ++last_;
  passed_.emplace(id, PassedWaiter{std::move(callback), present});
  by_offset_.emplace(offset, id);
  return id;
}

void Waiters::know_end(std::int64_t end) {
  std::unique_lock lock(mutex_);
  known_end_ = std::max(known_end_, end);
}

Waiters::Id Waiters::add_fresh(PassedCallback callback) {
  std::unique_lock lock(mutex_);
  if (failed_) {
    const Status status = *failed_;
    lock.unlock();
    callback(status);
    return 0;
  }
  fresh_.emplace(++last_, std::move(callback));
  return last_;
}

bool Waiters::cancel(Id id) {
  std::unique_lock lock(mutex_);
  if (fresh_.erase(id) || asked_.erase(id)) return true;
  if (passed_.erase(id)) return true;  // its line in by_offset_ goes when its offset is passed
  const auto at = decided_.find(id);
  if (at == decided_.end()) return false;
  remove_decided(at);
  return true;
}

bool Waiters::any_decided() const {
  std::unique_lock lock(mutex_);
  return !decided_.empty();
}

std::optional<DecidedCallback> Waiters::take_decided(Id id) {
  std::unique_lock lock(mutex_);
  const auto at = decided_.find(id);
  if (at == decided_.end()) return std::nullopt;
  return remove_decided(at);
}

bool Waiters::ask() {
  std::unique_lock lock(mutex_);
  if (asking_ || fresh_.empty() || failed_) return false;
  asking_ = true;
  asked_.swap(fresh_);
  return true;
}

bool Waiters::ended(const Result<std::int64_t>& end) {
  Due due;
  std::unique_lock lock(mutex_);
  asking_ = false;
  if (end) known_end_ = std::max(known_end_, *end);
  for (auto& [id, callback] : asked_) {
    if (!end) {
      due.passed.emplace_back(std::move(callback), Status(end.error()));
    } else if (next_offset_ >= *end) {
      due.passed.emplace_back(std::move(callback), passed(true));
    } else {
      passed_.emplace(id, PassedWaiter{std::move(callback), true});
      by_offset_.emplace(*end, id);
    }
  }
  asked_.clear();
  const bool more = !fresh_.empty();
  lock.unlock();
  due.call();
  return more;
}

void Waiters::stale(const Error& error) {
  Due due;
  std::unique_lock lock(mutex_);
  for (auto& [id, callback] : fresh_) due.passed.emplace_back(std::move(callback), error);
  fresh_.clear();
  lock.unlock();
  due.call();
}

void Waiters::publish(const std::vector<Outcome>& outcomes, const Head& head, std::int64_t next_offset,
                      const std::string& sealed_place) {
  Due due;
  std::unique_lock lock(mutex_);
  head_ = head;
  next_offset_ = next_offset;
  known_end_ = std::max(known_end_, next_offset);
  for (const auto& outcome : outcomes) {
    for (auto at = by_intent_.find(outcome.intent); at != by_intent_.end();
         at = by_intent_.find(outcome.intent))
      due.decided.emplace_back(remove_decided(decided_.find(at->second)),
                               DecidedAnswer{outcome.seq, outcome.index, outcome.at_ms, *outcome.decision});
  }
  // Whole records up to the head are folded: what expired before it and was not decided never will be.
  while (!by_expiry_.empty() && by_expiry_.begin()->first < head.at_ms) {
    const auto [expires_ms, id] = *by_expiry_.begin();
    due.decided.emplace_back(remove_decided(decided_.find(id)), expired_error(expires_ms, head));
  }
  sealed_.reset();
  if (head.sealed_to && !sealed_place.empty()) {
    sealed_ = Error{Errc::conflict, fmt::format("the log was sealed at seq {}: the cloud went to {}",
                                                head.seq, sealed_place)};
    while (!decided_.empty()) due.decided.emplace_back(remove_decided(decided_.begin()), *sealed_);
  }
  while (!by_offset_.empty() && by_offset_.begin()->first <= next_offset) {
    if (const auto at = passed_.find(by_offset_.begin()->second); at != passed_.end()) {
      due.passed.emplace_back(std::move(at->second.callback), passed(at->second.present));
      passed_.erase(at);
    }
    by_offset_.erase(by_offset_.begin());
  }
  lock.unlock();
  due.call();
}

void Waiters::fail(const Error& error) {
  Due due;
  std::unique_lock lock(mutex_);
  failed_ = error;
  while (!decided_.empty()) due.decided.emplace_back(remove_decided(decided_.begin()), error);
  for (auto* map : {&fresh_, &asked_}) {
    for (auto& [id, callback] : *map) due.passed.emplace_back(std::move(callback), error);
    map->clear();
  }
  for (auto& [id, waiter] : passed_) due.passed.emplace_back(std::move(waiter.callback), error);
  passed_.clear();
  by_offset_.clear();
  lock.unlock();
  due.call();
}

std::int64_t Waiters::next_offset() const {
  std::unique_lock lock(mutex_);
  return next_offset_;
}
std::int64_t Waiters::known_end() const {
  std::unique_lock lock(mutex_);
  return known_end_;
}

}  // namespace reprise
