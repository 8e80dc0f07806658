// Producers of the simulated log: one session each, without gaps.
#include <fmt/format.h>

#include <algorithm>

#include "tests/sim/sim_log_core.h"

namespace reprise::sim {
namespace {

Flight* find(Session& session, std::uint64_t number) {
  const auto at = std::find_if(session.open.begin(), session.open.end(),
                               [&](const Flight& f) { return f.number == number; });
  return at == session.open.end() ? nullptr : &*at;
}

Error session_broken() {
  return {Errc::session_broken,
          "not written: an earlier append of this producer failed; open a new producer"};
}

}  // namespace

void SimLog::Core::append(const SessionPtr& session, Topic topic, Bytes bytes, Producer::Done done) {
  const auto limit = topic_rules(topic).entry_bytes_max;
  if (session->ended || bytes.size() > limit) {
    auto error = session->ended
                     ? session_broken()
                     : Error{Errc::invalid, fmt::format("an entry of {} has {} bytes, {} at most; split it",
                                                        topic_name(topic), bytes.size(), limit)};
    call(session->client, 0, [session, done = std::move(done), error = std::move(error)] {
      if (!session->gone) done(error);
    });
    return;
  }
  const auto number = ++session->last_number;
  session->open.push_back({number, topic, std::move(bytes), std::move(done), false, -1});
  const auto way_ms = prng.between(faults.append_ms_min, faults.append_ms_max);
  session->last_arrival_ms = std::max({session->last_arrival_ms, scheduler.now_ms() + way_ms, this->topic(topic).held_up_ms});
  later(session->last_arrival_ms - scheduler.now_ms(), [this, session, number] { arrive(session, number); });
  call(session->client, faults.deadline_ms, [this, session, number] {
    if (session->gone || !find(*session, number)) return;
    const auto unwritten = std::count_if(session->open.begin(), session->open.end(),
                                         [](const Flight& f) { return f.offset < 0; });
    const auto late = prng.below(static_cast<std::uint64_t>(unwritten) + 1);
    end_session(session, number, {Errc::timed_out, "no answer by the deadline; unknown whether it is written"},
                session->client->cut ? 0 : late);  // what waits at the cut has not left
  });
}

void SimLog::Core::arrive(const SessionPtr& session, std::uint64_t number) {
  Flight* flight = find(*session, number);
  if (!flight || session->ended || session->gone) return;
  if (session->client->cut) {
    flight->stalled = true;
    return;
  }
  const auto unwritten = static_cast<std::uint64_t>(std::count_if(
      session->open.begin(), session->open.end(), [](const Flight& f) { return f.offset < 0; }));
  if (faults.full)
    return end_session(session, number, {Errc::no_space, "the log's disk is full; free some space"}, 0);
  if (prng.chance(faults.lost))
    return end_session(session, number, {Errc::unreachable, "the log does not answer; try again"}, 0);
  if (prng.chance(faults.timed_out)) {
    return end_session(session, number, {Errc::timed_out, "no answer in time; unknown whether it is written"},
                       prng.below(unwritten + 1));
  }
  flight->offset = write(flight->topic, flight->bytes);
  later(draw_ms(faults.answer_ms_max), [this, session, number] { answer(session, number); });
}

// Answers go back in order; one that meets the cut waits there.
void SimLog::Core::answer(const SessionPtr& session, std::uint64_t number) {
  Flight* flight = find(*session, number);
  if (!flight || session->gone) return;
  if (session->client->cut) {
    flight->stalled = true;
    return;
  }
  call(session->client, 0, [session] {
    // All that is written up to the first that is not: a later answer does not overtake.
    while (!session->gone && !session->open.empty() && session->open.front().offset >= 0) {
      const Flight first = std::move(session->open.front());
      session->open.pop_front();
      first.done(first.offset);
    }
  });
}

// The append `from` fails, and with it all that follow. The first `written_late` of those that are open and
// not written will be in the log after all.
void SimLog::Core::end_session(const SessionPtr& session, std::uint64_t from, Error first,
                               std::size_t written_late) {
  session->ended = true;
  std::vector<std::pair<Topic, Bytes>> late;
  std::deque<Flight> open;
  std::swap(open, session->open);
  std::vector<std::pair<Producer::Done, Result<std::int64_t>>> told;
  bool failed = false;
  for (auto& flight : open) {
    const bool known = flight.offset >= 0 && !failed && flight.number < from;
    failed = failed || !known;
    const bool goes_late = flight.offset < 0 && late.size() < written_late;
    if (goes_late) late.emplace_back(flight.topic, std::move(flight.bytes));
    const bool unknown = flight.offset >= 0 || goes_late || first.code == Errc::timed_out;
    Result<std::int64_t> result = known ? Result<std::int64_t>(flight.offset) : Result<std::int64_t>(first);
    if (!known && flight.number > from)
      result = unknown ? Error{Errc::timed_out, first.text} : session_broken();
    told.emplace_back(std::move(flight.done), std::move(result));
  }
  write_late(std::move(late));
  call(session->client, 0, [session, told = std::move(told)] {
    for (const auto& [done, result] : told) {
      if (!session->gone) done(result);
    }
  });
}

void SimLog::Core::write_late(std::vector<std::pair<Topic, Bytes>> entries) {
  std::int64_t ms = 0;
  for (auto& [topic, bytes] : entries) {
    ms += draw_ms(faults.late_ms_max);
    later(ms, [this, topic = topic, bytes = std::move(bytes)]() mutable { write(topic, std::move(bytes)); });
  }
}

// The producer is destroyed: of what was sent, a beginning gets there.
void SimLog::Core::abandon(const SessionPtr& session) {
  session->gone = true;
  std::deque<Flight> open;
  std::swap(open, session->open);
  const auto written_late = prng.below(open.size() + 1);
  std::vector<std::pair<Topic, Bytes>> late;
  for (auto& flight : open) {
    if (flight.offset < 0 && late.size() < written_late)
      late.emplace_back(flight.topic, std::move(flight.bytes));
  }
  write_late(std::move(late));
  if (session->client->killed) return;
  for (auto& flight : open)
    flight.done(Error{Errc::timed_out, "the producer was closed; this entry may or may not be in the log"});
}

// The network is back: what waited at the cut goes on, both ways.
void SimLog::Core::resend(const ClientPtr& client) {
  for (const auto& weak : sessions) {
    const auto session = weak.lock();
    if (!session || session->client != client) continue;
    for (auto& flight : session->open) {
      if (!flight.stalled) continue;
      flight.stalled = false;
      const auto number = flight.number;
      if (flight.offset >= 0) later(0, [this, session, number] { answer(session, number); });
      else {  // one session's entries do not overtake each other
        session->last_arrival_ms = std::max(session->last_arrival_ms, scheduler.now_ms() + draw_ms(faults.append_ms_max));
        later(session->last_arrival_ms - scheduler.now_ms(), [this, session, number] { arrive(session, number); });
      }
    }
  }
}

}  // namespace reprise::sim
