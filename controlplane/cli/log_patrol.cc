#include "controlplane/cli/log_patrol.h"

#include <fmt/format.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <sys/resource.h>
#include <time.h>

#include <sstream>

#include "controlplane/cli/state_folder.h"
#include "controlplane/cli/wakeup.h"
#include "projections/replay.h"

namespace reprise::cli {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr std::size_t entries_at_once = 64;
constexpr auto patience = 30s;  // for what was folded and must be there
constexpr int lowest_priority = 19;
constexpr int retry_doublings_max = 6;
constexpr const char* file_format = "1";

nanoseconds thread_cpu() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

// All that were folded here: an index in the store serves for millions of them.
class FoldedHere final : public SeenHashes {
 public:
  explicit FoldedHere(const Projection& projection) : projection_(projection) {}
  bool contains(const Hash& hash) const override { return projection_.view().seq_of(hash).has_value(); }

 private:
  const Projection& projection_;
};

Head head_at(const View& view, const State& state) {
  const Cloud& cloud = state.the_cloud();
  const RecordLine& line = view.line();
  return {.log = cloud.log,
          .level = cloud.level,
          .seq = view.seq(),
          .hash = line.hash,
          .at_ms = line.at_ms,
          .controller = cloud.controller,
          .sealed_to = cloud.sealed_to,
          .offset = line.offset};
}

// What no view of the past has: a line for each row.
constexpr const char* counts_word = "reports ";
std::string counts_of(const State& state) {
  std::string lines;
  state.node_reports.each([&](const NodeReports& row) {
    lines += fmt::format("{}{:016x}{:016x} {}\n", counts_word, row.node.hi, row.node.lo, row.taken);
  });
  return lines;
}
void load_counts(const std::string& text, State& state) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    NodeReports row;
    unsigned long long hi = 0, lo = 0, taken = 0;
    if (std::sscanf(line.c_str(), "reports %16llx%16llx %llu", &hi, &lo, &taken) != 3) continue;
    row.node = {hi, lo};
    row.taken = taken;
    if (state.node_reports.contains(row.node)) continue;
    const Hash hash = Table<NodeReports>::row_hash(encode_key(row.node), encode_row(row));
    state.node_reports.load(row, hash, state.digest_for_loading<NodeReports>());
  }
}

}  // namespace

struct LogPatrol::Round {
  explicit Round(const Projection& projection) : seen(projection) {}
  FoldedHere seen;
  State state;
  Head head;
  Hash digest;  // of the state at the head
  std::int64_t next_offset = 0;
  Seq target = 0;
};

LogPatrol::LogPatrol(Log& log, const Projection& projection, LogPatrolOptions options,
                     std::function<void(const std::string&)> say)
    : log_(log), projection_(projection), options_(std::move(options)), say_(std::move(say)) {
  CHECK(options_.cpu_share > 0 && options_.cpu_share <= 1);
  status_.state = "verifying";
  thread_ = std::thread([this] { run(); });
}

LogPatrol::~LogPatrol() { stop(); }

void LogPatrol::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

bool LogPatrol::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

story::VerificationLine LogPatrol::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

bool LogPatrol::rest(nanoseconds pause) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, pause, [&] { return stopping_; });
}

void LogPatrol::pace(nanoseconds cpu) {
  const double others = 1 / options_.cpu_share - 1;
  (void)rest(nanoseconds(static_cast<std::int64_t>(static_cast<double>(cpu.count()) * others)));
}

void LogPatrol::run() {
  ::setpriority(PRIO_PROCESS, 0, lowest_priority);  // of this thread alone
  load();
  for (int failures = 0; !stopping();) {
    if (const auto next = status().next_ms; next > wall_now_ms()) {
      if (!rest(std::chrono::milliseconds(next - wall_now_ms()))) break;
      continue;  // the wall clock may have been set
    }
    const auto gone = go_round();
    if (stopping()) break;
    if (gone || gone.error().code == Errc::broken) {
      failures = 0;
      end_round(gone);
      continue;
    }
    {
      const std::lock_guard lock(mutex_);
      status_.state = "waiting", status_.trouble = gone.error().text;
    }
    if (failures == 0 && gone.error().code != Errc::again) say_("verify: waits: " + gone.error().text);
    if (!rest(options_.retry * (1 << std::min(failures++, retry_doublings_max)))) break;
  }
  if (round_) save();
}

