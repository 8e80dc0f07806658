// The events topic in memory, for tests of a projection's own thread (the simulator's log is for one thread).
// What can go wrong with a log is done to it by hand.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "events/log.h"

namespace reprise::testing {

class MemoryLog final : public Log {
 public:
  explicit MemoryLog(std::string place = "memory:") : place_(std::move(place)) {}

  // Appends after a hole of `hole` offsets.
  std::int64_t write(Bytes bytes, std::int64_t hole = 0);
  // The end steps back to that offset.
  void cut(std::int64_t end);
  void change(std::int64_t offset, Bytes bytes);
  void set_reachable(bool reachable);
  // end() is not answered until release_ends().
  void hold_ends();
  void release_ends();
  int ends_asked();
  std::map<std::int64_t, Bytes> entries();

  Result<std::unique_ptr<Producer>> open_producer() override;
  Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset,
                                              std::function<void()> wake) override;
  void end(Topic topic, Answer answer) override;
  Result<std::int64_t> begin(Topic) override { return 0; }
  std::unique_ptr<Candidacy> stand(std::function<void()>) override { return nullptr; }
  std::string place() const override { return place_; }

 private:
  class MemoryReader;
  Result<std::int64_t> end_now();
  void wake_all();

  const std::string place_;
  std::mutex mutex_;
  std::map<std::int64_t, Bytes> entries_;
  std::int64_t end_ = 0;
  bool reachable_ = true;
  bool holding_ = false;
  int asked_ = 0;
  std::vector<Answer> held_;
  std::map<const MemoryReader*, std::function<void()>> wakes_;
};

}  // namespace reprise::testing
