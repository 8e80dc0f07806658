#include "controlplane/api/backend.h"

#include <fmt/format.h>

#include <atomic>

#include "controlplane/api/router.h"

namespace reprise::api {
namespace {

constexpr std::chrono::milliseconds resend_pause{100};
constexpr std::chrono::milliseconds ask_again{500};
constexpr std::chrono::milliseconds leader_pause{1000};
constexpr std::int64_t ask_time_kept_ms = 60'000;
constexpr std::int64_t stall_ms = 2000;  // a session whose appends are not answered for so long gets no more

std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Of the session's errors: those that say the session is over.
bool ends_session(Errc code) { return code != Errc::invalid; }

}  // namespace

std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// One intent under way. Whoever knows first answers.
struct CoreBackend::Pending {
  IntentId id;
  Bytes bytes;
  bool asks_time = false;  // ours: nobody waits for it
  DecidedCallback callback;
  std::atomic<bool> answered{false};
  std::atomic<bool> sent{false};  // it may be in the log
  std::atomic<bool> written{false};  // it is
  std::atomic<std::int64_t> sent_ms{0};  // steady
  std::atomic<Waiters::Id> waiter{0};
  std::atomic<Alarms::Id> alarm{0};

  bool take() { return !answered.exchange(true); }
  void give(Result<DecidedAnswer> result) {
    const auto call = std::move(callback);
    call(std::move(result));
  }
  void answer(Result<DecidedAnswer> result) {
    if (take()) give(std::move(result));
  }
};

// `fate` is shared with the open appends, which must not keep the producer itself.
struct CoreBackend::Session {
  struct Fate {
    std::atomic<bool> over{false};
    std::atomic<int> unanswered{0};
    std::atomic<std::int64_t> heard_ms{0};  // steady: the last answer, or the first append without one
  };
  std::unique_ptr<Producer> producer;
  std::shared_ptr<Fate> fate = std::make_shared<Fate>();

  bool takes_more() const {
    return !fate->over && (fate->unanswered == 0 || steady_ms() - fate->heard_ms <= stall_ms);
  }
};

CoreBackend::CoreBackend(Parts parts) : parts_(std::move(parts)) {
  watch_ = parts_.projection->watch([this](const Folded& folded) { heard(folded.head.at_ms); });
  const std::lock_guard lock(clock_mutex_);
  heard_at_ms_ = std::max(heard_at_ms_, parts_.projection->head().at_ms);
  heard_steady_ms_ = steady_ms();
}

CoreBackend::~CoreBackend() { stop(); }

std::int64_t CoreBackend::now_ms() const {
  const std::lock_guard lock(clock_mutex_);
  return std::max(wall_ms(), heard_at_ms_ + std::max<std::int64_t>(0, steady_ms() - heard_steady_ms_));
}

// A record was folded: somebody leads.
void CoreBackend::heard(std::int64_t at_ms) {
  std::int64_t undecided = 0;
  {
    const std::lock_guard lock(clock_mutex_);
    heard_at_ms_ = at_ms;
    heard_steady_ms_ = steady_ms();
    undecided = std::exchange(undecided_steady_ms_, 0);
  }
  if (!undecided) return;
  if (parts_.say) parts_.say(fmt::format("api: the cloud is led again, after {} s", (steady_ms() - undecided) / 1000));
  alarms_->after({}, [this] { tend(); });
}

// Why no intent is appended; empty: it is.
std::string CoreBackend::nobody_leads() const {
  if (parts_.why_nobody_leads)
    if (auto why = parts_.why_nobody_leads(); !why.empty()) return why;
  const std::lock_guard lock(clock_mutex_);
  if (!undecided_steady_ms_) return {};
  return fmt::format("nothing has been decided for {} s", (steady_ms() - undecided_steady_ms_) / 1000);
}

// It is in the log, its window is over, and no record has come since.
void CoreBackend::note_undecided(std::int64_t sent_steady_ms) {
  {
    const std::lock_guard lock(clock_mutex_);
    if (undecided_steady_ms_ || heard_steady_ms_ > sent_steady_ms) return;
    undecided_steady_ms_ = sent_steady_ms;
  }
  if (parts_.say)
    parts_.say(fmt::format("api: nobody leads the cloud: what was asked {} s ago was written and not decided; what is asked "
                           "from now on waits, and is refused when its time is over. Look at the hosts with the role controller",
                           (steady_ms() - sent_steady_ms) / 1000));
}

void CoreBackend::stop() {
  std::shared_ptr<Session> session;
  std::deque<std::shared_ptr<Pending>> held;
  Projection::WatchId watch = 0;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    watch = std::exchange(watch_, 0);
    session = std::move(session_);
    held = std::exchange(held_, {});
    holding_ = false;
  }
  if (watch) parts_.projection->unwatch(watch);
  for (const auto& pending : held) {
    parts_.projection->cancel(pending->waiter);
    pending->answer({Errc::again, "this server stops: ask another, or again"});
  }
  // The producer's end calls its open `done`s; they and the alarms are the last to use this.
  session.reset();
  alarms_->stop();
}

