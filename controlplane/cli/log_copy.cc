#include "controlplane/cli/log_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "projections/fetch.h"
#include "projections/fold.h"
#include "projections/replay.h"

namespace reprise::cli {
namespace {

constexpr std::int64_t clock_near_ms = 300'000;  // a clock that is further ahead is the next leader's to believe or not

using namespace std::chrono_literals;
constexpr auto patience = 30s;
constexpr std::size_t entries_at_once = 256;
constexpr std::size_t open_bytes_max = 8u << 20;  // appended and not yet answered
constexpr std::size_t seal_records_max = 1000;    // no more than so many are copied in the pause …
constexpr int rounds_max = 10;                    // … unless the source is quicker than the copy

// Appends in order, with as many under way as open_bytes_max allows.
class Appender {
 public:
  explicit Appender(Log& log) : log_(log) {}

  Status put(Topic topic, const Bytes& bytes) {
    if (!producer_) {
      auto opened = log_.open_producer();
      if (!opened) return opened.error();
      producer_ = std::move(*opened);
    }
    if (auto room = wait(open_bytes_max); !room) return room;
    {
      const std::lock_guard lock(answers_->mutex);
      answers_->open_bytes += bytes.size();
    }
    producer_->append(topic, bytes, [answers = answers_, size = bytes.size()](Result<std::int64_t> offset) {
      const std::lock_guard lock(answers->mutex);
      answers->open_bytes -= size;
      if (!offset && answers->failed) answers->failed = offset.error();
      answers->changed.notify_all();
    });
    return {};
  }
  Status drain() { return wait(0); }

 private:
  struct Answers {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t open_bytes = 0;
    Status failed;
  };
  Status wait(std::size_t bytes_max) {
    std::unique_lock lock(answers_->mutex);
    const bool answered = answers_->changed.wait_for(
        lock, patience, [&] { return !answers_->failed || answers_->open_bytes <= bytes_max; });
    if (!answers_->failed) return answers_->failed;
    if (answered) return {};
    return {Errc::timed_out,
            fmt::format("{} does not answer an append for {} s: run the copy again, it goes on", log_.place(),
                        patience.count())};
  }

  Log& log_;
  const std::shared_ptr<Answers> answers_ = std::make_shared<Answers>();
  std::unique_ptr<Producer> producer_;
};

// What is in [from, until) of a topic.
Result<std::vector<Entry>> read_between(Log& log, Topic topic, std::int64_t from, std::int64_t until) {
  std::vector<Entry> all;
  if (from >= until) return all;
  auto reader = WaitingReader::open(log, topic, from);
  if (!reader) return reader.error();
  while (reader->position() < until) {
    auto some = reader->next(entries_at_once, patience);
    if (!some) return some.error();
    for (auto& entry : *some)
      if (entry.offset < until) all.push_back(std::move(entry));
  }
  return all;
}

std::int64_t position_of(const State& state, Topic topic) {
  for (const auto& position : state.the_cloud().positions)
    if (position.topic == topic) return position.offset;
  return 0;
}

class LogCopy {
 public:
  LogCopy(const CopySource& source, Log& target, const CopyOptions& options)
      : source_(source), target_(target), options_(options) {}

  Result<Copied> run();

 private:
  Status look();
  Status compare();
  Status copy_records();
  Status copy_intents(std::int64_t& first);
  Status open_target();
  std::function<void(const Head&)> telling(const char* doing) const {
    return [this, doing](const Head& head) { options_.progress(doing, head.seq); };
  }

