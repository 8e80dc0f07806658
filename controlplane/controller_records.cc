// What the controller that leads makes of its inputs: records (see controller.h).
#include "controlplane/controller.h"
#include "projections/fold.h"

namespace reprise {
namespace {

constexpr std::size_t due_max = 64;
constexpr std::uint32_t careful_after = 3;   // claims in a row without a decision, this one included
constexpr std::uint32_t tries_max = 2;
constexpr std::size_t passed_max = 4096;     // nodes whose reports a record may count: about 300 KiB of it
constexpr std::int64_t uncounted_ms_max = 6 * 3'600'000;  // a quarter of what the topic of reports keeps

}  // namespace

void Controller::lead(Now now) {
  hear_heartbeats(now);
  poll_inputs(now);
  if (status_.role != Role::leading) return;
  tend_clock(now);
  while (in_flight_.size() < options_.pipeline_max) {
    if (try_carefully(now) || seal(now)) return;
    if (!build_record(now)) return;
  }
}

// The next record: everything but its decisions and digest; the State has forgotten what is past.
Controller::Draft Controller::open_draft(Now now) {
  Draft draft;
  Record& record = draft.record;
  record.log = tip_.log;
  record.level = tip_.level;
  record.seq = tip_.seq + 1;
  record.prev = tip_.hash;
  record.at_ms = std::max(tip_.at_ms, time_.at(now));
  record.controller = status_.id;
  draft.frame = {.seq = record.seq, .at_ms = record.at_ms};
  draft.next_offset = next_offset_;
  fold_begin(state_, draft.frame);
  return draft;
}

void Controller::add(Draft& draft, Decision decision, const Intent* intent) {
  fold_decision(state_, draft.frame, decision, intent);
  draft.record.decisions.push_back(std::move(decision));
}

// Each heartbeat of each node comes by here: a draft would first forget all that has expired since the last record, and
// undo it when nothing follows.
bool Controller::anything_to_decide(Now now) {
  if (!pending_reports_.empty() || !pending_intents_.empty() || counts_are_due(now)) return true;
  if (const auto due = next_deadline(state_); due && *due <= std::max(tip_.at_ms, time_.at(now))) return true;
  auto lapsed = leases_.lapsed(state_, now.steady_ms);
  status_.held = std::move(lapsed.held);
  return !lapsed.lost.empty();
}

// A record out of what is pending; false: nothing was. What one input alone makes too large is put aside.
bool Controller::build_record(Now now) {
  if (!anything_to_decide(now)) return false;
  bool put_aside = false;
  for (std::size_t most = options_.batch_max;; most /= 2) {
    bool too_large = false;
    const bool shipped = build_record(now, std::max<std::size_t>(most, 1), put_aside, too_large);
    if (!too_large) return shipped;
    CHECK(most > 0);  // of what no input asked for
    put_aside = most == 1;
  }
}

bool Controller::build_record(Now now, std::size_t most, bool put_aside, bool& too_large) {
  const auto mark = state_.mark();
  Draft draft = open_draft(now);
  fill(draft, now, most, put_aside);
  const bool all_reports = draft.reports == pending_reports_.size();
  if (reports_lost_to_ && all_reports) ask_all_again(draft);
  bool empty = draft.record.decisions.empty();
  if (!empty || counts_are_due(now) || draft.passed.size() >= passed_max || (careful(Topic::reports) && !draft.passed.empty())) {
    count_passed(draft);
    empty = draft.record.decisions.empty();
  }
  SealedRecord sealed;
  if (!empty) {
    for (const auto& [topic, offset] : draft.next_offset) draft.record.positions.push_back({topic, 0, offset});
    fold_end(state_, draft.record.positions);
    draft.record.digest = state_.digest();
    sealed = encode(draft.record);
  }
  too_large = sealed.bytes.size() > record_bytes_max;
  if (empty || too_large) state_.roll_back(mark);
  if (too_large) return false;
  // What was old, of a former life, or changed nothing, is passed over; its position is written with the next record.
  next_offset_ = draft.next_offset;
  pending_reports_.erase(pending_reports_.begin(), pending_reports_.begin() + static_cast<std::ptrdiff_t>(draft.reports));
  pending_intents_.erase(pending_intents_.begin(), pending_intents_.begin() + static_cast<std::ptrdiff_t>(draft.intents));
  if (all_reports) reports_lost_to_.reset();
  if (empty) {
    if (passed_.empty()) passed_since_ms_ = now.steady_ms;
    for (auto& [node, one] : draft.passed) passed_[node] = one;
    return false;
  }
  passed_.clear();
  ship(std::move(draft), std::move(sealed), now);
  return true;
}

void Controller::fill(Draft& draft, Now now, std::size_t most, bool put_aside) {
  decide_timers(draft, now, most);
  const auto full = [&] { return draft.record.decisions.size() >= most || draft.passed.size() >= passed_max; };
  const bool careful_reports = careful(Topic::reports) && !pending_reports_.empty(), careful_intents = careful(Topic::intents);
  const std::size_t reports_max = careful_reports ? 1 : pending_reports_.size();
  while (!full() && draft.reports < reports_max) decide_report(draft, pending_reports_[draft.reports++], put_aside);
  if (careful_reports && (careful_intents || draft.reports < pending_reports_.size())) return;  // one was tried, alone
  const std::size_t intents_max = careful_intents ? 1 : most;
  while (!full() && draft.intents < std::min(intents_max, pending_intents_.size())) {
    const Input& input = pending_intents_[draft.intents];
    if (input.intent && input.intent->type() == IntentType::SealLog) return;  // goes alone: see seal()
    ++draft.intents;
    decide_intent(draft, input, put_aside ? "Its outcome would not fit into one record of the log; ask for less at once." : "");
  }
}

void Controller::decide_timers(Draft& draft, Now now, std::size_t most) {
  const auto timer = [&](Events events) {
    if (!events.empty()) add(draft, {.cause = Cause::timer, .events = std::move(events)});
  };
  for (auto& events : decide_due(state_, draft.record.at_ms, std::min(due_max, most))) timer(std::move(events));
  const auto lapsed = leases_.lapsed(state_, now.steady_ms);
  status_.held = lapsed.held;
  for (const auto node : lapsed.lost)
    timer(decide_lost(state_, node, fmt::format("not heard of for {} s", options_.lease_ms / 1000), draft.record.at_ms + options_.lease_ms));
}

void Controller::decide_report(Draft& draft, const Input& input, bool too_large) {
  draft.next_offset[Topic::reports] = input.position.offset + 1;
  const auto report = decode_report(input.bytes);
  if (!report) {
    ports_.say(fmt::format("reports offset {} is unreadable and was passed over: {}", input.position.offset, report.error().text));
    return;
  }
  if (too_large) return put_report_aside(draft, input, *report, "what follows from it does not fit into one record");
  if (is_poison(input.position)) return put_report_aside(draft, input, *report, "two controllers ended while deciding it");
  const Node* node = state_.nodes.find(report->node);
  const Passed* before = passed(draft, report->node);
  const bool same_life = before && node && before->incarnation == node->incarnation;
  auto verdict = decide(state_, *report, draft.record.at_ms, same_life ? before->number : 0);
  if (!verdict.take) return;
  ++status_.decisions;
  if (verdict.events.empty())
    draft.passed[report->node] = {report->incarnation, report->number, input.position};
  else
    add(draft, {.cause = Cause::report, .position = input.position, .node = report->node, .report = report->number,
                .events = std::move(verdict.events)});
}

// Nothing that comes in ends a controller twice: its agents tell everything again.
void Controller::put_report_aside(Draft& draft, const Input& input, const Report& report, const char* why) {
  const Node* node = state_.nodes.find(report.node);
  ports_.say(fmt::format("report {} of node {} at reports offset {} was put aside: {}. Keep a copy of it, and report it", report.number,
                         node ? node->name : report.node.str(), input.position.offset, why));
  auto events = put_aside(state_, report);
  if (events.empty()) return;  // of a former life: it counts for nobody
  add(draft, {.cause = Cause::report, .position = input.position, .node = report.node, .report = report.number,
              .events = std::move(events)});
}

const Controller::Passed* Controller::passed(const Draft& draft, NodeId node) const {
  if (const auto at = draft.passed.find(node); at != draft.passed.end()) return &at->second;
  const auto at = passed_.find(node);
  return at == passed_.end() ? nullptr : &at->second;
}

// What was passed over before this record is counted in it, so that its positions are past no report that is not.
void Controller::count_passed(Draft& draft) {
  auto all = draft.passed;
  all.insert(passed_.begin(), passed_.end());  // the draft's are later
  for (const auto& [id, one] : all) {
    const Node* node = state_.nodes.find(id);
    if (!node || node->incarnation != one.incarnation || one.number <= reports_taken(state_, *node)) continue;
    add(draft, {.cause = Cause::report, .position = one.position, .node = id, .report = one.number});
  }
}

// Whose reports were lost nobody knows.
void Controller::ask_all_again(Draft& draft) {
  auto& next = draft.next_offset[Topic::reports];
  next = std::max(next, *reports_lost_to_);
  Events events;
  state_.nodes.each([&](const Node& node) {
    const std::uint64_t taken = reports_taken(state_, node);
    if (node.state != NodeState::dead) events.push_back(ReportsSkipped{.node = node.id, .after = taken, .got = taken});
  });
  if (!events.empty()) add(draft, {.cause = Cause::controller, .events = std::move(events)});
}

// Before a record that goes alone. True: one with the counts is on its way.
bool Controller::write_counts(Now now) {
  if (passed_.empty()) return false;
  const auto mark = state_.mark();
  Draft draft = open_draft(now);
  count_passed(draft);
  passed_.clear();
  if (draft.record.decisions.empty()) return state_.roll_back(mark), false;
  send(std::move(draft), now);
  return true;
}

bool Controller::counts_are_due(Now now) const {
  if (reports_lost_to_ && pending_reports_.empty()) return true;
  return !passed_.empty() && (passed_.size() >= passed_max || now.steady_ms >= counts_due_ms());
}

std::int64_t Controller::counts_due_ms() const { return passed_since_ms_ + uncounted_ms_max; }

bool Controller::careful(Topic topic) const {
  const Cloud& cloud = state_.the_cloud();
  return (topic == Topic::reports ? cloud.barren_reports : cloud.barren_claims) >= careful_after;
}

bool Controller::is_poison(const Position& position) const {
  const Cloud& cloud = state_.the_cloud();
  return careful(position.topic) && cloud.tried == position && cloud.tries > tries_max;
}

void Controller::decide_intent(Draft& draft, const Input& input, const std::string& too_large) {
  const std::int64_t expected = draft.next_offset[Topic::intents];
  if (input.position.offset > expected)
    add(draft, {.cause = Cause::controller,
                .events = {IntentsLost{.from = {Topic::intents, 0, expected}, .to = input.position}}});
  draft.next_offset[Topic::intents] = input.position.offset + 1;
  if (input.intent && state_.decided.contains(input.intent->id)) return;  // the same one again
  add(draft, {.cause = Cause::intent, .position = input.position,
              .intent = input.bytes.size() <= intent_bytes_max ? input.bytes : Bytes{}, .events = verdict(draft, input, too_large)},
      input.intent ? &*input.intent : nullptr);
  ++status_.decisions;
}

Events Controller::verdict(const Draft& draft, const Input& input, const std::string& too_large) const {
  if (!input.intent) return refuse(Refusal::unreadable, "The intent could not be read: " + input.unreadable);
  if (!too_large.empty()) return refuse(Refusal::poison, too_large, input.intent->object);
  if (is_poison(input.position))
    return refuse(Refusal::poison, "Two controllers ended while deciding this request; it was put aside. Report its id.", input.intent->object);
  if (auto known = known_key(*input.intent)) return *known;
  return decide(state_, *input.intent, draft.record.at_ms);
}

// The client's own key was used before: the first answer is given again, unless the body is another.
std::optional<Events> Controller::known_key(const Intent& intent) const {
  if (intent.key.empty()) return std::nullopt;
  const ClientKey* first = state_.client_keys.find(ClientKey::key_of(intent.user, intent.project, intent.key));
  if (!first) return std::nullopt;
  if (first->body_hash != intent.body_hash)
    return refuse(Refusal::key_reused, fmt::format("X-Reprise-Intent {} was used for another request; give each request its own.", intent.key), intent.object);
  return refuse(Refusal::key_repeated, "This request was answered before.", first->intent.as<AnyId>());
}

// After claims that ended without a decision: IntentTried goes alone, and is read back, before each one, be it a report or
// an intent. True: nothing else may be built now.
bool Controller::try_carefully(Now now) {
  const std::deque<Input>* inputs = nullptr;
  if (careful(Topic::reports) && !pending_reports_.empty()) inputs = &pending_reports_;
  else if (careful(Topic::intents) && !pending_intents_.empty()) inputs = &pending_intents_;
  if (!inputs) return false;
  if (!in_flight_.empty() || write_counts(now)) return true;
  const Position position = inputs->front().position;
  if (tried_ == position) return false;
  tried_ = position;
  Draft draft = open_draft(now);
  add(draft, {.cause = Cause::controller, .position = position, .events = {IntentTried{.position = position}}});
  send(std::move(draft), now);
  return true;
}

// SealLog goes alone, after everything before it was read back. True: nothing else may be built now.
bool Controller::seal(Now now) {
  if (pending_intents_.empty()) return false;
  const Input& input = pending_intents_.front();
  if (!input.intent || input.intent->type() != IntentType::SealLog) return false;
  if (!in_flight_.empty() || write_counts(now)) return true;
  Draft draft = open_draft(now);
  decide_intent(draft, input);
  pending_intents_.pop_front();
  next_offset_ = draft.next_offset;
  if (draft.record.decisions.empty()) return true;
  send(std::move(draft), now);
  return true;
}

void Controller::send(Draft draft, Now now) {
  for (const auto& [topic, offset] : draft.next_offset) draft.record.positions.push_back({topic, 0, offset});
  fold_end(state_, draft.record.positions);
  draft.record.digest = state_.digest();
  SealedRecord sealed = encode(draft.record);
  ship(std::move(draft), std::move(sealed), now);
}

void Controller::ship(Draft draft, SealedRecord sealed, Now now) {
  tip_ = advance(tip_, draft.record, sealed.hash, -1);
  in_flight_.push_back({.hash = sealed.hash, .after = state_.mark(), .sent_ms = now.steady_ms});
  producer_->append(Topic::events, std::move(sealed.bytes), [answers = answers_, wake = ports_.wake](Result<std::int64_t> offset) {
    if (offset) return;
    answers->append_failed = true;
    wake();
  });
}

}  // namespace reprise
