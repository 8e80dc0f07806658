#include "controlplane/controller.h"

#include "projections/fold.h"

namespace reprise {
namespace {

constexpr std::size_t poll_entries = 256;
constexpr std::size_t pending_max = 2048;
constexpr std::size_t seen_max = 4096;
constexpr std::int64_t clock_near_ms = 300'000;   // so far from the log's a wall clock needs no witness
constexpr std::int64_t clock_again_ms = 60'000;
constexpr std::int64_t missing_gap_ms = 5'000;  // entries were there again, if they were not missed for so long

}  // namespace

const char* role_name(Controller::Role role) {
  switch (role) {
    case Controller::Role::following: return "following";
    case Controller::Role::claiming: return "claiming";
    case Controller::Role::leading: return "leading";
    case Controller::Role::stopped: return "stopped";
  }
  return "?";
}

Controller::Controller(Ports ports, Options options, State state, Head head)
    : ports_(std::move(ports)), options_(std::move(options)), state_(std::move(state)), head_(head), tip_(head),
      leases_(options_.lease_ms), answers_(std::make_shared<Answers>()) {
  remember(head_.hash);
  confirmed_ = state_.mark();
  if (options_.may_lead) candidacy_ = ports_.log->stand(ports_.wake);
}

Controller::~Controller() = default;

std::int64_t Controller::step(Now now) {
  if (status_.role == Role::stopped) return now.steady_ms + options_.lease_ms;
  read_events(now);
  if (status_.role == Role::stopped) return now.steady_ms + options_.lease_ms;
  const bool claimed = status_.role == Role::claiming || status_.role == Role::leading;
  if (claimed && appends_failed()) depose(now, "an append failed");
  else if (claimed && overdue(now)) depose(now, "an append was not read back in time");
  else if (claimed && candidacy_ && !candidacy_->elected()) depose(now, "another was elected");
  if (status_.role == Role::following) maybe_claim(now);
  if (status_.role == Role::leading) lead(now);
  if (!events_) return waits_[Topic::events].again_ms;
  if (status_.role == Role::following && claim_not_before_ > now.steady_ms) return claim_not_before_;
  if (!in_flight_.empty()) return in_flight_.front().sent_ms + options_.append_deadline_ms + 1;
  std::int64_t next = leases_.next_check_ms(now.steady_ms);
  if (status_.role == Role::leading)
    if (const auto due = next_deadline(state_)) next = std::min(next, now.steady_ms + std::max<std::int64_t>(1, *due - time_.at(now)));
  for (const auto& [topic, waits] : waits_)
    if (waits.again_ms > now.steady_ms) next = std::min(next, waits.again_ms);
  if (!passed_.empty()) next = std::min(next, counts_due_ms());
  return next;
}

// ---- reading the events topic

void Controller::read_events(Now now) {
  if (!events_) {
    auto& again_ms = waits_[Topic::events].again_ms;
    if (now.steady_ms < again_ms) return;
    auto reader = ports_.log->open_reader(Topic::events, head_.offset + 1, ports_.wake);
    if (!reader) {
      again_ms = now.steady_ms + options_.backoff_ms;
      status_.reason = reader.error().text;
      return;
    }
    events_ = std::move(*reader);
  }
  for (;;) {
    auto entries = events_->poll(poll_entries);
    if (!entries) {
      if (entries.error().code == Errc::unreachable || entries.error().code == Errc::again) return;
      if (entries.error().code != Errc::not_found || stays_missing(Topic::events, now)) return stop(entries.error().text);
      events_.reset();
      if (status_.role != Role::following) depose(now, entries.error().text);
      status_.reason = entries.error().text;
      return;
    }
    if (entries->empty()) return;
    waits_[Topic::events] = {};
    for (const auto& entry : *entries) {
      take_entry(entry, now);
      if (status_.role == Role::stopped) return;
    }
  }
}

// Kafka's next leader of a topic may not know for a moment of all that the one before gave: it is asked again, and only what
// stays away is lost.
bool Controller::stays_missing(Topic topic, Now now) {
  Wait& missing = waits_[topic];
  if (!missing.last_ms || now.steady_ms - *missing.last_ms > missing_gap_ms) missing.since_ms = now.steady_ms;
  missing.last_ms = now.steady_ms;
  missing.again_ms = now.steady_ms + options_.backoff_ms;
  return now.steady_ms - missing.since_ms > options_.missing_ms;
}

void Controller::take_entry(const Entry& entry, Now now) {
  Hash hash;
  auto record = decode_record(entry.bytes, &hash);
  if (!record) return stop(fmt::format("events offset {}, after seq {}: {}", entry.offset, head_.seq, record.error().text));
  const Judgement judgement = judge(head_, *this, *record);
  if (judgement.verdict == Verdict::broken)
    return stop(fmt::format("events offset {}, after seq {}: {}", entry.offset, head_.seq, judgement.why));
  remember(hash);
  if (judgement.verdict == Verdict::is_void) {
    ++status_.voids;
    if (record->controller == status_.id && status_.role != Role::following) depose(now, "a record of this claim is void: " + judgement.why);
    return;
  }
  if (!in_flight_.empty() && in_flight_.front().hash == hash) return confirm(*record, hash, entry.offset);
  if (status_.role != Role::following) depose(now, "another controller's record came first");
  follow(*record, hash, entry.offset);
}

bool Controller::contains(const Hash& hash) const {
  return seen_.contains(hash) || (ports_.seen_before && ports_.seen_before->contains(hash));
}

// What seen_before has by now is not kept here: it would grow for as long as the process lives.
void Controller::remember(const Hash& hash) {
  seen_.insert(hash);
  seen_order_.push_back(hash);
  if (!ports_.seen_before || seen_order_.size() < seen_max) return;
  while (seen_order_.size() > seen_max / 2 && ports_.seen_before->contains(seen_order_.front())) {
    seen_.erase(seen_order_.front());
    seen_order_.pop_front();
  }
}

// Our own record came back: what was folded on speculation stands.
void Controller::confirm(const Record& record, const Hash& hash, std::int64_t offset) {
  head_ = advance(head_, record, hash, offset);
  confirmed_ = std::move(in_flight_.front().after);
  in_flight_.pop_front();
  const auto sizes = state_.forget_before(confirmed_);
  for (auto& later : in_flight_)
    for (std::size_t i = 0; i < sizes.size(); ++i) later.after.sizes[i] -= sizes[i];
  confirmed_.sizes.assign(sizes.size(), 0);
  if (head_.sealed_to) return stop(sealed());
  if (status_.role == Role::claiming) status_.role = Role::leading;
}

void Controller::follow(const Record& record, const Hash& hash, std::int64_t offset) {
  fold(state_, record);
  if (state_.digest() != record.digest)
    return stop(fmt::format("seq {}: replaying gives digest {}, the record says {}", record.seq, state_.digest().hex(), record.digest.hex()));
  state_.forget_before(state_.mark());
  confirmed_ = state_.mark();
  head_ = tip_ = advance(head_, record, hash, offset);
}

std::string Controller::sealed() const {
  return fmt::format("the log was sealed at seq {}: the cloud went to {}", head_.seq, state_.the_cloud().sealed_place);
}

void Controller::stop(std::string reason) {
  ports_.say("controller stopped: " + reason);
  producer_.reset();
  candidacy_.reset();
  status_.role = Role::stopped;
  status_.reason = std::move(reason);
}

// ---- the claim

bool Controller::appends_failed() const { return answers_->append_failed.load(); }

bool Controller::overdue(Now now) const {
  return !in_flight_.empty() && now.steady_ms - in_flight_.front().sent_ms > options_.append_deadline_ms;
}

void Controller::depose(Now now, const std::string& why) {
  ports_.say(fmt::format("controller {} ends its claim: {}", status_.id.str(), why));
  producer_.reset();
  intents_.reset();
  reports_.reset();
  heartbeats_.reset();
  pending_intents_.clear();
  pending_reports_.clear();
  passed_.clear();
  reports_lost_to_.reset();
  in_flight_.clear();
  state_.roll_back(confirmed_);
  tip_ = head_;
  answers_ = std::make_shared<Answers>();
  end_asked_ = false;
  status_.role = Role::following;
  status_.reason = why;
  status_.held.clear();
  status_.clock.clear();
  claim_not_before_ = now.steady_ms + 1 + static_cast<std::int64_t>(ports_.random() % static_cast<std::uint64_t>(options_.backoff_ms));
}

void Controller::maybe_claim(Now now) {
  if (!options_.may_lead || head_.seq == 0 || !events_ || now.steady_ms < claim_not_before_) return;
  if (head_.sealed_to) {  // for good, unless this log is where it went: then LogOpened follows
    status_.reason = sealed();
    return;
  }
  if (!candidacy_->elected()) {
    if (std::exchange(end_asked_, false)) answers_ = std::make_shared<Answers>();  // an old end proves nothing later
    stands_back_ = status_.stands_back = true;
    status_.reason = "another controller is elected";
    return;
  }
  status_.stands_back = false;
  if (std::exchange(stands_back_, false)) {
    status_.reason = "it is elected, and reads to the end of the log before it claims";
    ports_.say("controller: elected");
  }
  if (answers_->end_failed.exchange(false)) {
    end_asked_ = false;
    claim_not_before_ = now.steady_ms + options_.backoff_ms;
    status_.reason = "the log cannot be reached";
    return;
  }
  if (!end_asked_) {
    end_asked_ = true;
    ports_.log->end(Topic::events, [answers = answers_, wake = ports_.wake](Result<std::int64_t> end) {
      if (end) answers->events_end = *end;
      else answers->end_failed = true;
      wake();
    });
  }
  const std::int64_t end = answers_->events_end.load();
  if (end < 0 || events_->position() < end) return;  // not yet caught up
  claim(now);
}

void Controller::claim(Now now) {
  auto producer = ports_.log->open_producer();
  if (!producer) {
    status_.reason = producer.error().text;
    claim_not_before_ = now.steady_ms + options_.backoff_ms;
    return;
  }
  producer_ = std::move(*producer);
  answers_ = std::make_shared<Answers>();
  end_asked_ = false;
  status_.id = {ports_.random(), ports_.random()};
  ++status_.claims;
  status_.role = Role::claiming;
  status_.reason.clear();
  start_time(now, head_.at_ms);
  start_leading(now);
  Draft draft = open_draft(now);
  add(draft, {.cause = Cause::controller, .events = {ControllerStarted{.controller = status_.id, .host = options_.host}}});
  send(std::move(draft), now);
  ports_.say(fmt::format("controller {} claims at seq {}", status_.id.str(), tip_.seq));
}

std::string hours(std::int64_t ms) {
  return ms < 600'000 ? fmt::format("{} s", ms / 1000) : fmt::format("{:.1f} h", static_cast<double>(ms) / 3'600'000);
}

// A clock that is far ahead must be borne out: log time never goes back. Without that, and with one that is behind, it goes
// on from the log's (ops/decisions/0026).
void Controller::start_time(Now now, std::int64_t at_ms) {
  const std::int64_t ahead_ms = now.wall_ms - at_ms;
  std::string doubt;
  if (ahead_ms > clock_near_ms) doubt = ports_.doubt_clock ? ports_.doubt_clock(now) : "there is no second witness";
  time_.start(now, at_ms, doubt.empty());
  clock_asked_ms_ = now.steady_ms;
  std::string wrong;
  if (!doubt.empty())
    wrong = fmt::format("this host's clock is {} ahead of the log, and {}: log time goes on from the log's, a tenth faster; "
                        "let the clock be synchronised (`timedatectl set-ntp true`), then it follows at once", hours(ahead_ms), doubt);
  if (ahead_ms < -clock_near_ms)
    wrong = fmt::format("this host's clock is {} behind the log: log time goes on from the log's, a tenth slower; set the clock right "
                        "if it is the clock that is wrong", hours(-ahead_ms));
  if (!wrong.empty() && status_.clock.empty()) ports_.say("controller: " + wrong);
  status_.clock = std::move(wrong);
}

// A clock that is set right, or borne out, only now. Not while anything has a deadline: it would pass at once.
void Controller::tend_clock(Now now) {
  if (status_.clock.empty() || now.steady_ms - clock_asked_ms_ < clock_again_ms) return;
  clock_asked_ms_ = now.steady_ms;
  if (std::abs(time_.behind_ms(now)) <= clock_near_ms) return status_.clock.clear();
  if (!next_deadline(state_)) start_time(now, std::max(tip_.at_ms, time_.at(now)));
}

// Everything that is the claim's own and not in the log: where to read on, and the leases.
void Controller::start_leading(Now now) {
  next_offset_.clear();
  for (const auto& position : state_.the_cloud().positions) next_offset_[position.topic] = position.offset;
  leases_.start(state_, now.steady_ms);
  tried_ = {};
  passed_.clear();
  reports_lost_to_.reset();
  waits_[Topic::heartbeats] = {};
  ask_heartbeats_end(now);
}

// ---- what comes in

std::int64_t Controller::consumed(Topic topic) const {
  const auto at = next_offset_.find(topic);
  return at == next_offset_.end() ? 0 : at->second;
}

void Controller::poll_topic(Topic topic, std::unique_ptr<Reader>& reader, std::deque<Input>& inputs, Now now) {
  if (now.steady_ms < waits_[topic].again_ms) return;
  if (!reader) {
    auto opened = ports_.log->open_reader(topic, consumed(topic), ports_.wake);
    if (!opened) return;
    reader = std::move(*opened);
  }
  while (inputs.size() < pending_max) {
    auto entries = reader->poll(poll_entries);
    if (!entries && entries.error().code == Errc::not_found) {
      const std::int64_t position = reader->position();
      const auto begin = ports_.log->begin(topic);
      if (!begin) return;
      const bool missing = *begin <= position;
      if (missing && stays_missing(topic, now))
        return stop(fmt::format("{} ends before offset {}, although what stood before it was decided: it has lost entries; "
                                "`reprise log repair` fills them up", topic_name(topic), position));
      auto opened = ports_.log->open_reader(topic, std::max(*begin, position), ports_.wake);
      if (!opened) return;
      reader = std::move(*opened);
      if (missing) return;
      // Behind retention. Lost intents become an event when the first one that is kept is decided; of reports, agents send
      // again what was not taken.
      ports_.say(fmt::format("{} from offset {} to {} were not kept long enough to be decided: they are lost", topic_name(topic),
                             position, *begin - 1));
      if (topic == Topic::reports) reports_lost_to_ = *begin;
      continue;
    }
    if (!entries && (entries.error().code == Errc::broken || entries.error().code == Errc::denied)) return stop(entries.error().text);
    if (!entries) return;
    if (entries->empty()) return;
    waits_[topic] = {};
    for (auto& entry : *entries) {
      Input input{.position = {topic, 0, entry.offset}, .bytes = std::move(entry.bytes)};
      if (topic == Topic::intents) {
        auto intent = decode_intent(input.bytes);
        if (intent) input.intent = std::move(*intent);
        else input.unreadable = intent.error().text;
      }
      inputs.push_back(std::move(input));
    }
  }
}

void Controller::poll_inputs(Now now) {
  poll_topic(Topic::reports, reports_, pending_reports_, now);
  poll_topic(Topic::intents, intents_, pending_intents_, now);
}

// They are heard from the end on, whatever became of those before: each is followed by another.
void Controller::ask_heartbeats_end(Now now) {
  auto& again_ms = waits_[Topic::heartbeats].again_ms;
  if (now.steady_ms < again_ms) return;
  again_ms = now.steady_ms + options_.backoff_ms;
  answers_->heartbeats_end = -1;
  answers_->heartbeats_failed = false;
  ports_.log->end(Topic::heartbeats, [answers = answers_, wake = ports_.wake](Result<std::int64_t> end) {
    if (end) answers->heartbeats_end = *end;
    else answers->heartbeats_failed = true;
    wake();
  });
}

void Controller::hear_heartbeats(Now now) {
  if (!heartbeats_) {
    if (answers_->heartbeats_failed) return ask_heartbeats_end(now);
    const std::int64_t end = answers_->heartbeats_end.load();
    if (end < 0) return;
    auto opened = ports_.log->open_reader(Topic::heartbeats, end, ports_.wake);
    if (!opened) return ask_heartbeats_end(now);
    heartbeats_ = std::move(*opened);
  }
  for (;;) {
    auto entries = heartbeats_->poll(poll_entries);
    if (!entries) {
      heartbeats_.reset();
      answers_->heartbeats_failed = true;
      return ask_heartbeats_end(now);
    }
    if (entries->empty()) return;
    for (const auto& entry : *entries) {
      const auto heartbeat = decode_heartbeat(entry.bytes);
      if (!heartbeat) continue;
      const Node* node = state_.nodes.find(heartbeat->node);
      if (node && node->incarnation == heartbeat->incarnation) leases_.heard(node->id, now.steady_ms);
    }
  }
}

}  // namespace reprise
