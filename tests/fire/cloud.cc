#include "tests/fire/cloud.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>

#include "projections/view.h"
#include "tests/unit/story.h"

namespace reprise::fire {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr auto deadline = 120s;  // far beyond anything that is right
constexpr std::size_t buffer_bytes = 64u << 10;
constexpr std::int64_t kept_ms = 300;  // of what is not events: old files go while others come

Error wrong(const std::string& why) { return {Errc::broken, why}; }

Status check_topic(Log& log, const History& history, Topic topic, std::int64_t told_end) {
  const auto begin = log.begin(topic);
  if (!begin) return begin.error();
  auto reader = log.open_reader(topic, *begin, [] {});
  if (!reader) return reader.error();
  std::int64_t next = *begin;
  while (true) {
    const auto entries = (*reader)->poll(1000);
    if (!entries) return entries.error();
    if (entries->empty()) break;
    for (const auto& entry : *entries) {
      if (entry.offset != next || entry.bytes != history.entry(topic, next))
        return wrong(fmt::format("{} at offset {}: not what was appended there (offset {})", topic_name(topic),
                                 next, entry.offset));
      ++next;
    }
  }
  if (topic != Topic::heartbeats && next < told_end)
    return wrong(fmt::format("{} ends at {}, but {} were acknowledged", topic_name(topic), next, told_end));
  return {};
}

// As of some seq the rows in the store are what the record of that seq proved.
Status check_past(const Projection& projection, const History& history, Seq seq) {
  if (seq == 0) return {};
  const auto view = projection.view_at(seq);
  if (!view) return view.error();
  const auto state = load_state(*view);
  if (!state) return state.error();
  if (state->digest() != history[seq - 1].record.digest || view->line().hash != history[seq - 1].hash)
    return wrong(fmt::format("the past as of seq {} is another", seq));
  return {};
}

}  // namespace

History History::make(std::uint64_t seed, std::size_t records) {
  testing::Scribe scribe;
  testing::BusyCloud busy(scribe, seed);
  busy.begin();
  while (scribe.records.size() < records) busy.step();
  History history;
  history.records_ = std::move(scribe.records);
  return history;
}

History History::read(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  History history;
  for (auto& bytes : testing::unpack_log(text)) history.records_.push_back({{}, std::move(bytes), {}});
  return history;
}

void History::write(const std::string& file) const {
  std::ofstream(file, std::ios::binary) << testing::pack_log(records_);
}

Bytes History::entry(Topic topic, std::int64_t offset) const {
  if (topic == Topic::events) return records_[static_cast<std::size_t>(offset)].bytes;
  return fmt::format("{} {} {:{}}", topic_name(topic), offset, "", offset % 509);
}

EmbeddedLogOptions Place::log_options(rocksdb::Env* env) const {
  EmbeddedLogOptions options{.tail_bytes_max = 256u << 10,
                             .write_buffer_bytes = buffer_bytes,
                             .retention_ms = {kept_ms, kept_ms, kept_ms, -1},
                             .sweep_ms = kept_ms / 10};
  options.env = env;
  return options;
}

ProjectionOptions Place::projection_options(rocksdb::Env* env) const {
  return {.store = {.dir = projection(), .write_buffer_bytes = buffer_bytes, .tail_bytes = 512u << 10, .env = env},
          .end_patience = 200ms,
          .retry = 5ms};
}

Status Writer::open() {
  producer_.reset();
  auto producer = log_.open_producer();
  if (!producer) return producer.error();
  producer_ = std::move(*producer);
  answers_ = std::make_shared<Answers>();
  for (int i = 0; i < topic_count; ++i) next_[static_cast<std::size_t>(i)] = *log_.end_here(static_cast<Topic>(i));
  return {};
}

bool Writer::append(sim::Prng& prng, int open_max) {
  constexpr Topic turns[] = {Topic::events, Topic::events,  Topic::events, Topic::events,
                             Topic::events, Topic::intents, Topic::reports, Topic::heartbeats};
  const Topic topic = turns[prng.below(std::size(turns))];
  auto& next = next_[index_of(topic)];
  if (topic == Topic::events && static_cast<std::size_t>(next) >= history_.size()) return false;
  {
    std::unique_lock lock(answers_->mutex);
    answers_->changed.wait(lock, [&] { return answers_->open < open_max || !answers_->failed; });
    if (!answers_->failed) return false;
    ++answers_->open;
  }
  producer_->append(topic, history_.entry(topic, next++),
                    [this, topic, answers = answers_](const Result<std::int64_t>& offset) {
                      if (offset) acknowledged_(topic, *offset);
                      const std::lock_guard lock(answers->mutex);
                      --answers->open;
                      if (!offset && answers->failed) answers->failed = offset.error();
                      answers->changed.notify_all();
                    });
  return true;
}

