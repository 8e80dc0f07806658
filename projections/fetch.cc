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
  bool woken = false;
  std::optional<Result<std::int64_t>> end;
};

}  // namespace

Result<std::vector<Entry>> fetch(Log& log, Topic topic, std::int64_t offset, std::size_t max,
                                 std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  const auto answer = std::make_shared<Answer>();
  auto reader = log.open_reader(topic, offset, [answer] {
    std::lock_guard lock(answer->mutex);
    answer->woken = true;
    answer->changed.notify_all();
  });
  if (!reader) return reader.error();
  while (true) {
    auto entries = (*reader)->poll(max);
    if (!entries || !entries->empty()) return entries;
    std::unique_lock lock(answer->mutex);
    if (!answer->changed.wait_until(lock, deadline, [&] { return answer->woken; }))
      return Error{Errc::timed_out, fmt::format("nothing at offset {} of {} in {} came within {} ms", offset,
                                                topic_name(topic), log.place(), patience.count())};
    answer->woken = false;
  }
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