View CoreBackend::view() const { return parts_.projection->view(); }
Result<View> CoreBackend::view_at(Seq seq) const { return parts_.projection->view_at(seq); }
ProjectionStatus CoreBackend::status() const { return parts_.projection->status(); }
Result<std::vector<StoredRecord>> CoreBackend::read_records(Seq from, std::size_t max) const {
  return parts_.projection->read_records(from, max);
}
Projection::WatchId CoreBackend::watch(std::function<void(const Folded&)> callback) {
  return parts_.projection->watch(std::move(callback));
}
void CoreBackend::unwatch(Projection::WatchId id) { parts_.projection->unwatch(id); }

void CoreBackend::console(ServerId server, NodeId node, std::size_t bytes_max, Console callback) {
  if (!parts_.console) return callback({Errc::unsupported, "this server has no way to its nodes' consoles"});
  parts_.console(server, node, bytes_max, std::move(callback));
}

void CoreBackend::fresh(PassedCallback callback) {
  struct Asked {
    std::atomic<bool> answered{false};
    std::atomic<Alarms::Id> alarm{0};
    PassedCallback callback;
  };
  const auto asked = std::make_shared<Asked>();
  asked->callback = [this, callback = std::move(callback)](const Status& status) {
    // Not stale, but a past long gone, or nothing yet.
    const bool anew = !status && parts_.projection->status().rebuilding;
    callback(anew ? Status(Errc::again, "it folds the log anew, its copy of the state was damaged: try again in a while")
                  : status);
  };
  const auto waiter = parts_.projection->fresh([asked, alarms = alarms_](const Status& status) {
    if (asked->answered.exchange(true)) return;
    if (const auto alarm = asked->alarm.load()) alarms->cancel(alarm);
    asked->callback(status);
  });
  if (asked->answered) return;
  asked->alarm = alarms_->after(parts_.fresh_patience, [this, asked, waiter] {
    if (asked->answered.exchange(true)) return;
    parts_.projection->cancel(waiter);
    asked->callback({Errc::timed_out, "the log did not answer in time: what is shown may be stale"});
  });
  if (asked->answered) alarms_->cancel(asked->alarm);
}

void CoreBackend::submit(Intent intent, DecidedCallback callback) {
  const auto pending = std::make_shared<Pending>();
  pending->id = intent.id;
  pending->bytes = encode(intent);
  pending->callback = std::move(callback);
  if (pending->bytes.size() > intent_bytes_max)
    return pending->answer(
        {Errc::invalid, "the request is too large: more than 256 KiB as it goes into the log"});
  // Before the append, so that no decision can be missed.
  const auto waiter = parts_.projection->wait_decided(
      intent.id, intent.expires_ms, [pending, alarms = alarms_](Result<DecidedAnswer> answer) {
        if (const auto alarm = pending->alarm.load()) alarms->cancel(alarm);
        pending->answer(std::move(answer));
      });
  if (waiter == 0) return;
  pending->waiter = waiter;
  const auto window = std::max<std::int64_t>(intent.expires_ms - intent.sent_ms, 0);
  pending->alarm = alarms_->after(std::chrono::milliseconds(window),
                                  [this, pending] { expired(pending, parts_.late_patience.count()); });
  append(pending);
}

void CoreBackend::append(const std::shared_ptr<Pending>& pending) {
  bool stopping = false;
  {
    std::lock_guard lock(mutex_);
    stopping = stopping_;
    if (!stopping) held_.push_back(pending);
    holding_ = !held_.empty();
  }
  if (!stopping) return tend();
  parts_.projection->cancel(pending->waiter);
  pending->answer({Errc::again, "this server stops: ask another, or again"});
}

// Hands over what is held, in the order that it came in. What a log that takes nothing was never given is surely
// not in it, and that can be said: so after a failure one question for the time goes first, alone.
void CoreBackend::tend() {
  std::shared_ptr<Session> ended;  // goes after the lock: its end calls its open appends back
  const bool led = nobody_leads().empty();
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  std::erase_if(held_, [](const auto& pending) { return pending->answered.load(); });
  if (!led) return wait_for_leader();
  if (session_ && session_->fate->over) {
    ended = std::move(session_);
    doubtful_ = true;
  }
  if (!held_.empty() && doubtful_ && !probing_) probe();
  while (!held_.empty() && !doubtful_ && (!session_ || session_->takes_more())) {
    if (hand_over(held_.front())) held_.pop_front();
  }
  holding_ = !held_.empty();
}

