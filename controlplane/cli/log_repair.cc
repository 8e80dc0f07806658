#include "controlplane/cli/log_repair.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <future>

#include "controlplane/cli/config_choice.h"
#include "controlplane/cli/log_access.h"
#include "events/print.h"
#include "projections/fetch.h"
#include "projections/view.h"

namespace reprise::cli {
namespace {

using namespace std::chrono_literals;
constexpr auto patience = 30s;
constexpr std::size_t entries_at_once = 256;
const Bytes filler = "an entry that was lost stood here (reprise log repair)";

// The last record that stood before that offset.
Seq last_before(const View& view, std::int64_t offset) {
  Seq before = 0, after = view.seq() + 1;
  while (after - before > 1) {
    const Seq middle = before + (after - before) / 2;
    const auto line = view.line_of(middle);
    if (!line) return 0;
    (line->offset < offset ? before : after) = middle;
  }
  return before;
}

// What stands in the log from the last kept record on is what the projection read there.
Status check_prefix(Log& log, const Store& store, const View& view, const RepairPlan& plan) {
  const auto line = view.line_of(plan.kept);
  if (!line) return view.status().error();
  for (std::int64_t at = line->offset; at < plan.end;) {
    const auto entries = fetch(log, Topic::events, at, entries_at_once, patience);
    if (!entries) return entries.error();
    for (const auto& entry : *entries) {
      if (entry.offset >= plan.end) break;
      Hash hash;
      const auto record = decode_record(entry.bytes, &hash);
      const bool ours = entry.offset == line->offset ? hash == line->hash : store.contains(hash);
      if (!record || !ours)
        return {Errc::conflict,
                fmt::format("at offset {} {} has {}, which the projection in {} did not read there: the log went on "
                            "without what it lost, or is another's; nothing was written. Repair it from a node whose "
                            "projection agrees with it",
                            entry.offset, log.place(),
                            record ? fmt::format("seq {} with hash {}", record->seq, hash.hex()) : record.error().text,
                            store.dir())};
    }
    at = entries->back().offset + 1;
  }
  return {};
}

// Every record that is missing is in the tail, and how many places between them were void ones'.
Status check_tail(const Store& store, const View& view, RepairPlan& plan) {
  std::int64_t next = plan.end;
  for (Seq seq = plan.kept + 1; seq <= plan.last; ++seq) {
    const auto line = view.line_of(seq);
    if (!line || !view.tail(seq)) {
      Seq first = seq;
      while (view.status() && first <= plan.last && !view.tail(first)) ++first;
      if (!view.status()) return view.status().error();
      return {Errc::conflict,
              fmt::format("the log lacks everything after seq {}, but the projection in {} keeps the bytes only of seq {} "
                          "and later; nothing was written. Look for a node that keeps more, or for a copy of the log",
                          plan.kept, store.dir(), first)};
    }
    plan.copies += static_cast<std::uint64_t>(line->offset - next);
    next = line->offset + 1;
  }
  return {};
}

Result<std::int64_t> append_one(Log& log, Producer& producer, Topic topic, Bytes bytes) {
  auto answer = std::make_shared<std::promise<Result<std::int64_t>>>();
  auto answered = answer->get_future();
  producer.append(topic, std::move(bytes), [answer](Result<std::int64_t> done) { answer->set_value(std::move(done)); });
  if (answered.wait_for(patience) == std::future_status::ready) return answered.get();
  return {Errc::timed_out, fmt::format("{} did not answer an append within {} s: run the repair again", log.place(),
                                       patience.count())};
}

Status append_at(Log& log, Producer& producer, Topic topic, Bytes bytes, std::int64_t offset) {
  const auto at = append_one(log, producer, topic, std::move(bytes));
  if (!at) return at.error();
  if (*at == offset) return {};
  return {Errc::conflict,
          fmt::format("an entry of {} went to offset {} of {} instead of {}: somebody else appends to it. Stop every "
                      "`reprise serve` of this cloud, then run the repair again",
                      topic_name(topic), *at, log.place(), offset)};
}

int print_plan(const RepairOptions& options, const std::string& place, const Store& store, const RepairPlan& plan) {
  const bool well = plan.nothing() || options.apply;
  if (options.common.json) {
    std::string fills;
    for (const auto& fill : plan.fills)
      fills += fmt::format("{}{{\"topic\":\"{}\",\"from\":{},\"to\":{}}}", fills.empty() ? "" : ",", topic_name(fill.topic),
                           fill.from, fill.to);
    fmt::print("{{\"ok\":{},\"log\":{},\"applied\":{},\"kept\":{},\"last\":{},\"records\":{},\"copies\":{},\"filled\":[{}],"
               "\"head\":\"{}:{}\"}}\n",
               well, json_quoted(place), options.apply && !plan.nothing(), plan.kept, plan.last, plan.last - plan.kept,
               plan.copies, fills, plan.last, store.head().head.hash.hex());
    return well ? exit_well : exit_wrong;
  }
  if (plan.nothing()) {
    fmt::print("{} holds everything that the projection in {} has, up to seq {}\n", place, store.dir(), plan.last);
    return exit_well;
  }
  const char* will = options.apply ? "are" : "would be";
  if (plan.kept < plan.last)
    fmt::print("events    {} ends with seq {}; seq {} to {} {} appended again from {}, with {} copies where void records "
               "stood\n",
               place, plan.kept, plan.kept + 1, plan.last, will, store.dir(), plan.copies);
  for (const auto& fill : plan.fills)
    fmt::print("{:9} entries that were decided are gone: offset {} to {} {} filled up\n", topic_name(fill.topic), fill.from,
               fill.to - 1, will);
  if (options.apply) fmt::print("it ends with {}:{} again: start the cloud\n", plan.last, store.head().head.hash.hex());
  else
    fmt::print("nothing was written. Choose the node whose head is the highest (`reprise status`), stop every "
               "`reprise serve`, then: reprise log repair --apply --state {}\n",
               options.common.state);
  return well ? exit_well : exit_wrong;
}

Status carry_out(const RepairOptions& options, Log& log, const Store& store, const RepairPlan& plan) {
  const bool shown = !options.common.json && ::isatty(STDERR_FILENO);
  auto last = std::chrono::steady_clock::now();
  auto done = repair(log, store, plan, [&](Seq seq) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown || now - last < 500ms) return;
    last = now;
    fmt::print(stderr, "\r\033[Kappended up to seq {} of {}", seq, plan.last);
  });
  if (shown) fmt::print(stderr, "\r\033[K");
  return done;
}

}  // namespace

