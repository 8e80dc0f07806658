// The inside of the simulated log, shared by its clients' views (see sim_log.h).
#pragma once

#include <list>
#include <map>
#include <optional>
#include <vector>

#include "tests/sim/sim_log.h"

namespace reprise::sim {

// One simulated process, as the log knows it.
struct Client {
  std::string name;
  bool paused = false, cut = false, killed = false;
  std::uint64_t outage = 0;                     // counts pauses, cuts and kills
  std::vector<std::function<void()>> deferred;  // callbacks that wait for resume

  bool heard() const { return !paused && !cut && !killed; }
};
using ClientPtr = std::shared_ptr<Client>;

struct Flight {
  std::uint64_t number = 0;
  Topic topic = Topic::intents;
  Bytes bytes;
  Producer::Done done;
  bool stalled = false;      // it came to the place where the network is cut
  std::int64_t offset = -1;  // written, and the answer is on its way
};

struct Session {
  ClientPtr client;
  std::deque<Flight> open;
  std::uint64_t last_number = 0;
  std::int64_t last_arrival_ms = 0;
  bool ended = false;  // by a failure
  bool gone = false;   // the producer was destroyed: nobody is told any more
};
using SessionPtr = std::shared_ptr<Session>;

struct Seat {  // of a reader
  ClientPtr client;
  Topic topic = Topic::intents;
  std::int64_t position = 0;
  std::int64_t visible = 0;     // what lies below, it may see
  std::int64_t visible_ms = 0;  // when it will have seen all that is written by now
  bool waiting = false;
  bool lost = false;  // its position was not there once: for good
  bool gone = false;
  std::function<void()> wake;
};
using SeatPtr = std::shared_ptr<Seat>;

struct Stand {  // of a candidate
  ClientPtr client;
  bool chosen = false;    // by the group
  bool believes = false;  // what the process knows
  bool gone = false;
  std::function<void()> wake;
};
using StandPtr = std::shared_ptr<Stand>;

struct SimLog::Core : std::enable_shared_from_this<SimLog::Core> {
  Core(Scheduler& scheduler, Prng prng) : scheduler(scheduler), prng(prng) {}

  struct TopicState {
    std::deque<Stored> entries;
    std::int64_t begin = 0, end = 0;
    std::int64_t held_up_ms = 0;  // nothing gets there before
    std::int64_t short_end = 0, short_until_ms = 0;  // until then it ends there for who reads
  };

  // After `ms`, whatever has become of the client.
  void later(std::int64_t ms, std::function<void()> fn);
  // In the client's process, after `ms`: not once it is killed, and not while it is paused.
  void call(const ClientPtr& client, std::int64_t ms, std::function<void()> fn);
  std::int64_t draw_ms(std::int64_t max) { return prng.between(0, max); }

  // sim_log_session.cc
  void append(const SessionPtr& session, Topic topic, Bytes bytes, Producer::Done done);
  void abandon(const SessionPtr& session);
  void arrive(const SessionPtr& session, std::uint64_t number);
  void answer(const SessionPtr& session, std::uint64_t number);
  void end_session(const SessionPtr& session, std::uint64_t from, Error first, std::size_t written_late);
  void write_late(std::vector<std::pair<Topic, Bytes>> entries);
  void resend(const ClientPtr& client);

  // sim_log.cc
  std::int64_t write(Topic topic, Bytes bytes);
  void sweep(Topic topic);
  void cut_off(Topic topic, std::int64_t below);
  void show(const SeatPtr& seat, std::int64_t up_to);
  void show_beginning(const SeatPtr& seat);
  void show_later(const SeatPtr& seat);
  Result<std::vector<Entry>> poll(Seat& seat, std::size_t entries_max);
  void ask_end(const ClientPtr& client, Topic topic, Log::Answer answer);

  // sim_log_election.cc
  void join(const StandPtr& stand);
  void leave(const StandPtr& stand);
  void choose(const StandPtr& stand);
  void dismiss(const StandPtr& stand, std::int64_t told_after_ms);
  void elect();
  void lost_sight(const ClientPtr& client);
  void believe(const StandPtr& stand, bool elected, std::int64_t after_ms);

  void kill(const ClientPtr& client);
  // Is the process dead, or does it die in this call?
  bool strikes(const ClientPtr& client);

  TopicState& topic(Topic t) { return topics[index_of(t)]; }
  ClientPtr current(const std::string& name);

  Scheduler& scheduler;
  Prng prng;
  LogFaults faults;
  std::array<TopicState, topic_count> topics;
  std::map<std::string, ClientPtr> clients;
  std::list<std::weak_ptr<Session>> sessions;
  std::list<SeatPtr> seats;
  std::list<StandPtr> stands;
  std::function<void(const std::string&)> told_struck;
};

}  // namespace reprise::sim
