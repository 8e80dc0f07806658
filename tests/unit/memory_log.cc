#include "tests/unit/memory_log.h"

namespace reprise::testing {

class MemoryLog::MemoryReader final : public Reader {
 public:
  MemoryReader(MemoryLog& log, std::int64_t offset) : log_(log), position_(offset) {}
  ~MemoryReader() override {
    std::lock_guard lock(log_.mutex_);
    log_.wakes_.erase(this);
  }
  Result<std::vector<Entry>> poll(std::size_t entries_max) override {
    std::lock_guard lock(log_.mutex_);
    if (!log_.reachable_) return Error{Errc::unreachable, "cut off by the test"};
    if (position_ > log_.end_) return Error{Errc::not_found, "the log ends before"};
    std::vector<Entry> found;
    for (auto at = log_.entries_.lower_bound(position_);
         at != log_.entries_.end() && found.size() < entries_max; ++at)
      found.push_back({at->first, at->second});
    position_ = found.empty() ? log_.end_ : found.back().offset + 1;
    return found;
  }
  std::int64_t position() const override { return position_; }

 private:
  MemoryLog& log_;
  std::int64_t position_;
};

void MemoryLog::wake_all() {
  for (const auto& [reader, wake] : wakes_) wake();
}

std::int64_t MemoryLog::write(Bytes bytes, std::int64_t hole) {
  std::lock_guard lock(mutex_);
  end_ += hole;
  entries_[end_++] = std::move(bytes);
  wake_all();
  return end_ - 1;
}

void MemoryLog::cut(std::int64_t end) {
  std::lock_guard lock(mutex_);
  entries_.erase(entries_.lower_bound(end), entries_.end());
  end_ = end;
  wake_all();
}

void MemoryLog::change(std::int64_t offset, Bytes bytes) {
  std::lock_guard lock(mutex_);
  entries_[offset] = std::move(bytes);
}

void MemoryLog::set_reachable(bool reachable) {
  std::lock_guard lock(mutex_);
  reachable_ = reachable;
  wake_all();
}

void MemoryLog::hold_ends() {
  std::lock_guard lock(mutex_);
  holding_ = true;
}

void MemoryLog::release_ends() {
  std::unique_lock lock(mutex_);
  holding_ = false;
  auto held = std::move(held_);
  held_.clear();
  const auto end = end_now();
  lock.unlock();
  for (auto& answer : held) answer(end);
}

int MemoryLog::ends_asked() {
  std::lock_guard lock(mutex_);
  return asked_;
}

std::map<std::int64_t, Bytes> MemoryLog::entries() {
  std::lock_guard lock(mutex_);
  return entries_;
}

Result<std::unique_ptr<Producer>> MemoryLog::open_producer() {
  return Error{Errc::unsupported, "tests write by hand"};
}

Result<std::unique_ptr<Reader>> MemoryLog::open_reader(Topic, std::int64_t offset,
                                                       std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  if (!reachable_) return Error{Errc::unreachable, "cut off by the test"};
  if (offset > end_) return Error{Errc::not_found, "the log ends before"};
  auto reader = std::make_unique<MemoryReader>(*this, offset);
  wakes_[reader.get()] = std::move(wake);
  return std::unique_ptr<Reader>(std::move(reader));
}

Result<std::int64_t> MemoryLog::end_now() {
  if (!reachable_) return Error{Errc::unreachable, "cut off by the test"};
  return end_;
}

void MemoryLog::end(Topic, Answer answer) {
  std::unique_lock lock(mutex_);
  ++asked_;
  if (holding_) return held_.push_back(std::move(answer));
  const auto end = end_now();
  lock.unlock();
  answer(end);
}

}  // namespace reprise::testing