Result<RepairPlan> plan_repair(Log& log, const Store& store) {
  const StoreHead& head = store.head();
  if (head.head.seq == 0)
    return {Errc::conflict, fmt::format("nothing was folded in {}: there is nothing to repair from", store.dir())};
  if (head.place != log.place())
    return {Errc::conflict, fmt::format("the projection in {} is of the log {}, not of {}: its offsets mean nothing there; "
                                        "nothing was written",
                                        store.dir(), head.place, log.place())};
  const View view = View::now(store.snapshot());
  RepairPlan plan{.last = head.head.seq};
  const auto begin = log.begin(Topic::events);
  if (!begin) return begin.error();
  const auto genesis = view.line_of(1);
  if (!genesis) return view.status().error();
  if (*begin > genesis->offset)
    return {Errc::conflict, fmt::format("{} begins at offset {}: its beginning was deleted, and only an end can be appended "
                                        "again; nothing was written. Go on with a copy that is whole",
                                        log.place(), *begin)};
  const auto end = fetch_end(log, Topic::events, patience);
  if (!end) return end.error();
  plan.end = *end;
  plan.kept = last_before(view, plan.end);
  if (plan.kept > 0)
    if (auto same = check_prefix(log, store, view, plan); !same) return same.error();
  if (plan.kept == 0 && plan.end > 0)
    return {Errc::conflict, fmt::format("{} has entries before where its genesis stood: it is another's; nothing was written",
                                        log.place())};
  if (auto there = check_tail(store, view, plan); !there) return there.error();
  const auto cloud = view.find<Cloud>({});
  if (!cloud) return {Errc::broken, fmt::format("the projection in {} has no cloud in it", store.dir())};
  for (const auto& position : cloud->positions) {
    const auto reached = fetch_end(log, position.topic, patience);
    if (!reached) return reached.error();
    if (*reached < position.offset) plan.fills.push_back({position.topic, *reached, position.offset});
  }
  return plan;
}

Status repair(Log& log, const Store& store, const RepairPlan& plan, const std::function<void(Seq)>& progress) {
  const View view = View::now(store.snapshot());
  auto producer = log.open_producer();
  if (!producer) return producer.error();
  std::int64_t next = plan.end;
  Bytes before = view.tail(plan.kept).value_or(Bytes{});
  for (Seq seq = plan.kept + 1; seq <= plan.last; ++seq) {
    const auto line = view.line_of(seq);
    auto bytes = view.tail(seq);
    if (!line || !bytes) return view.status() ? Status{Errc::broken, "the tail changed meanwhile"} : view.status();
    while (next < line->offset) {
      if (before.empty()) {  // of a record that the tail does not keep, but the log still has
        const auto kept = view.line_of(plan.kept);
        if (!kept) return view.status();
        const auto entries = fetch(log, Topic::events, kept->offset, 1, patience);
        if (!entries) return entries.error();
        before = entries->front().bytes;
      }
      if (auto put = append_at(log, **producer, Topic::events, before, next++); !put) return put;
    }
    if (auto put = append_at(log, **producer, Topic::events, *bytes, next++); !put) return put;
    before = std::move(*bytes);
    if (progress) progress(seq);
  }
  for (const auto& fill : plan.fills)
    for (std::int64_t offset = fill.from; offset < fill.to; ++offset)
      if (auto put = append_at(log, **producer, fill.topic, filler, offset); !put) return put;
  return {};
}

int run_log_repair(const RepairOptions& options) {
  const StateFolder state{options.common.state};
  std::string place = options.log;
  if (place.empty()) {
    const auto config = choose_config(options.common);
    if (!config) return fail(options.common, config.error());
    place = config->log.place;
  }
  if (!file_exists(state.projection()))
    return fail(options.common, Errc::not_found,
                fmt::format("there is no projection in {}: name the state folder of a node that has one", state.dir));
  const auto lock = FileLock::take(state.lock(), "reprise log repair");
  if (!lock) return fail(options.common, lock.error().code, lock.error().text + ": end it first");
  const auto store = Store::open({.dir = state.projection(), .read_only = true});
  if (!store) return fail(options.common, store.error());
  // Topics that were deleted are made again.
  const auto mode = !options.apply ? LogMode::read_only : place.starts_with("kafka:") ? LogMode::create : LogMode::write;
  const auto log = open_log(place, state, mode);
  if (!log) return fail(options.common, log.error());
  const auto plan = plan_repair(**log, **store);
  if (!plan) return fail(options.common, plan.error());
  if (options.apply)
    if (auto done = carry_out(options, **log, **store, *plan); !done) return fail(options.common, done.error());
  return print_plan(options, (*log)->place(), **store, *plan);
}

}  // namespace reprise::cli
