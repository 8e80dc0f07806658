// What stands around a copy: which logs are meant, who seals, and what the operator reads.
#include <fmt/format.h>
#include <sodium/randombytes.h>
#include <unistd.h>

#include <chrono>
#include <future>

#include "controlplane/api/router.h"
#include "controlplane/cli/cloud_access.h"
#include "controlplane/cli/log_access.h"
#include "controlplane/cli/log_copy.h"
#include "controlplane/cli/wakeup.h"
#include "controlplane/controller.h"
#include "events/log_place.h"
#include "events/print.h"

namespace reprise::cli {
namespace {

using namespace std::chrono_literals;
constexpr std::int64_t seal_ms_max = 60'000;
constexpr std::int64_t answer_ms_max = 3'000;  // of a controller that leads

std::uint64_t random_64() {
  std::uint64_t value = 0;
  randombytes_buf(&value, sizeof value);
  return value;
}

Status append_intent(Log& log, Producer& producer, const SealLog& wish, std::int64_t head_ms) {
  Intent intent;
  intent.id = api::random_id().as<IntentId>();
  intent.request_id = "req-" + api::random_id().str();
  intent.sent_ms = wall_now_ms();
  intent.expires_ms = std::max(intent.sent_ms, head_ms) + seal_ms_max;
  intent.client = "reprise log copy";
  intent.set(wish);
  const auto answer = std::make_shared<std::promise<Result<std::int64_t>>>();
  auto answered = answer->get_future();
  producer.append(Topic::intents, encode(intent),
                  [answer](Result<std::int64_t> done) { answer->set_value(std::move(done)); });
  if (answered.wait_for(30s) != std::future_status::ready)
    return {Errc::timed_out, log.place() + " does not take the intent to seal it: run the copy again"};
  const auto offset = answered.get();
  return offset ? Status{} : Status(offset.error());
}

// Follows the log until it is sealed; as a candidate, decides what comes when nobody else leads.
Status await_seal(Log& log, const CopyChain& source, bool may_lead, std::int64_t patience_ms) {
  const auto wakeup = std::make_shared<Wakeup>();  // the log may answer when the controller is gone
  Controller controller({.log = &log,
                         .random = random_64,
                         .seen_before = &source.seen,
                         .wake = [wakeup] { wakeup->ring(); },
                         .say = [](const std::string&) {}},
                        {.host = "reprise log copy", .may_lead = may_lead}, source.state.copy(false, true),
                        source.head);
  const std::int64_t deadline = steady_now_ms() + patience_ms;
  while (true) {
    const std::int64_t now = steady_now_ms(),
                       next = controller.step({.steady_ms = now, .wall_ms = wall_now_ms()});
    if (controller.head().sealed_to) return {};
    if (controller.status().role == Controller::Role::stopped)
      return {Errc::broken, controller.status().reason};
    if (now >= deadline)
      return {
          Errc::timed_out,
          fmt::format(
              "no controller has sealed {} within {} s ({}): is one elected that hangs? Run the copy again",
              log.place(), patience_ms / 1000, controller.status().reason)};
    wakeup->wait(std::min(next, deadline));
  }
}

// A controller that leads decides it; where none does, this one stands like any other. To stand while another
// leads would only make the group turn to us.
Status seal_by_controller(Log& log, const SealLog& wish, const CopyChain& source) {
  auto producer = log.open_producer();
  if (!producer) return producer.error();
  if (auto done = append_intent(log, **producer, wish, source.head.at_ms); !done) return done;
  const bool ours_alone = log.place().starts_with("embedded:");
  if (!ours_alone)
    if (const auto sealed = await_seal(log, source, false, answer_ms_max);
        sealed || sealed.error().code != Errc::timed_out)
      return sealed;
  return await_seal(log, source, true, seal_ms_max);
}

Status seal_by_server(const Credentials& server, const SealLog& wish, const CopyChain& source) {
  const auto cloud = OnlineCloud::connect(server);
  if (!cloud) return cloud.error();
  const auto sealed =
      cloud->post("/log/seal", fmt::format(R"({{"log":"{}","to":"{}","place":{}}})", source.head.log.str(),
                                           wish.to.str(), json_quoted(wish.place)));
  return sealed ? Status{} : Status(sealed.error());
}

// A folder that a server has open is read beside it, and sealed by it.
Result<CopySource> open_source(const Common& common, const std::string& place) {
  const StateFolder state{common.state};
  auto opened = open_log(place, state, LogMode::write);
  if (opened) {
    const std::shared_ptr<Log> log = std::move(*opened);
    return CopySource{
        .open = [log] { return Result<std::shared_ptr<Log>>(log); },
        .seal = [log](const SealLog& wish,
                      const CopyChain& source) { return seal_by_controller(*log, wish, source); }};
  }
  if (opened.error().code != Errc::denied || !place.starts_with("embedded:")) return opened.error();
  const auto server = find_server(common);
  if (!server || !*server)
    return Error{
        Errc::denied,
        fmt::format(
            "{}. If that is a cloud's server, name its state folder with --state: it has to seal the log",
            opened.error().text)};
  return CopySource{
      .open = [place, state]() -> Result<std::shared_ptr<Log>> {
        auto log = open_log(place, state, LogMode::read_only);
        if (!log) return log.error();
        return std::shared_ptr<Log>(std::move(*log));
      },
      .seal = [server = **server](const SealLog& wish,
                                  const CopyChain& source) { return seal_by_server(server, wish, source); }};
}

// A line on a terminal, once the copy takes longer than a glance.
class ProgressLine {
 public:
  explicit ProgressLine(bool shown) : shown_(shown) {}
  ~ProgressLine() {
    if (said_) fmt::print(stderr, "\r\033[K");
  }
  void operator()(const char* doing, Seq seq) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now - last_ < 500ms) return;
    last_ = now;
    said_ = true;
    fmt::print(stderr, "\r\033[K{}: seq {}", doing, seq);
  }