  const CopySource& source_;
  Log& target_;
  const CopyOptions& options_;
  std::shared_ptr<Log> from_;
  CopyChain have_{true}, made_{false};  // the source, the target
  Copied copied_;
};

Result<Copied> LogCopy::run() {
  if (auto read = made_.read(target_, telling("looking at the target")); !read) return read.error();
  copied_.resumed = made_.head.seq != 0;
  for (int round = 1; !have_.head.sealed_to; ++round) {
    const Seq before = have_.head.seq;
    if (auto looked = look(); !looked) return looked.error();
    if (copied_.already) break;
    if (auto done = copy_records(); !done) return done.error();
    if (have_.head.sealed_to || (have_.head.seq - before > seal_records_max && round < rounds_max)) continue;
    options_.progress("sealing", have_.head.seq);
    if (auto sealed = source_.seal({.to = options_.to, .place = options_.place}, have_); !sealed)
      return sealed.error();
    if (auto looked = look(); !looked) return looked.error();
    if (!have_.head.sealed_to)
      return Error{Errc::timed_out,
                   from_->place() + " says that it was sealed, but is not: run the copy again"};
  }
  copied_.voids = have_.voids;
  if (!copied_.already) {
    if (auto done = copy_records(); !done) return done.error();
    if (auto done = open_target(); !done) return done.error();
  }
  copied_.head = made_.head;
  copied_.digest = made_.digest;
  return copied_;
}

// What the source has now, and whether it and the target may be made one.
Status LogCopy::look() {
  auto opened = source_.open();
  if (!opened) return opened.error();
  from_ = std::move(*opened);
  if (auto read = have_.read(*from_, telling("proving the source")); !read) return read;
  if (have_.head.seq == 0) return {Errc::not_found, from_->place() + " is empty: there is nothing to copy"};
  if (have_.head.sealed_to && have_.state.the_cloud().sealed_place != options_.place)
    return {Errc::conflict,
            fmt::format("{} was sealed at seq {}, and the cloud went to {}: a copy goes on only there",
                        from_->place(), have_.head.seq, have_.state.the_cloud().sealed_place)};
  return compare();
}

Status LogCopy::compare() {
  if (made_.head.seq == 0) {
    const auto begin = target_.begin(Topic::intents);
    const auto end = fetch_end(target_, Topic::intents, patience);
    if (!begin || !end) return begin ? end.error() : begin.error();
    if (*begin == *end) return {};
    return {Errc::conflict,
            fmt::format("{} has no events, but intents: it is another's, or what is left of one. Name an "
                        "empty place",
                        target_.place())};
  }
  const Seq both = std::min(made_.head.seq, have_.head.seq);
  for (Seq seq = 1; seq <= both; ++seq) {
    if (made_.lines[seq - 1].hash == have_.lines[seq - 1].hash) continue;
    return {Errc::conflict,
            fmt::format("{} is no copy of {}: their records of seq {} differ. Name an empty place",
                        target_.place(), from_->place(), seq)};
  }
  if (made_.head.seq <= have_.head.seq) return {};
  if (!have_.head.sealed_to)
    return {Errc::conflict,
            fmt::format("{} has gone on to seq {}, and {} is at {}: it is where the cloud is, or a fork of "
                        "it. Name an empty place",
                        target_.place(), made_.head.seq, from_->place(), have_.head.seq)};
  copied_.already = true;  // behind LogSealed only LogOpened of that very log counts
  return {};
}

Status LogCopy::copy_records() {
  if (made_.head.seq >= have_.head.seq) return {};
  auto reader = WaitingReader::open(*from_, Topic::events, have_.lines[made_.head.seq].offset);
  if (!reader) return reader.error();
  Appender appender(target_);
  for (Seq seq = made_.head.seq; seq < have_.head.seq;) {
    const auto entries = reader->next(entries_at_once, patience);
    if (!entries) return entries.error();
    for (const auto& entry : *entries) {
      if (seq == have_.head.seq) break;
      if (entry.offset != have_.lines[seq].offset) continue;  // void
      if (auto put = appender.put(Topic::events, entry.bytes); !put) return put;
      ++seq, ++copied_.records;
    }
    options_.progress("copying", seq);
  }
  if (auto drained = appender.drain(); !drained) return drained;
  if (auto read = made_.read(target_, telling("reading back")); !read) return read;
  if (made_.head.hash == have_.head.hash) return {};
  return {Errc::conflict,
          fmt::format("{} is at seq {} after the copy of seq {}: is another copy under way? End it, and "
                      "run this one again",
                      target_.place(), made_.head.seq, have_.head.seq)};
}

// What nobody has decided goes behind whatever stands in the target's intents, unless a former run has begun
// that: then its end is the beginning of it. `first`: where it stands there.
Status LogCopy::copy_intents(std::int64_t& first) {
  const auto begin = from_->begin(Topic::intents);
  const auto end = fetch_end(*from_, Topic::intents, patience);
  if (!begin || !end) return begin ? end.error() : begin.error();
  const auto undecided =
      read_between(*from_, Topic::intents, std::max(*begin, position_of(have_.state, Topic::intents)), *end);
  if (!undecided) return undecided.error();
  const auto there_begin = target_.begin(Topic::intents);
  const auto there_end = fetch_end(target_, Topic::intents, patience);
  if (!there_begin || !there_end) return there_begin ? there_end.error() : there_begin.error();
  const auto size = static_cast<std::int64_t>(undecided->size());
  const auto there =
      read_between(target_, Topic::intents, std::max(*there_begin, *there_end - size), *there_end);
  if (!there) return there.error();
  std::size_t done = std::min(there->size(), undecided->size());
  const auto same = [](const Entry& a, const Entry& b) { return a.bytes == b.bytes; };
  while (done > 0 && !std::equal(there->end() - static_cast<std::ptrdiff_t>(done), there->end(),
                                 undecided->begin(), same))
    --done;
  first = done ? (*there)[there->size() - done].offset : *there_end;
  Appender appender(target_);
  for (std::size_t i = done; i < undecided->size(); ++i)
    if (auto put = appender.put(Topic::intents, (*undecided)[i].bytes); !put) return put;
  copied_.intents = undecided->size();
  return appender.drain();
}

Status LogCopy::open_target() {
  std::int64_t first = 0;
  if (auto done = copy_intents(first); !done) return done;
  const auto reports = fetch_end(target_, Topic::reports, patience);
  if (!reports) return reports.error();
  const LogId to = have_.head.sealed_to;
  Record record{.log = to,
                .level = have_.head.level,
                .seq = have_.head.seq + 1,
                .prev = have_.head.hash,
                .at_ms = std::clamp(options_.wall_ms(), have_.head.at_ms, have_.head.at_ms + clock_near_ms),
                .controller = have_.head.controller,
                .positions = {{Topic::reports, 0, *reports}, {Topic::intents, 0, first}}};
  record.decisions.push_back({.events = {LogOpened{.log = to, .from = have_.head.log}}});
  fold(have_.state, record);
  record.digest = have_.state.digest();
  const auto sealed = encode(record);
  Appender appender(target_);
  if (auto put = appender.put(Topic::events, sealed.bytes); !put) return put;
  if (auto drained = appender.drain(); !drained) return drained;
  if (auto read = made_.read(target_, telling("reading back")); !read) return read;
  if (made_.head.hash != sealed.hash)
    return {
        Errc::conflict,
        target_.place() + " was opened by another copy at the same time: look at it with `reprise verify`"};
  copied_.paused_ms = record.at_ms - have_.head.at_ms;
  return {};
}

}  // namespace

Status CopyChain::read(Log& log, const std::function<void(const Head&)>& progress) {
  const auto end = fetch_end(log, Topic::events, patience);
  if (!end) return end.error();
  auto reader = WaitingReader::open(log, Topic::events, next_offset_);
  if (!reader) return reader.error();
  while (reader->position() < *end) {
    const auto entries = reader->next(entries_at_once, patience);
    if (!entries) return entries.error();
    for (const auto& entry : *entries)
      if (auto taken = take(entry); !taken)
        return {taken.error().code, log.place() + ": " + taken.error().text};
    progress(head);
  }
  // Once more at the end: there a damaged log says that it went on.
  if (const auto more = reader->next(1, 0ms); !more && more.error().code != Errc::timed_out)
    return more.error();
  return {};
}

Status CopyChain::take(const Entry& entry) {
  const Step step = read_step(head, seen, entry);
  if (step.verdict == Verdict::broken) return {Errc::broken, step.why};
  seen.add(step.hash);
  next_offset_ = entry.offset + 1;
  if (step.verdict == Verdict::is_void) {
    ++voids;
    return {};
  }
  if (!folds_) {
    head = advance(head, step.record, step.hash, step.offset);
  } else if (auto applied = apply_step(state, head, step); !applied) {
    return {Errc::broken, applied.error().text};
  }
  digest = step.record.digest;
  lines.push_back({step.hash, step.offset});
  return {};
}

Result<Copied> copy_log(const CopySource& source, Log& target, const CopyOptions& options) {
  return LogCopy(source, target, options).run();
}

}  // namespace reprise::cli
