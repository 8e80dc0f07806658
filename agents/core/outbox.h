// The reports of one node on their way into the log: numbered densely, kept until the node's own
// projection shows that the controller has taken them, sent again after every broken session.
#pragma once

#include <atomic>
#include <deque>
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
  // The controller has taken all up to this number.
  void taken(std::uint64_t number);
  // Not numbered and not kept: AgentStarted, heartbeats.
  void send_once(Topic topic, Bytes bytes);
  // Opens a new session after a failure and sends again what is not taken. Returns when to be called again.
  std::int64_t step(std::int64_t steady_ms);

  std::size_t waiting() const;

 private:
  struct Kept {
    std::uint64_t number = 0;
    Bytes bytes;
  };
  struct Session {
    std::atomic<bool> failed = false;
  };

  void open_locked();
  void append_locked(Topic topic, Bytes bytes);

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
  std::int64_t progress_ms_ = 0;     // steady: when something was last taken or sent again
  bool progressed_ = false;
};

}  // namespace reprise
