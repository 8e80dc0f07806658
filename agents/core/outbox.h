// The reports of one node on their way into the log: numbered densely, kept until the node's own projection shows
// that the controller has taken them, or that its position is past them; sent again after every broken session.
//
// What was acknowledged is in the log, and is not sent again while it is not known to be lost: an idle cloud's projection
// shows nothing for hours. Of these only the newest are kept; should older ones be lost, the gap in the numbers brings a
// full report. One observation goes in parts that are small enough for a report, and for what is decided on it.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "events/log.h"

namespace reprise {

class Outbox {
 public:
  Outbox(Log& log, NodeId node, std::function<void()> wake);

  // A new incarnation: what the former one had not delivered is forgotten (full reports follow).
  void begin(Seq incarnation);
  // Numbers and sends one observation. False: no incarnation yet, it was not kept.
  bool add(Observed observed);
  // The controller has taken all up to this number, and has read all before this offset of the topic of reports.
  void taken(std::uint64_t number, std::int64_t position);
  // Not numbered and not kept: AgentStarted, heartbeats.
  void send_once(Topic topic, Bytes bytes);
  // Opens a new session after a failure and sends again what is not taken. Returns when to be called again.
  std::int64_t step(std::int64_t steady_ms);

  // Not in the log yet, as far as is known.
  std::size_t waiting() const;
  std::size_t kept() const { return std::lock_guard(mutex_), kept_.size(); }

 private:
  struct Kept {
    std::uint64_t number = 0;
    Bytes bytes;
    std::int64_t offset = -1;                      // in the topic; -1: not acknowledged
  };
  // Answers of the log come on its threads, also when we are gone.
  struct Session {
    std::atomic<bool> failed = false;
    std::mutex mutex;
    // By incarnation and number; acknowledged, and not noted in `kept_` yet.
    std::map<std::pair<Seq, std::uint64_t>, std::int64_t> offsets;
  };

  void open_locked();
  void append_locked(Topic topic, Bytes bytes, std::uint64_t number = 0);
  void note_offsets_locked();
  void send_parts_locked(Observed observed);

  Log& log_;
  const NodeId node_;
  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  Seq incarnation_ = 0;
  std::uint64_t next_ = 1;
  std::deque<Kept> kept_;
  std::shared_ptr<Session> session_;
  std::unique_ptr<Producer> producer_;
  std::int64_t retry_ms_ = 0;        // steady: not before
  bool lost_ = false;                // of what is kept something acknowledged was not taken, and will not be
};

}  // namespace reprise
