#include <algorithm>
#include <chrono>
#include <optional>

#include "tests/contract/log_contract.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::contract {

void NudgedRig::nudge() {
  const std::lock_guard lock(mutex_);
  ++nudges_;
  nudged_.notify_all();
}

bool NudgedRig::await(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (;;) {
    std::unique_lock lock(mutex_);
    const auto seen = nudges_;
    lock.unlock();
    if (holds()) return true;
    lock.lock();
    if (!nudged_.wait_until(lock, deadline, [&] { return nudges_ != seen; })) return false;
  }
}

Producer::Done Answers::next() {
  const std::lock_guard lock(mutex_);
  given_.emplace_back();
  return [this, i = given_.size() - 1](Result<std::int64_t> result) {
    {
      const std::lock_guard inner(mutex_);
      given_[i].push_back(std::move(result));
    }
    rig_.nudge();
  };
}

std::size_t Answers::asked() const {
  const std::lock_guard lock(mutex_);
  return given_.size();
}

std::size_t Answers::count() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::count_if(given_.begin(), given_.end(), [](const auto& g) { return !g.empty(); }));
}

bool Answers::doubled() const {
  const std::lock_guard lock(mutex_);
  return std::any_of(given_.begin(), given_.end(), [](const auto& g) { return g.size() > 1; });
}

Result<std::int64_t> Answers::operator[](std::size_t i) const {
  const std::lock_guard lock(mutex_);
  return given_.at(i).at(0);
}

std::size_t Answers::count_ok() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::count_if(given_.begin(), given_.end(), [](const auto& g) { return !g.empty() && g[0].ok(); }));
}

std::string Answers::first_error() const {
  const std::lock_guard lock(mutex_);
  for (const auto& answers : given_) {
    if (!answers.empty() && !answers[0])
      return errc_name(answers[0].error().code) + (": " + answers[0].error().text);
  }
  return "";
}

Follower::Follower(LogRig& rig, Log& log, Topic topic, std::int64_t offset, std::size_t entries_max)
    : entries_max_(entries_max) {
  auto reader = log.open_reader(topic, offset, [&rig, wakes = wakes_] {
    ++*wakes;
    rig.nudge();
  });
  REQUIRE(reader.ok());
  reader_ = *std::move(reader);
}

const std::vector<Entry>& Follower::read() {
  for (;;) {
    auto polled = reader_->poll(entries_max_);
    if (!polled) error_ = polled.error();
    if (!polled || polled->empty()) return entries_;
    CHECK(polled->size() <= entries_max_);
    for (auto& entry : *polled) entries_.push_back(std::move(entry));
  }
}

std::int64_t append_one(LogRig& rig, Producer& producer, Topic topic, Bytes bytes) {
  auto answer = std::make_shared<std::pair<std::mutex, std::optional<Result<std::int64_t>>>>();
  const auto look = [answer] {
    const std::lock_guard lock(answer->first);
    return answer->second;
  };
  producer.append(topic, std::move(bytes), [answer, &rig](Result<std::int64_t> result) {
    {
      const std::lock_guard lock(answer->first);
      answer->second = std::move(result);
    }
    rig.nudge();
  });
  REQUIRE(rig.await([&] { return look().has_value(); }));
  const auto result = *look();
  INFO((result ? "" : result.error().text));
  REQUIRE(result.ok());
  return *result;
}

std::int64_t ask_end(LogRig& rig, Log& log, Topic topic) {
  auto answer = std::make_shared<std::pair<std::mutex, std::optional<Result<std::int64_t>>>>();
  log.end(topic, [answer, &rig](Result<std::int64_t> result) {
    {
      const std::lock_guard lock(answer->first);
      answer->second = std::move(result);
    }
    rig.nudge();
  });
  const auto look = [answer] {
    const std::lock_guard lock(answer->first);
    return answer->second;
  };
  REQUIRE(rig.await([&] { return look().has_value(); }));
  const auto result = *look();
  INFO((result ? "" : result.error().text));
  REQUIRE(result.ok());
  return *result;
}

}  // namespace reprise::contract