Status LogPatrol::begin_round() {
  const Head newest = projection_.head();
  if (newest.seq == 0) return {Errc::again, "nothing was folded here yet"};
  Seq seq = 0;
  {
    const std::lock_guard lock(mutex_);
    seq = status_.seq, status_.next_ms = 0;
  }
  round_ = std::make_unique<Round>(projection_);
  if (const auto resumed = seq ? resume(seq) : Status{}; !resumed) {
    say_(fmt::format("verify: from the first record again, because {}", resumed.error().text));
    round_ = std::make_unique<Round>(projection_);
  }
  round_->target = std::max(newest.seq, round_->head.seq);
  return {};
}

// From what the file says was verified: the state of then, if it still is what it was.
Status LogPatrol::resume(Seq seq) {
  const auto text = read_file(options_.file);
  if (!text) return text.error();
  const auto view = projection_.view_at(seq);
  if (!view) return view.error();
  const RecordLine& line = view->line();
  if (text->find(fmt::format(" {} {} ", line.hash.hex(), line.digest.hex())) == std::string::npos)
    return {Errc::conflict, fmt::format("what was verified as seq {} is not what was folded here", seq)};
  if (!text->ends_with("\n" + log_.place() + "\n") || view->store_head().place != log_.place())
    return {Errc::conflict, "the log moved to " + log_.place()};
  auto state = load_state(*view);
  if (!state) return state.error();
  load_counts(*text, *state);
  if (state->digest() != line.digest)
    return {Errc::conflict, fmt::format("the counts of reports as of seq {} are not what was folded here", seq)};
  round_->state = std::move(*state);
  round_->digest = line.digest;
  round_->head = head_at(*view, round_->state);
  round_->next_offset = line.offset + 1;
  return {};
}

Status LogPatrol::go_round() {
  if (!round_)
    if (auto begun = begin_round(); !begun) return begun;
  auto reader = log_.open_reader(Topic::events, round_->next_offset, [this] {
    const std::lock_guard lock(mutex_);
    rung_ = true;
    changed_.notify_all();
  });
  if (!reader) return reader.error();
  auto saved = std::chrono::steady_clock::now();
  while (round_->head.seq < round_->target && !stopping()) {
    const auto begun = thread_cpu();
    std::vector<Entry> entries;
    if (auto got = await_entries(**reader, entries); !got) return got;
    const View folded = projection_.view();
    for (const auto& entry : entries) {
      if (round_->head.seq == round_->target) break;
      if (auto taken = take(entry, folded); !taken) return taken;
    }
    {
      const std::lock_guard lock(mutex_);
      status_.state = "verifying", status_.trouble.clear();
      status_.seq = round_->head.seq, status_.target = round_->target;
    }
    if (std::chrono::steady_clock::now() - saved >= options_.save_every) {
      save();
      saved = std::chrono::steady_clock::now();
    }
    pace(thread_cpu() - begun);
  }
  if (stopping()) return {};
  const std::string wrong = check_counters(round_->state);
  return wrong.empty()
             ? Status{}
             : Status{Errc::broken, "a counter does not agree with the rows that it counts: " + wrong};
}

Status LogPatrol::await_entries(Reader& reader, std::vector<Entry>& entries) {
  while (!stopping()) {
    auto polled = reader.poll(entries_at_once);
    if (!polled && polled.error().code == Errc::not_found)
      return {Errc::broken, fmt::format("it ends before offset {}, though seq {} was folded here: {}",
                                        reader.position(), round_->target, polled.error().text)};
    if (!polled) return polled.error();
    if (!polled->empty()) return entries = std::move(*polled), Status{};
    std::unique_lock lock(mutex_);
    const bool woken = changed_.wait_for(lock, patience, [&] { return rung_ || stopping_; });
    rung_ = false;
    if (!woken)
      return {Errc::timed_out, fmt::format("{} gave nothing at offset {}, though seq {} was folded here",
                                           log_.place(), reader.position(), round_->target)};
  }
  return {};
}