// Under the lock. What is not appended while nobody leads can truly be said not to be done.
void CoreBackend::wait_for_leader() {
  holding_ = !held_.empty();
  if (held_.empty() || std::exchange(waiting_for_leader_, true)) return;
  const bool known_here = parts_.why_nobody_leads && !parts_.why_nobody_leads().empty();
  alarms_->after(known_here ? resend_pause : leader_pause, [this, known_here] {
    {
      const std::lock_guard lock(mutex_);
      waiting_for_leader_ = false;
    }
    if (!known_here) ask_time();  // whoever leads by now is heard of
    tend();
  });
}

// Under the lock, so that intents go in order: `done` only notes and sets alarms. False: there is no session.
bool CoreBackend::hand_over(const std::shared_ptr<Pending>& pending) {
  if (!session_) {
    auto producer = parts_.log->open_producer();
    if (!producer) {
      doubtful_ = true;
      alarms_->after(resend_pause, [this] { tend(); });
      return false;
    }
    session_ = std::make_shared<Session>();
    session_->producer = std::move(*producer);
  }
  const auto fate = session_->fate;
  if (fate->unanswered++ == 0) fate->heard_ms = steady_ms();
  pending->sent = true;
  pending->sent_ms = steady_ms();
  session_->producer->append(
      Topic::intents, pending->bytes, [this, pending, fate](const Result<std::int64_t>& offset) {
        --fate->unanswered;
        fate->heard_ms = steady_ms();
        if (!offset && ends_session(offset.error().code)) fate->over = true;
        if (offset) pending->written = true;
        if (pending->asks_time) alarms_->after(offset ? std::chrono::milliseconds{} : resend_pause,
                                               [this, well = offset.ok()] { probed(well); });
        else if (!offset) appended(pending, offset);
        if (holding_) alarms_->after({}, [this] { tend(); });
      });
  return true;
}

// What was surely not written goes again, the same bytes under the same id. Else a decision may still come, and the
// expiry tells.
void CoreBackend::appended(const std::shared_ptr<Pending>& pending, const Result<std::int64_t>& offset) {
  if (pending->answered) return;
  switch (offset.error().code) {
    case Errc::session_broken:
    case Errc::unreachable:
      pending->sent = false;
      alarms_->after({}, [this, pending] { append(pending); });
      return;
    case Errc::invalid:
    case Errc::no_space:
      parts_.projection->cancel(pending->waiter);
      // Not from here: a log may answer from within append, under our lock.
      alarms_->after({}, [pending, error = offset.error()] { pending->answer(error); });
      return;
    default:
      return;
  }
}

void CoreBackend::expired(const std::shared_ptr<Pending>& pending, std::int64_t patience_ms) {
  bool unsent = false;
  {
    std::lock_guard lock(mutex_);  // nobody hands it over meanwhile
    unsent = !pending->sent && pending->take();
  }
  if (unsent) {
    parts_.projection->cancel(pending->waiter);
    const auto why = nobody_leads();
    return pending->give(
        {Errc::unreachable, fmt::format("{}: the request was not written, and not done",
                                        why.empty() ? "the log takes no intents" : "nobody leads the cloud, " + why)});
  }
  if (pending->answered) return;
  if (patience_ms <= 0) {
    if (pending->written) note_undecided(pending->sent_ms);
    parts_.projection->cancel(pending->waiter);
    return pending->answer({Errc::timed_out,
                            "nobody decided the request in time, and it is not known whether it "
                            "will be done: look before sending it again"});
  }
  ask_time();
  pending->alarm = alarms_->after(
      ask_again, [this, pending, left = patience_ms - ask_again.count()] { expired(pending, left); });
  if (pending->answered) alarms_->cancel(pending->alarm);
}

// On an idle log nothing tells the time: a record is asked for. One serves all who wait.
void CoreBackend::ask_time() {
  std::lock_guard lock(mutex_);
  const auto now = steady_ms();
  if (stopping_ || probing_ || std::abs(now - time_asked_ms_) < ask_again.count() / 2) return;
  time_asked_ms_ = now;
  probe();
}

// Under the lock.
void CoreBackend::probe() {
  const auto now = now_ms();
  Intent intent;
  intent.id = random_id().as<IntentId>();
  intent.request_id = "req-" + random_id().str();
  intent.sent_ms = now;
  intent.expires_ms = now + ask_time_kept_ms;
  intent.set(AskTime{.asked_ms = now});
  const auto pending = std::make_shared<Pending>();
  pending->asks_time = true;
  pending->bytes = encode(intent);
  probing_ = hand_over(pending);
}

void CoreBackend::probed(bool well) {
  {
    std::lock_guard lock(mutex_);
    probing_ = false;
    if (well) doubtful_ = false;
  }
  tend();
}

}  // namespace reprise::api
