#include "tests/sim/sim_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/sim/sim_log_core.h"

namespace reprise::sim {
namespace {

constexpr std::int64_t short_apart_ms = 6'000;

// The first entry at or past an offset: there may be holes.
template <class Entries>
auto entry_at(Entries& entries, std::int64_t offset) {
  return std::lower_bound(entries.begin(), entries.end(), offset,
                          [](const Stored& e, std::int64_t o) { return e.offset < o; });
}

Error cut_off_error() { return {Errc::unreachable, "the log does not answer; try again"}; }

}  // namespace

void SimLog::Core::later(std::int64_t ms, std::function<void()> fn) {
  scheduler.at(scheduler.now_ms() + ms, [self = shared_from_this(), fn = std::move(fn)] { fn(); });
}

void SimLog::Core::call(const ClientPtr& client, std::int64_t ms, std::function<void()> fn) {
  later(ms, [client, fn = std::move(fn)]() mutable {
    if (client->killed) return;
    if (client->paused) return client->deferred.push_back(std::move(fn));
    fn();
  });
}

std::int64_t SimLog::Core::write(Topic t, Bytes bytes) {
  auto& state = topic(t);
  if (prng.chance(faults.hole)) state.end += prng.between(1, faults.hole_max);
  const auto offset = state.end++;
  if (t == Topic::reports && prng.chance(faults.duplicated_report)) {
    later(draw_ms(faults.duplicate_ms_max), [this, bytes] { write(Topic::reports, bytes); });
  }
  state.entries.push_back({offset, scheduler.now_ms(), std::move(bytes)});
  sweep(t);
  for (const auto& seat : seats) {
    if (seat->topic == t) show_later(seat);
  }
  return offset;
}

void SimLog::Core::sweep(Topic t) {
  const auto kept_ms = faults.retention_ms[index_of(t)];
  if (kept_ms < 0) return;
  const auto& entries = topic(t).entries;
  const auto young = std::find_if(entries.begin(), entries.end(),
                                  [&](const Stored& e) { return e.at_ms + kept_ms >= scheduler.now_ms(); });
  if (young != entries.end()) cut_off(t, young->offset);
}

void SimLog::Core::cut_off(Topic t, std::int64_t below) {
  auto& state = topic(t);
  while (state.entries.size() > 1 && state.entries.front().offset < below) state.entries.pop_front();
  if (!state.entries.empty() && state.entries.front().offset >= below)
    state.begin = std::max(state.begin, below);
}

void SimLog::Core::show_beginning(const SeatPtr& seat) {
  if (faults.behind_ms_max == 0) return;
  const auto& state = topic(seat->topic);
  const auto some = state.begin + static_cast<std::int64_t>(prng.below(static_cast<std::uint64_t>(state.end - state.begin) + 1));
  later(0, [this, seat, some] { show(seat, some); });
  seat->visible_ms = scheduler.now_ms() + draw_ms(faults.behind_ms_max);
}

// What a reader may see moves on, never back; each entry may take its time.
void SimLog::Core::show_later(const SeatPtr& seat) {
  seat->visible_ms = std::max(seat->visible_ms, scheduler.now_ms() + draw_ms(faults.lag_ms_max));
  later(seat->visible_ms - scheduler.now_ms(),
        [this, seat, end = topic(seat->topic).end] { show(seat, end); });
}

void SimLog::Core::show(const SeatPtr& seat, std::int64_t up_to) {
  if (seat->gone || seat->client->cut) return;  // heal shows what is there then
  seat->visible = std::max(seat->visible, up_to);
  if (!std::exchange(seat->waiting, false)) return;
  call(seat->client, 0, [seat] {
    if (!seat->gone) seat->wake();
  });
}

Result<std::vector<Entry>> SimLog::Core::poll(Seat& seat, std::size_t entries_max) {
  const auto& state = topic(seat.topic);
  if (seat.position == 0) seat.position = state.begin;
  const auto end = scheduler.now_ms() < state.short_until_ms ? state.short_end : state.end;
  if (!seat.client->cut && (seat.lost || seat.position < state.begin || seat.position > end)) {
    seat.lost = true;
    return Error{Errc::not_found, fmt::format("{} has no offset {}: it holds {} up to {} (not included)",
                                              topic_name(seat.topic), seat.position, state.begin, end)};
  }
  std::vector<Entry> entries;
  auto most = entries_max;
  if (prng.chance(faults.short_poll)) most = 1 + prng.below(entries_max);
  for (auto at = entry_at(state.entries, seat.position);
       at != state.entries.end() && at->offset < seat.visible; ++at) {
    if (entries.size() == most) break;
    entries.push_back({at->offset, at->bytes});
    seat.position = at->offset + 1;
  }
  seat.waiting = entries.empty();
  return entries;
}

void SimLog::Core::ask_end(const ClientPtr& client, Topic t, Log::Answer answer) {
  const auto there_ms = draw_ms(faults.end_ms_max), back_ms = draw_ms(faults.end_ms_max - there_ms);
  later(there_ms, [this, client, t, back_ms, answer = std::move(answer)] {
    Result<std::int64_t> end = topic(t).end;
    if (client->cut) end = cut_off_error();
    else if (prng.chance(faults.end_fails)) end = Error{Errc::timed_out, "no answer by the deadline"};
    call(client, client->cut ? faults.deadline_ms : back_ms, [answer, end] { answer(end); });
  });
}

ClientPtr SimLog::Core::current(const std::string& name) {
  auto& client = clients[name];
  if (!client || client->killed) client = std::make_shared<Client>(Client{.name = name});
  return client;
}

namespace {

class SimProducer final : public Producer {
 public:
  SimProducer(std::shared_ptr<SimLog::Core> core, SessionPtr session)
      : core_(std::move(core)), session_(std::move(session)) {}
  ~SimProducer() override { core_->abandon(session_); }
  void append(Topic topic, Bytes bytes, Done done) override {
    if (session_->client->killed) return;
    core_->append(session_, topic, std::move(bytes), std::move(done));
    (void)core_->strikes(session_->client);  // it may be on its way already
  }

