#include "projections/fetch.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <optional>

namespace reprise {
namespace {

struct Answer {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Result<std::int64_t>> end;
};

}  // namespace

struct WaitingReader::Bell {
  std::mutex mutex;
  std::condition_variable changed;
  bool rung = false;

  void ring() {
    std::lock_guard lock(mutex);
    rung = true;
    changed.notify_all();
  }
  bool wait_until(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex);
    return changed.wait_until(lock, deadline, [&] { return rung; }) && std::exchange(rung, false);
  }
};

Result<WaitingReader> WaitingReader::open(Log& log, Topic topic, std::int64_t offset) {
  WaitingReader made;
  made.bell_ = std::make_shared<Bell>();
  auto reader = log.open_reader(topic, offset, [bell = made.bell_] { bell->ring(); });
  if (!reader) return reader.error();
  made.reader_ = std::move(*reader);
  made.what_ = fmt::format("{} in {}", topic_name(topic), log.place());
  return made;
}

Result<std::vector<Entry>> WaitingReader::next(std::size_t max, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    auto entries = reader_->poll(max);
    if (!entries || !entries->empty()) return entries;
    if (!bell_->wait_until(deadline))
      return Error{Errc::timed_out, fmt::format("nothing at offset {} of {} came within {} ms", position(),
                                                what_, patience.count())};
  }
}

Result<std::vector<Entry>> fetch(Log& log, Topic topic, std::int64_t offset, std::size_t max,
                                 std::chrono::milliseconds patience) {
  auto reader = WaitingReader::open(log, topic, offset);
  if (!reader) return reader.error();
  return reader->next(max, patience);
}

Result<std::int64_t> fetch_end(Log& log, Topic topic, std::chrono::milliseconds patience) {
  const auto answer = std::make_shared<Answer>();
  log.end(topic, [answer](Result<std::int64_t> end) {
    std::lock_guard lock(answer->mutex);
    answer->end = std::move(end);
    answer->changed.notify_all();
  });
  std::unique_lock lock(answer->mutex);
  if (!answer->changed.wait_for(lock, patience, [&] { return answer->end.has_value(); }))
    return Error{Errc::timed_out,
                 fmt::format("{} did not say within {} ms where it ends", log.place(), patience.count())};
  return *answer->end;
}

}  // namespace reprise