 private:
  const bool shown_;
  bool said_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

void print_copied(const Common& common, const std::string& from, const std::string& to, const Copied& c) {
  if (common.json) {
    fmt::print(
        "{{\"ok\":true,\"from\":{},\"to\":{},\"log\":\"{}\",\"seq\":{},\"head\":\"{}\",\"digest\":\"{}\","
        "\"records\":{},\"intents\":{},\"void\":{},\"paused_ms\":{},\"resumed\":{},\"already\":{}}}\n",
        json_quoted(from), json_quoted(to), c.head.log.str(), c.head.seq, c.head.hash.hex(), c.digest.hex(),
        c.records, c.intents, c.voids, c.paused_ms, c.resumed, c.already);
    return;
  }
  if (c.already) {
    fmt::print("{} was copied to {} before: nothing to do\n", from, to);
  } else {
    fmt::print("copied  {} record{} and {} undecided intent{}{}{}\n", c.records, c.records == 1 ? "" : "s",
               c.intents, c.intents == 1 ? "" : "s",
               c.voids ? fmt::format("; {} void left behind", c.voids) : "",
               c.resumed ? " (going on where an earlier copy was)" : "");
    fmt::print("paused  {} ms between the last record of the one and the first of the other\n", c.paused_ms);
  }
  fmt::print("seq     {}\nhead    {}\ndigest  {}\n", c.head.seq, c.head.hash.hex(), c.digest.hex());
  fmt::print(
      "next: set log.place = \"{}\" in each process's configuration, and start it again; {} is sealed\n", to,
      from);
}

}  // namespace

int run_log_copy(const LogCopyOptions& options) {
  const StateFolder state{options.common.state};
  const auto from = full_place(options.from, state), to = full_place(options.to, state);
  if (!from || !to) return fail(options.common, from ? to.error() : from.error()), exit_usage;
  if (*from == *to)
    return fail(options.common, Errc::invalid, *from + " is both FROM and TO: name two logs"), exit_usage;
  const auto source = open_source(options.common, *from);
  if (!source) return fail(options.common, source.error());
  const auto target = open_log(*to, state, LogMode::create);
  if (!target) return fail(options.common, target.error());
  Result<Copied> copied = [&] {
    ProgressLine line(!options.common.json && ::isatty(STDERR_FILENO));
    return copy_log(*source, **target,
                    {.place = *to,
                     .to = api::random_id().as<LogId>(),
                     .wall_ms = wall_now_ms,
                     .progress = [&](const char* doing, Seq seq) { line(doing, seq); }});
  }();
  if (!copied) return fail(options.common, copied.error());
  print_copied(options.common, *from, *to, *copied);
  return exit_well;
}

}  // namespace reprise::cli