Status LogPatrol::take(const Entry& entry, const View& folded) {
  round_->next_offset = entry.offset;  // where it is broken, if it is
  const Step step = read_step(round_->head, round_->seen, entry);
  if (step.verdict == Verdict::broken) return {Errc::broken, step.why};
  if (step.verdict == Verdict::extends) {
    const auto line = folded.line_of(step.record.seq);
    if (line && line->hash != step.hash)
      return {Errc::broken,
              fmt::format("the record of seq {} is {}, but {} was folded here: the log was changed since",
                          step.record.seq, step.hash.hex(), line->hash.hex())};
    if (auto applied = apply_step(round_->state, round_->head, step); !applied)
      return {Errc::broken, applied.error().text};
    round_->digest = step.record.digest;
  }
  round_->next_offset = entry.offset + 1;
  return folded.status();
}

void LogPatrol::end_round(const Status& found) {
  const Head& head = round_->head;
  std::string words =
      fmt::format("verify: {} is good up to seq {}, head {}", log_.place(), head.seq, head.hash.hex());
  {
    const std::lock_guard lock(mutex_);
    status_.target = round_->target;
    status_.trouble.clear();
    status_.state = found ? "resting" : "broken";
    status_.broken = found ? "" : found.error().text;
    status_.remedy.clear();
    if (found) {
      status_.whole_seq = head.seq, status_.whole_ms = wall_now_ms();
      status_.next_ms = status_.whole_ms + options_.pause.count();
    } else {
      status_.broken_after = head.seq, status_.broken_offset = round_->next_offset;
      status_.remedy = fmt::format(
          "seq 1 to {} are proved good, and what was folded here still serves. Keep a copy of the log and of "
          "the "
          "projection, end what writes to it, and let `reprise verify` say whether it was the disk or the "
          "reading",
          head.seq);
      words = fmt::format("verify: {} is broken at offset {}, where seq {} should be: {}. What to do: {}",
                          log_.place(), status_.broken_offset, head.seq + 1, status_.broken, status_.remedy);
    }
  }
  save();  // a next process looks at once for what is broken, this one after the pause
  round_.reset();
  {
    const std::lock_guard lock(mutex_);
    status_.seq = 0;
    if (!found) status_.next_ms = wall_now_ms() + options_.pause.count();
  }
  say_(words);
}

// One line of numbers, the counts, and the log's place.
void LogPatrol::save() {
  const auto now = status();
  const bool midway = round_ && round_->head.seq > 0 && now.next_ms == 0;
  const auto written = write_file(
      options_.file, fmt::format("{} {} {} {} {} {} {}\n{}{}\n", file_format, midway ? round_->head.seq : 0,
                                 midway ? round_->head.hash.hex() : "-", midway ? round_->digest.hex() : "-",
                                 now.whole_seq, now.whole_ms, now.next_ms, midway ? counts_of(round_->state) : "", log_.place()));
  if (!written) say_("verify: how far it came is not kept: " + written.error().text);
}

void LogPatrol::load() {
  const auto text = read_file(options_.file);
  if (!text) return;  // it begins
  std::istringstream in(*text);
  std::string format, hash, digest;
  story::VerificationLine line{.state = "verifying"};
  in >> format >> line.seq >> hash >> digest >> line.whole_seq >> line.whole_ms >> line.next_ms;
  if (!in || format != file_format)
    return say_("verify: " + options_.file + " is not readable: it begins anew");
  if (line.next_ms > 0) line.state = "resting";
  const std::lock_guard lock(mutex_);
  status_ = std::move(line);
}

void count(prometheus::Registry& registry, const story::VerificationLine& v) {
  auto& family = prometheus::BuildGauge()
                     .Name("reprise_verification")
                     .Help("The log, verified again in the background")
                     .Register(registry);
  const auto set = [&](const char* what, double value) { family.Add({{"value", what}}).Set(value); };
  set("seq", static_cast<double>(v.seq));
  set("target", static_cast<double>(v.target));
  set("whole_seq", static_cast<double>(v.whole_seq));
  set("whole_at_ms", static_cast<double>(v.whole_ms));
  set("waiting", v.trouble.empty() ? 0 : 1);
  set("broken", v.broken.empty() ? 0 : 1);
}

}  // namespace reprise::cli
