// kill -9 of a process that appends to an embedded log and folds it: at an acknowledgement, at some time, or
// in the middle of a change that it makes to a file (a write half done, a rename, a removal; so also within
// flushes and merges of files).
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>

#include "controlplane/cli/verify.h"
#include "tests/contract/faulty_disk.h"
#include "tests/fire/cloud.h"

namespace reprise::fire {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t records_per_cloud = 3000;

enum class When { acknowledged, later, changing };

// When the next one is killed.
struct Moment {
  When when = When::changing;
  std::uint64_t number = 0;  // of acknowledgements, microseconds or changes

  static Moment any(sim::Prng& prng) {
    const auto when = static_cast<When>(prng.below(3));
    switch (when) {
      case When::acknowledged: return {when, 1 + prng.below(600)};
      case When::later: return {when, prng.below(150'000)};
      case When::changing: return {when, 1 + prng.below(prng.chance(300) ? 60 : 1200)};
    }
    return {};
  }
};

class Child {
 public:
  Child(const Place& place, const std::string& history, std::uint64_t seed, const Moment& moment) {
    int ends[2];
    CHECK(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::string words[] = {"fire", "writer", place.dir, history, std::to_string(seed),
                           std::to_string(moment.when == When::changing ? moment.number : 0)};
    char* argv[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(),
                    words[4].data(), words[5].data(), nullptr};
    CHECK(::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    pipe_ = ends[0];
  }
  ~Child() { ::close(pipe_); }

  // Reads what it says until it is killed, or has ended. True: it was killed.
  Result<bool> follow(const Moment& moment, Told& told) {
    const auto end = Clock::now() + std::chrono::microseconds(moment.when == When::later ? moment.number : 60'000'000);
    std::uint64_t said = 0;
    bool killed = false;
    const auto kill_it = [&] { ::kill(pid_, SIGKILL), killed = true; };
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(end - Clock::now()).count();
      const timespec patience{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
      pollfd ready{.fd = pipe_, .events = POLLIN, .revents = 0};
      if (!killed && (left <= 0 || ::ppoll(&ready, 1, &patience, nullptr) == 0)) {
        kill_it();
        if (moment.when != When::later) return Error{Errc::timed_out, "the writer hangs"};
        continue;  // what it had said is still to be read
      }
      char more[4096];
      const auto size = ::read(pipe_, more, sizeof more);
      if (size <= 0) break;
      text_.append(more, static_cast<std::size_t>(size));
      said += take_lines(told);
      if (!killed && moment.when == When::acknowledged && said >= moment.number) kill_it();
    }
    int status = 0;
    CHECK(::waitpid(pid_, &status, 0) == pid_);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return false;
    return Error{Errc::broken, fmt::format("the writer ended by itself (status {:#x})", status)};
  }

 private:
  // "TOPIC OFFSET" for an append, "f SEQ" for a record folded. Half a line was not said.
  std::uint64_t take_lines(Told& told) {
    std::uint64_t appends = 0;
    std::size_t at = 0;
    for (auto end = text_.find('\n'); end != text_.npos; end = text_.find('\n', at)) {
      const char what = text_[at];
      const auto number = std::stoll(text_.substr(at + 2, end - at - 2));
      if (what == 'f') told.folded = std::max(told.folded, static_cast<Seq>(number));
      else told.ends[static_cast<std::size_t>(what - '0')] = number + 1, ++appends;
      at = end + 1;
    }
    text_.erase(0, at);
    return appends;
  }

  pid_t pid_ = -1;
  int pipe_ = -1;
  std::string text_;
};

Status prove(const Place& place, std::int64_t records, const History& history) {
  if (records == 0) return {};
  const auto log = open_embedded_log_read_only(place.log(), place.log_options());
  if (!log) return log.error();
  const auto verified = cli::verify_log(
      **log, {{static_cast<Seq>(records), history[static_cast<std::size_t>(records) - 1].hash, "the trial"}});
  if (!verified) return verified.error();
  return verified->broken.empty() ? Status() : Status(Errc::broken, verified->broken);
}

}  // namespace

int run_writer(const std::string& dir, const std::string& file, std::uint64_t seed, std::uint64_t changes) {
  const auto history = History::read(file);
  const Place place{dir};
  contract::FaultyDisk disk;
  if (changes) disk.set_after(changes, contract::FaultyDisk::Fault::kills);
  const auto fail = [](const Error& error) { return fmt::print(stderr, "writer: {}\n", error.text), 1; };
  const auto say = [](char what, std::int64_t number) {
    const auto line = fmt::format("{} {}\n", what, number);
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(1);
  };
  const auto log = open_embedded_log(place.log(), place.log_options(disk.env()));
  if (!log) return fail(log.error());
  auto projection = Projection::open(**log, place.projection_options(disk.env()));
  if (!projection) return fail(projection.error());
  (*projection)->watch([&](const Folded& folded) { say('f', static_cast<std::int64_t>(folded.head.seq)); });
  (*projection)->start();
  sim::Prng prng(seed);
  Writer writer(**log, history, [&](Topic topic, std::int64_t offset) {
    say(static_cast<char>('0' + index_of(topic)), offset);
  });
  if (auto opened = writer.open(); !opened) return fail(opened.error());
  const int open_max = static_cast<int>(1 + prng.below(40));
  while (writer.append(prng, open_max)) {
  }
  if (auto settled = writer.settle(); !settled) return fail(settled.error());
  if (auto done = caught_up(**projection); !done) return fail(done.error());
  return 0;
}

int run_kills(const Trial& trial) {
  sim::Prng prng(trial.seed);
  std::uint64_t kills = 0, clouds = 0, by[3] = {}, acknowledged = 0;
  double slowest_ms = 0;
  while (kills < trial.count) {
    const auto history = History::make(trial.seed + clouds, records_per_cloud);
    const Place place{fmt::format("{}/cloud-{}", trial.folder, clouds++)};
    std::filesystem::create_directories(place.dir);
    history.write(place.dir + "/history");
    Told told;
    Found found;
    for (bool more = true; more && kills < trial.count;) {
      const auto moment = Moment::any(prng);
      const auto killed = Child(place, place.dir + "/history", prng.next(), moment).follow(moment, told);
      if (!killed) return trial.wrong(kills, killed.error().text);
      more = *killed;
      kills += more;
      by[static_cast<int>(moment.when)] += more;
      auto checked = check(place, history, told, prng);
      if (!checked) return trial.wrong(kills, checked.error().text);
      found = std::move(*checked);
      if (!found.rebuilt.empty()) return trial.wrong(kills, "the projection was folded anew: " + found.rebuilt);
      slowest_ms = std::max(slowest_ms, found.recovery_ms);
      told.folded = static_cast<Seq>(found.records);
      trial.progress(kills, fmt::format("slowest recovery {:.0f} ms", slowest_ms));
    }
    for (const auto end : told.ends) acknowledged += static_cast<std::uint64_t>(end);
    if (auto proved = prove(place, found.records, history); !proved) return trial.wrong(kills, proved.error().text);
    std::filesystem::remove_all(place.dir);
  }
  return trial.well(
      fmt::format("\"kills\":{},\"at_acknowledgement\":{},\"at_some_time\":{},\"in_a_change\":{},\"clouds\":{},"
                  "\"acknowledged\":{},\"lost\":0,\"doubled\":0,\"differing\":0,\"rebuilt\":0,"
                  "\"slowest_recovery_ms\":{:.1f}",
                  kills, by[0], by[1], by[2], clouds, acknowledged, slowest_ms),
      fmt::format("{} kills ({} at an acknowledgement, {} at some time, {} in the middle of a change), {} entries "
                  "acknowledged: none lost, none doubled, no digest differs; slowest recovery {:.1f} ms",
                  kills, by[0], by[1], by[2], acknowledged, slowest_ms));
}

}  // namespace reprise::fire