 private:
  const std::shared_ptr<SimLog::Core> core_;
  const SessionPtr session_;
};

class SimReader final : public Reader {
 public:
  SimReader(std::shared_ptr<SimLog::Core> core, SeatPtr seat)
      : core_(std::move(core)), seat_(std::move(seat)) {}
  ~SimReader() override {
    seat_->gone = true;
    core_->seats.remove(seat_);
  }
  Result<std::vector<Entry>> poll(std::size_t entries_max) override {
    if (core_->strikes(seat_->client)) return std::vector<Entry>{};
    return core_->poll(*seat_, entries_max);
  }
  std::int64_t position() const override { return seat_->position; }

 private:
  const std::shared_ptr<SimLog::Core> core_;
  const SeatPtr seat_;
};

class SimCandidacy final : public Candidacy {
 public:
  SimCandidacy(std::shared_ptr<SimLog::Core> core, StandPtr stand)
      : core_(std::move(core)), stand_(std::move(stand)) {}
  ~SimCandidacy() override { core_->leave(stand_); }
  bool elected() const override { return stand_->believes || core_->faults.all_elected; }

 private:
  const std::shared_ptr<SimLog::Core> core_;
  const StandPtr stand_;
};

class SimClientLog final : public Log {
 public:
  SimClientLog(std::shared_ptr<SimLog::Core> core, ClientPtr client)
      : core_(std::move(core)), client_(std::move(client)) {}

  Result<std::unique_ptr<Producer>> open_producer() override {
    auto session = std::make_shared<Session>(Session{.client = client_});
    core_->sessions.remove_if([](const auto& weak) { return weak.expired(); });
    core_->sessions.push_back(session);
    return std::unique_ptr<Producer>(std::make_unique<SimProducer>(core_, std::move(session)));
  }
  Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset,
                                              std::function<void()> wake) override {
    if (offset < 0)
      return Error{Errc::invalid,
                   fmt::format("offset {} of {}: offsets begin at 0", offset, topic_name(topic))};
    auto seat = std::make_shared<Seat>(
        Seat{.client = client_, .topic = topic, .position = offset, .wake = std::move(wake)});
    core_->seats.push_back(seat);
    core_->show_beginning(seat);
    core_->show_later(seat);
    return std::unique_ptr<Reader>(std::make_unique<SimReader>(core_, std::move(seat)));
  }
  void end(Topic topic, Answer answer) override {
    if (!core_->strikes(client_)) core_->ask_end(client_, topic, std::move(answer));
  }
  Result<std::int64_t> begin(Topic topic) override {
    if (client_->cut) return cut_off_error();
    return core_->topic(topic).begin;
  }
  std::unique_ptr<Candidacy> stand(std::function<void()> wake) override {
    auto stand = std::make_shared<Stand>(Stand{.client = client_, .wake = std::move(wake)});
    core_->join(stand);
    return std::make_unique<SimCandidacy>(core_, std::move(stand));
  }
  std::string place() const override { return "simulated:" + client_->name; }