Status Writer::settle() {
  std::unique_lock lock(answers_->mutex);
  answers_->changed.wait(lock, [&] { return answers_->open == 0; });
  return answers_->failed;
}

Status caught_up(Projection& projection) {
  const auto promise = std::make_shared<std::promise<Status>>();
  auto future = promise->get_future();
  projection.fresh([promise](const Status& status) { promise->set_value(status); });
  if (future.wait_for(deadline) != std::future_status::ready) return wrong("the projection does not catch up");
  return future.get();
}

Result<Found> check(const Place& place, const History& history, const Told& told, sim::Prng& prng,
                    rocksdb::Env* env) {
  const auto began = Clock::now();
  const auto log = open_embedded_log(place.log(), place.log_options(env));
  if (!log) return log.error();
  auto opened = Projection::open(**log, place.projection_options(env));
  if (!opened) return opened.error();
  auto& projection = **opened;
  const Seq from = projection.head().seq;
  projection.start();
  if (auto status = caught_up(projection); !status) return status.error();
  Found found;
  found.recovery_ms = std::chrono::duration<double, std::milli>(Clock::now() - began).count();
  const auto status = projection.status();
  found.rebuilt = status.rebuilt_because;
  found.records = *(*log)->end_here(Topic::events);
  if (status.voids) return wrong(fmt::format("{} records are void", status.voids));
  if (from < told.folded && found.rebuilt.empty())
    return wrong(fmt::format("the projection had told of seq {}, and goes on from {}", told.folded, from));
  for (int i = 0; i < topic_count; ++i)
    if (auto right = check_topic(**log, history, static_cast<Topic>(i), told.ends[static_cast<std::size_t>(i)]); !right)
      return right.error();
  if (projection.head().seq != static_cast<Seq>(found.records))
    return wrong(fmt::format("the projection is at seq {}, the log has {}", projection.head().seq, found.records));
  if (found.records == 0) return found;
  const auto& last = history[static_cast<std::size_t>(found.records) - 1];
  if (projection.digest() != last.record.digest || projection.head().hash != last.hash)
    return wrong(fmt::format("digest {} at seq {}, but the record has {}", projection.digest().hex(), found.records,
                             last.record.digest.hex()));
  const auto end = static_cast<std::uint64_t>(found.records);
  for (const Seq seq : {end, prng.below(end) + 1})
    if (auto right = check_past(projection, history, seq); !right) return right.error();
  return found;
}

Place Trial::place(std::uint64_t number, const History& history) const {
  const Place place{fmt::format("{}/cloud-{}", folder, number)};
  std::filesystem::create_directories(place.dir);
  history.write(place.history());
  return place;
}

void Trial::progress(std::uint64_t done, const std::string& words) const {
  static auto last = Clock::now();
  if (json || !::isatty(STDERR_FILENO) || Clock::now() - last < 500ms) return;
  last = Clock::now();
  fmt::print(stderr, "\r\033[K{} of {}: {}", done, count, words);
}

int Trial::well(const std::string& json_fields, const std::string& words) const {
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  if (!json && ::isatty(STDERR_FILENO)) fmt::print(stderr, "\r\033[K");
  if (json) fmt::print("{{\"ok\":true,\"trial\":\"{}\",\"seed\":{},{}}}\n", name, seed, json_fields);
  else fmt::print("{}: {}\n", name, words);
  return 0;
}

int Trial::wrong(std::uint64_t round, const std::string& why) const {
  fmt::print(stderr, "\n{}: round {}: {}\n  its folder is left in {}\n  again: fire {} --seed {} --count {}\n", name,
             round, why, folder, name, seed, count);
  if (json) fmt::print("{{\"ok\":false,\"trial\":\"{}\",\"seed\":{},\"round\":{}}}\n", name, seed, round);
  return 1;
}

}  // namespace reprise::fire
