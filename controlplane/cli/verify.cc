#include "controlplane/cli/verify.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "controlplane/cli/config_choice.h"
#include "controlplane/cli/log_access.h"
#include "events/print.h"
#include "projections/fetch.h"
#include "projections/replay.h"
#include "projections/store.h"

namespace reprise::cli {
namespace {

using namespace std::chrono_literals;
constexpr auto patience = 30s;
constexpr std::size_t entries_at_once = 256;

// Polls a reader, and waits to be woken when there is nothing.
class Bell {
 public:
  void ring() {
    const std::lock_guard lock(mutex_);
    rung_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    const bool rung = changed_.wait_for(lock, patience, [&] { return rung_; });
    rung_ = false;
    return rung;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
};

class Replay {
 public:
  explicit Replay(const std::vector<KnownHead>& known) : known_(known) {}

  // False: the log is broken here.
  bool take(const Entry& entry) {
    ++verified.entries;
    const Step step = read_step(verified.head, seen_, entry);
    if (step.verdict == Verdict::broken) return broken(step.why, entry.offset);
    seen_.add(step.hash);
    if (step.verdict == Verdict::is_void) {
      ++verified.voids;
      return true;
    }
    if (auto applied = apply_step(state_, verified.head, step); !applied)
      return broken(applied.error().text, entry.offset);
    for (const auto& known : known_)
      if (known.seq == verified.head.seq && known.hash != verified.head.hash)
        return broken(
            fmt::format(
                "the record of seq {} is {}, but {} says {}: this log's history was changed, or is another's",
                known.seq, verified.head.hash.hex(), known.from, known.hash.hex()),
            entry.offset);
    return true;
  }

  void end() {
    verified.digest = state_.digest();
    for (const auto& known : known_)
      if (verified.broken.empty() && known.seq > verified.head.seq)
        broken(fmt::format("the log ends at seq {}, but {} knows seq {}: its end was cut off",
                           verified.head.seq, known.from, known.seq),
               verified.head.offset);
    if (const std::string wrong = verified.broken.empty() ? check_counters(state_) : ""; !wrong.empty())
      broken("a counter does not agree with the rows that it counts: " + wrong, verified.head.offset);
  }

  bool broken(std::string why, std::int64_t offset) {
    verified.broken = std::move(why);
    verified.broken_after = verified.head.seq;
    verified.broken_offset = offset;
    return false;
  }

  Verified verified;

