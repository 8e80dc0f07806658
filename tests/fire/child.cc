#include "tests/fire/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

namespace reprise::fire {
namespace {

using Clock = std::chrono::steady_clock;
using contract::FaultyDisk;
using Fault = FaultyDisk::Fault;
constexpr std::int64_t patience_us = 120'000'000;  // far beyond anything that is right
constexpr int exit_told = 0, exit_wrong = 1, exit_failed = 3;

void say(char what, std::int64_t number) {
  const auto line = fmt::format("{} {}\n", what, number);
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(exit_wrong);
}

// Everything that is said while the disk fails must say what is wrong.
bool is_clear(const Error& error, Fault fault) {
  const auto says = [&error](const char* words) { return error.text.find(words) != error.text.npos; };
  switch (fault) {
    case Fault::full: return says("free some");
    case Fault::read_only: return error.code == Errc::denied && says("writable");
    default: return !error.text.empty();
  }
}

// In the process that writes.
class Life {
 public:
  Life(const Place& place, const History& history, sim::Prng& prng, const Mishap& mishap)
      : place_(place), history_(history), prng_(prng), mishap_(mishap), disk_(mishap.loses_power) {}

  Result<Ended> run() {
    const auto log = open_embedded_log(place_.log(), place_.log_options(disk_.env()));
    if (!log) return log.error();
    auto opened = Projection::open(**log, place_.projection_options(disk_.env()));
    if (!opened) return opened.error();
    auto& projection = **opened;
    projection.watch([&](const Folded& folded) { say('f', static_cast<std::int64_t>(folded.head.seq)); });
    projection.start();
    if (mishap_.changes) disk_.set_after(mishap_.changes, mishap_.fault);
    const auto ended = append(**log, UINT64_MAX);
    if (!ended) return ended;
    if (mishap_.loses_power) {
      disk_.set(Fault::gone);  // whoever is at work in the background comes no further either
      disk_.lose_power(prng_);
      _exit(exit_failed);
    }
    disk_.set(Fault::none);
    if (*ended == Ended::failed)
      if (auto goes_on = append(**log, 20 + prng_.below(50)); !goes_on) return goes_on;
    // A full disk passes; after other failures the store may have to be opened again, and says so.
    auto folded = caught_up(projection);
    while (!folded && folded.error().code == Errc::no_space) folded = caught_up(projection);  // said at each try
    const auto status = projection.status();
    for (const auto& words : {status.trouble, status.broken})
      if (!words.empty() && mishap_.fault == Fault::full && !is_clear({Errc::broken, words}, mishap_.fault))
        return Error{Errc::broken, "not clear: " + words};
    if (!folded && (*ended == Ended::told || mishap_.fault == Fault::full)) return folded.error();
    return ended;
  }

 private:
  // told, or failed: the disk did, or so many were appended.
  Result<Ended> append(Log& log, std::uint64_t at_most) {
    Writer writer(log, history_, [](Topic topic, std::int64_t offset) {
      say(static_cast<char>('0' + index_of(topic)), offset);
    });
    const int open_max = static_cast<int>(1 + prng_.below(40));
    auto status = writer.open();
    bool more = status.ok();
    for (std::uint64_t i = 0; more && i < at_most; ++i) more = writer.append(prng_, open_max);
    if (status) status = writer.settle();
    if (status) return more ? Ended::failed : Ended::told;
    if (at_most != UINT64_MAX) return status.error();  // the disk is well again
    if (mishap_.changes && is_clear(status.error(), mishap_.fault)) return Ended::failed;
    return Error{status.error().code,
                 fmt::format("not clear ({}): {}", errc_name(status.error().code), status.error().text)};
  }

  const Place& place_;
  const History& history_;
  sim::Prng& prng_;
  const Mishap& mishap_;
  FaultyDisk disk_;
};

}  // namespace

Child::Child(const Place& place, const std::string& history, std::uint64_t seed, const Mishap& mishap) {
  int ends[2];
  CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::string words[] = {"fire", "writer", place.dir, history, std::to_string(seed),
                         std::to_string(static_cast<int>(mishap.fault)), std::to_string(mishap.changes),
                         mishap.loses_power ? "1" : "0"};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  CHECK(::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  pipe_ = ends[0];
}

Child::~Child() { ::close(pipe_); }

Result<Ended> Child::follow(const Moment& moment, Told& told) {
  const auto end = Clock::now() + std::chrono::microseconds(moment.microseconds ? moment.microseconds : patience_us);
  std::uint64_t said = 0;
  bool killed = false, hung = false;
  const auto kill_it = [&] { ::kill(pid_, SIGKILL), killed = true; };
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(end - Clock::now()).count();
    const timespec patience{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
    pollfd ready{.fd = pipe_, .events = POLLIN, .revents = 0};
    if (!killed && (left <= 0 || ::ppoll(&ready, 1, &patience, nullptr) == 0)) {
      kill_it();
      hung = moment.microseconds == 0;
    }
    char more[4096];
    const auto size = ::read(pipe_, more, sizeof more);  // what it had said before it was killed counts
    if (size <= 0) break;
    text_.append(more, static_cast<std::size_t>(size));
    said += take_lines(told);
    if (!killed && moment.acknowledgements && said >= moment.acknowledgements) kill_it();
  }
  int status = 0;
  CHECK(::waitpid(pid_, &status, 0) == pid_);
  if (hung) return Error{Errc::timed_out, "the writer hangs"};
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return Ended::killed;
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) return Ended::aborted;
  if (WIFEXITED(status) && WEXITSTATUS(status) == exit_told) return Ended::told;
  if (WIFEXITED(status) && WEXITSTATUS(status) == exit_failed) return Ended::failed;
  return Error{Errc::broken, fmt::format("the writer ended by itself (status {:#x})", status)};
}

// "TOPIC OFFSET" for an append, "f SEQ" for a record folded. Half a line was not said.
std::uint64_t Child::take_lines(Told& told) {
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

int run_writer(int argc, char** argv) {
  CHECK(argc == 8);
  const Place place{argv[2]};
  const auto history = History::read(argv[3]);
  sim::Prng prng(std::stoull(argv[4]));
  const Mishap mishap{static_cast<Fault>(std::stoi(argv[5])), std::stoull(argv[6]), *argv[7] == '1'};
  const auto ended = Life(place, history, prng, mishap).run();
  if (!ended) return fmt::print(stderr, "writer: {}\n", ended.error().text), exit_wrong;
  return *ended == Ended::told ? exit_told : exit_failed;
}

}  // namespace reprise::fire
