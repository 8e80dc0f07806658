// The one narrow way from the api to the core: reads of the state, fresh or past; intents in; records out.
//
// Threads: every call may come from any thread and does not block, except read_records(). Callbacks come on
// threads of the core and must not block.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/api/alarms.h"
#include "events/log.h"
#include "projections/runner.h"

namespace reprise::api {

// 1970 to now, in milliseconds of wall time.
std::int64_t wall_ms();

class Backend {
 public:
  virtual ~Backend() = default;

  virtual View view() const = 0;
  virtual Result<View> view_at(Seq seq) const = 0;
  virtual ProjectionStatus status() const = 0;
  // The one clock by which intents expire and tokens are judged, in milliseconds since 1970: the later of this host's wall
  // clock and of log time, as far as that is known here.
  virtual std::int64_t now_ms() const { return std::max(wall_ms(), view().at_ms()); }
  // When everything is folded that was in the log at some moment after this call. unreachable, timed_out:
  // what is there is stale. broken, again: nothing can be read here any more.
  virtual void fresh(PassedCallback callback) = 0;

  // Appends the intent and tells what became of it, once, within the window from its sent_ms to its expires_ms (and
  // late_patience), by the steady clock:
  //   not_found, unreachable   it was not done and will not be
  //   invalid                  too large; not done
  //   anything else            unknown: it may still be done (conflict: the log was sealed, and the words say
  //                            where the cloud went)
  virtual void submit(Intent intent, DecidedCallback callback) = 0;

  // May take seconds: never on an I/O thread.
  virtual Result<std::vector<StoredRecord>> read_records(Seq from, std::size_t max) const = 0;
  virtual Projection::WatchId watch(std::function<void(const Folded&)> callback) = 0;
  virtual void unwatch(Projection::WatchId id) = 0;

  // The last bytes of a server's serial console, from the node that it is on. not_found: nothing yet.
  using Console = std::function<void(Result<std::string>)>;
  virtual void console(ServerId server, NodeId node, std::size_t bytes_max, Console callback) = 0;

  // No callback of a submit() comes after it returns; who submits then is told `again`.
  virtual void stop() = 0;
};

// The real one: a projection, and one gapless producer of intents, opened again after each failure.
// To end: stop the HTTP server, then the projection, then destroy this.
class CoreBackend final : public Backend {
 public:
  struct Parts {
    Log* log = nullptr;
    Projection* projection = nullptr;
    std::chrono::milliseconds fresh_patience{2000};  // then a read is answered stale
    std::chrono::milliseconds late_patience{
        5000};  // after an intent's expiry, for the proof that it was not done
    std::function<void(ServerId, NodeId, std::size_t, Console)> console;
    // Why nobody leads the cloud, if that is known for certain here; empty: somebody may. Then no intent is appended.
    std::function<std::string()> why_nobody_leads;
    std::function<void(const std::string&)> say;  // for the operator's log
  };
  explicit CoreBackend(Parts parts);
  ~CoreBackend() override;

  View view() const override;
  Result<View> view_at(Seq seq) const override;
  ProjectionStatus status() const override;
  std::int64_t now_ms() const override;
  void fresh(PassedCallback callback) override;
  void submit(Intent intent, DecidedCallback callback) override;
  Result<std::vector<StoredRecord>> read_records(Seq from, std::size_t max) const override;
  Projection::WatchId watch(std::function<void(const Folded&)> callback) override;
  void unwatch(Projection::WatchId id) override;
  void console(ServerId server, NodeId node, std::size_t bytes_max, Console callback) override;
  void stop() override;

 private:
  struct Pending;
  struct Session;

  void append(const std::shared_ptr<Pending>& pending);
  void tend();
  bool hand_over(const std::shared_ptr<Pending>& pending);
  void appended(const std::shared_ptr<Pending>& pending, const Result<std::int64_t>& offset);
  void expired(const std::shared_ptr<Pending>& pending, std::int64_t patience_ms);
  void ask_time();
  void probe();
  void probed(bool well);
  void heard(std::int64_t at_ms);
  std::string nobody_leads() const;
  void wait_for_leader();
  void note_undecided(std::int64_t sent_steady_ms);

  const Parts parts_;
  std::mutex mutex_;  // of the session: never held while anything is called back
  std::shared_ptr<Session> session_;
  std::deque<std::shared_ptr<Pending>> held_;  // not given to the log yet
  std::atomic<bool> holding_{false};           // some are
  bool doubtful_ = false;                      // the last session failed, and no append was acknowledged since
  bool probing_ = false;
  bool stopping_ = false;
  std::int64_t time_asked_ms_ = 0;             // steady
  bool waiting_for_leader_ = false;            // tend() comes again by itself
  Projection::WatchId watch_ = 0;
  mutable std::mutex clock_mutex_;             // of what follows
  std::int64_t heard_at_ms_ = 0;               // log time of the newest record
  std::int64_t heard_steady_ms_ = 0;           // and when it came
  std::int64_t undecided_steady_ms_ = 0;       // when an intent was written that nobody decided, nor anything since; 0: none
  std::shared_ptr<Alarms> alarms_ = std::make_shared<Alarms>();
};

}  // namespace reprise::api