 private:
  const std::vector<KnownHead>& known_;
  State state_;
  MemoryHashes seen_;
};

int print_verified(const VerifyOptions& options, const std::string& place, const Verified& v) {
  if (options.common.json) {
    fmt::print(
        "{{\"ok\":{},\"log\":{},\"seq\":{},\"head\":\"{}\",\"digest\":\"{}\",\"records\":{},\"void\":{}",
        v.broken.empty(), json_quoted(place), v.head.seq, v.head.hash.hex(), v.digest.hex(),
        v.entries - v.voids, v.voids);
    if (!v.broken.empty())
      fmt::print(",\"broken\":{},\"seq_broken\":{},\"offset\":{}", json_quoted(v.broken), v.broken_after + 1,
                 v.broken_offset);
    fmt::print("}}\n");
  } else if (v.broken.empty()) {
    fmt::print("seq     {}\nhead    {}\ndigest  {}\n", v.head.seq, v.head.hash.hex(), v.digest.hex());
    fmt::print("{}: every record extends the one before it, and proves the state after it{}\n", place,
               v.voids ? fmt::format(" ({} void, as every reader sees it)", v.voids) : "");
  }
  if (v.broken.empty()) return exit_well;
  fmt::print(stderr, "reprise: {} is broken at offset {}, where seq {} should be: {}\n", place,
             v.broken_offset, v.broken_after + 1, v.broken);
  fmt::print(stderr, "  what to do: stop what writes to it; seq 1 to {} are proved good{}\n", v.broken_after,
             v.broken_after ? fmt::format(" (head {})", v.head.hash.hex()) : "");
  return exit_wrong;
}

// The head that this node's projection stands at.
Result<std::optional<KnownHead>> projection_head(const StateFolder& state) {
  if (!file_exists(state.projection())) return std::optional<KnownHead>{};
  auto store = Store::open({.dir = state.projection(), .read_only = true});
  if (!store) return store.error();
  const Head& head = (*store)->head().head;
  if (head.seq == 0) return std::optional<KnownHead>{};
  return std::optional<KnownHead>{KnownHead{head.seq, head.hash, "the projection in " + state.projection()}};
}

}  // namespace

Result<KnownHead> parse_head(const std::string& text) {
  const auto colon = text.find(':');
  KnownHead known;
  const auto [end, failed] =
      std::from_chars(text.data(), text.data() + std::min(colon, text.size()), known.seq);
  const auto hash = colon == text.npos ? std::nullopt : Hash::parse(std::string_view(text).substr(colon + 1));
  if (failed != std::errc() || end != text.data() + colon || known.seq == 0 || !hash)
    return {
        Errc::invalid,
        fmt::format("--head {}: it must be SEQ:HASH as `reprise status` prints it, a number from 1 and 64 "
                    "hex digits",
                    text)};
  known.hash = *hash;
  known.from = "--head";
  return known;
}

Result<Verified> verify_log(Log& log, const std::vector<KnownHead>& known,
                            const std::function<void(const Head&)>& progress) {
  auto end = fetch_end(log, Topic::events, patience);
  if (!end) return end.error();
  const auto bell = std::make_shared<Bell>();
  auto reader = log.open_reader(Topic::events, 0, [bell] { bell->ring(); });
  if (!reader) return reader.error();
  Replay replay(known);
  const auto begin = log.begin(Topic::events);
  const bool cut = begin && *begin > 0;
  if (cut) replay.broken(fmt::format("{} begins at offset {}: its beginning was deleted", log.place(), *begin), *begin);
  // Once more at the end: there a damaged log says that it went on.
  for (bool at_end = cut; !at_end;) {
    at_end = (*reader)->position() >= *end;
    auto entries = (*reader)->poll(entries_at_once);
    if (!entries && entries.error().code == Errc::broken) {
      replay.broken(entries.error().text, (*reader)->position());
      break;
    }
    if (!entries) return entries.error();
    if (entries->empty() && !at_end && !bell->wait())
      return {Errc::timed_out,
              fmt::format("{} gave nothing at offset {} for {} s, though it ends at {}: try again",
                          log.place(), (*reader)->position(), patience.count(), *end)};
    bool good = true;
    for (const auto& entry : *entries)
      if (!(good = entry.offset >= *end || replay.take(entry))) break;
    if (!good) break;
    if (progress) progress(replay.verified.head);
  }
  replay.end();
  return std::move(replay.verified);
}

int run_verify(const VerifyOptions& options) {
  const StateFolder state{options.common.state};
  std::vector<KnownHead> known;
  if (!options.head.empty()) {
    auto head = parse_head(options.head);
    if (!head) return fail(options.common, head.error()), exit_usage;
    known.push_back(*head);
  }
  std::string place = options.log;
  if (place.empty()) {
    const auto config = choose_config(options.common);
    if (!config) return fail(options.common, config.error());
    place = config->log.place;
  }
  // The projection first: the log only grows, so that what was folded must be in it.
  if (options.with_state) {
    auto head = projection_head(state);
    if (!head) return fail(options.common, head.error());
    if (*head) known.push_back(**head);
  }
  auto log = open_log(place, state, LogMode::read_only);
  if (!log) return fail(options.common, log.error());
  const bool shown = !options.common.json && ::isatty(STDERR_FILENO);
  auto last = std::chrono::steady_clock::now();
  const auto verified = verify_log(**log, known, [&](const Head& head) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown || now - last < 500ms) return;
    last = now;
    fmt::print(stderr, "\r\033[Kverified up to seq {}", head.seq);
  });
  if (shown) fmt::print(stderr, "\r\033[K");
  if (!verified) return fail(options.common, verified.error());
  if (verified->entries == 0 && verified->broken.empty())
    return fail(options.common, Errc::not_found, fmt::format("the log {} is empty", (*log)->place()));
  return print_verified(options, (*log)->place(), *verified);
}

}  // namespace reprise::cli
