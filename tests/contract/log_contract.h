// One suite for every implementation of events/log.h: what it promises is tried here, by the same code, on
// the simulated, the embedded and the Kafka log. A rig gives the suite a log with nothing in it, and makes
// time pass.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "events/log.h"

namespace reprise::contract {

class LogRig {
 public:
  virtual ~LogRig() = default;

  // A client of the rig's log: all of one rig share one log, which begins empty. Must go before the rig.
  virtual std::unique_ptr<Log> connect() = 0;
  // The log with all its clients ends and is opened again (nothing of it may be alive).
  virtual void restart() = 0;
  // What is in the topic now is past its retention; what is appended from now on is not.
  virtual void age(Topic topic) = 0;
  // From now on appends fail; until heal.
  virtual void break_appends() = 0;
  virtual void heal() = 0;

  // Something happened that somebody may be waiting for. From any thread.
  virtual void nudge() = 0;
  // Lets things happen until `holds`; false when it did not by a generous deadline.
  virtual bool await(const std::function<bool()>& holds) = 0;
  // Threads of the test's own may be used.
  virtual bool threads() const { return true; }
};

// For logs with threads of their own: waits for a nudge.
class NudgedRig : public LogRig {
 public:
  void nudge() override;
  bool await(const std::function<bool()>& holds) override;

 private:
  std::mutex mutex_;
  std::condition_variable nudged_;
  std::uint64_t nudges_ = 0;
};

// Answers of appends, as they come. Thread-safe; the producer must go before it.
class Answers {
 public:
  explicit Answers(LogRig& rig) : rig_(rig) {}

  // The `done` of the next append.
  Producer::Done next();
  std::size_t asked() const;
  std::size_t count() const;
  bool all() const { return count() == asked(); }
  // A `done` was called twice.
  bool doubled() const;
  // By the order of next().
  Result<std::int64_t> operator[](std::size_t i) const;
  std::size_t count_ok() const;
  // The first that is not, in words.
  std::string first_error() const;

 private:
  LogRig& rig_;
  mutable std::mutex mutex_;
  std::vector<std::vector<Result<std::int64_t>>> given_;
};

// A reader and what it has read, drained whenever it is asked.
class Follower {
 public:
  Follower(LogRig& rig, Log& log, Topic topic, std::int64_t offset = 0, std::size_t entries_max = 100);

  // Reads until there is nothing more for now.
  const std::vector<Entry>& read();
  const Error& error() const { return error_; }
  std::int64_t position() const { return reader_->position(); }
  int wakes() const { return *wakes_; }

 private:
  std::shared_ptr<std::atomic<int>> wakes_ = std::make_shared<std::atomic<int>>(0);
  const std::size_t entries_max_;
  std::unique_ptr<Reader> reader_;
  std::vector<Entry> entries_;
  Error error_;
};

// Appends one entry and waits for its offset.
std::int64_t append_one(LogRig& rig, Producer& producer, Topic topic, Bytes bytes);
std::int64_t ask_end(LogRig& rig, Log& log, Topic topic);

// Each runs one group of Catch2 sections; `fresh` makes a rig for each.
using FreshRig = std::function<std::unique_ptr<LogRig>()>;
void check_appends_and_reads(const FreshRig& fresh);
void check_ends_and_limits(const FreshRig& fresh);
void check_sessions(const FreshRig& fresh);
void check_readers(const FreshRig& fresh);
void check_keeping(const FreshRig& fresh);
void check_candidacies(const FreshRig& fresh);

}  // namespace reprise::contract