 private:
  const std::shared_ptr<SimLog::Core> core_;
  const ClientPtr client_;
};

}  // namespace

SimLog::SimLog(Scheduler& scheduler, Prng prng) : core_(std::make_shared<Core>(scheduler, prng)) {}
SimLog::~SimLog() = default;

LogFaults& SimLog::faults() { return core_->faults; }

std::unique_ptr<Log> SimLog::client(const std::string& name) {
  return std::make_unique<SimClientLog>(core_, core_->current(name));
}

void SimLog::pause(const std::string& name) {
  const auto client = core_->current(name);
  client->paused = true;
  core_->lost_sight(client);
}

void SimLog::resume(const std::string& name) {
  const auto client = core_->current(name);
  if (!std::exchange(client->paused, false)) return;
  if (client->heard()) ++client->outage;
  for (auto& fn : std::exchange(client->deferred, {})) core_->call(client, 0, std::move(fn));
  core_->elect();
}

void SimLog::cut(const std::string& name) {
  const auto client = core_->current(name);
  client->cut = true;
  core_->lost_sight(client);
}

void SimLog::heal(const std::string& name) {
  const auto client = core_->current(name);
  if (!std::exchange(client->cut, false)) return;
  if (client->heard()) ++client->outage;
  core_->resend(client);
  for (const auto& seat : core_->seats) {
    if (seat->client == client) core_->show_later(seat);
  }
  core_->elect();
}

void SimLog::kill(const std::string& name) { core_->kill(core_->current(name)); }

void SimLog::Core::kill(const ClientPtr& client) {
  client->killed = true;
  client->deferred.clear();
  for (const auto& weak : sessions) {
    const auto session = weak.lock();
    if (session && session->client == client) abandon(session);
  }
  lost_sight(client);
}

bool SimLog::Core::strikes(const ClientPtr& client) {
  if (client->killed || !prng.chance(faults.struck)) return client->killed;
  kill(client);
  later(0, [this, name = client->name] { if (told_struck) told_struck(name); });
  return true;
}

void SimLog::on_struck(std::function<void(const std::string&)> told) { core_->told_struck = std::move(told); }

const std::deque<Stored>& SimLog::stored(Topic topic) const { return core_->topic(topic).entries; }
void SimLog::write(Topic topic, Bytes bytes) { core_->write(topic, std::move(bytes)); }
void SimLog::cut_off(Topic topic, std::int64_t below) { core_->cut_off(topic, below); }

void SimLog::hold_up(Topic topic, std::int64_t ms) {
  auto& until = core_->topic(topic).held_up_ms;
  until = std::max(until, core_->scheduler.now_ms() + ms);
}

bool SimLog::is_held_up() const {
  const auto held = [this](Topic topic) { return core_->topic(topic).held_up_ms > core_->scheduler.now_ms(); };
  return held(Topic::intents) || held(Topic::reports);
}

void SimLog::forget_end(Topic topic, std::int64_t entries, std::int64_t ms) {
  auto& state = core_->topic(topic);
  // Not again soon: what comes back and goes would be taken for lost.
  if (core_->scheduler.now_ms() < state.short_until_ms + short_apart_ms) return;
  state.short_end = std::max(state.begin, state.end - entries);
  state.short_until_ms = core_->scheduler.now_ms() + ms;
  for (const auto& seat : core_->seats)
    if (seat->topic == topic) core_->show(seat, 0);  // who waits there learns of it
}

void SimLog::corrupt(Topic topic, std::int64_t offset, std::size_t byte, std::uint8_t flip) {
  auto& entries = core_->topic(topic).entries;
  const auto at = entry_at(entries, offset);
  CHECK(at != entries.end() && at->offset == offset && byte < at->bytes.size());
  at->bytes[byte] = static_cast<char>(static_cast<std::uint8_t>(at->bytes[byte]) ^ flip);
}

}  // namespace reprise::sim
