// The controller: catches up, claims, decides, appends (design, section 2). One active at a time.
//
// A machine without threads, clock or randomness of its own: step(now) does all that can be done
// without blocking. In production a thread calls it when woken; in the simulation the scheduler does.
// What it decides is folded into its own State at once and may be undone: a record counts only when
// its own reader has read it back as the next of the chain. Anything but a clean append ends its claim:
// it undoes what was not read back, reads to the end, and claims again if it is still elected.
#pragma once

#include <atomic>
#include <deque>
#include <memory>

#include "controlplane/decide/decide.h"
#include "controlplane/leases.h"
#include "controlplane/log_time.h"
#include "events/chain.h"
#include "events/log.h"
#include "projections/fold.h"

namespace reprise {

class Controller final : SeenHashes {
 public:
  struct Ports {
    Log* log = nullptr;
    std::function<std::uint64_t()> random;       // fresh 64 bits; only ids and backoff come from it
    const SeenHashes* seen_before = nullptr;     // of what was folded before this controller's head, and may be since
    std::function<void()> wake;                  // from any thread: step() has something to do
    std::function<void(const std::string&)> say; // for the operator's log
    // Why the wall clock is not to be believed, by any second witness; empty: one bears it out. Not given: none does.
    std::function<std::string(Now)> doubt_clock;
  };
  struct Options {
    std::string host;
    std::int64_t lease_ms = 20'000;
    std::int64_t claim_deadline_ms = 10'000;
    std::int64_t append_deadline_ms = 10'000;    // an append not read back by then ends the claim
    std::int64_t backoff_ms = 500;               // random up to this before every claim but the first; and between questions for what is missing
    std::int64_t missing_ms = 15'000;            // so long entries that were read may be missing from the log
    std::size_t batch_max = 512;                 // decisions in a record
    std::size_t pipeline_max = 8;                // records appended and not yet read back
    bool may_lead = true;
  };
  enum class Role { following, claiming, leading, stopped };
  struct Status {
    Role role = Role::following;
    ControllerId id;                 // of the present claim
    std::string reason;              // why it stopped or does not lead
    bool stands_back = false;        // another is elected
    std::uint64_t claims = 0;        // made by this process
    std::uint64_t voids = 0;         // void records read
    std::uint64_t decisions = 0;
    std::vector<NodeId> held;        // nodes that lapsed together: an admin must say go on
    std::string clock;               // what is wrong with this host's clock; empty: nothing is known to be
  };

  // `state` is at `head`, and keeps undo.
  Controller(Ports ports, Options options, State state, Head head);
  ~Controller() override;

  // The latest steady time at which to be called again.
  std::int64_t step(Now now);

  const Status& status() const { return status_; }
  const State& state() const { return state_; }
  const Head& head() const { return head_; }
  // How far the reports were read by this claim, whether or not a record says so.
  std::int64_t reports_read() const { return pending_reports_.empty() ? consumed(Topic::reports) : pending_reports_.front().position.offset; }

 private:
  struct InFlight {
    Hash hash;
    State::Mark after;
    std::int64_t sent_ms = 0;       // steady
  };
  // One entry that is to be decided; of intents also what it says, or why it says nothing.
  struct Input {
    Position position;
    Bytes bytes;
    std::optional<Intent> intent;
    std::string unreadable;
  };
  // The last report of a node that was passed over, because it changed nothing. The next record that is written anyway
  // counts it; until then no position is past it in the log, and a next claim reads it again.
  struct Passed {
    Seq incarnation = 0;
    std::uint64_t number = 0;
    Position position;
  };
  // A record in the making, and what of the pending inputs is in it.
  struct Draft {
    Record record;
    RecordFrame frame;
    std::map<Topic, std::int64_t> next_offset;
    std::map<NodeId, Passed> passed;
    std::size_t reports = 0;
    std::size_t intents = 0;
  };

  // reading the events topic
  void read_events(Now now);
  void take_entry(const Entry& entry, Now now);
  void confirm(const Record& record, const Hash& hash, std::int64_t offset);
  void follow(const Record& record, const Hash& hash, std::int64_t offset);
  bool contains(const Hash& hash) const override;
  void remember(const Hash& hash);
  void stop(std::string reason);
  std::string sealed() const;  // in words

  // the claim
  void maybe_claim(Now now);
  void claim(Now now);
  void start_leading(Now now);
  void depose(Now now, const std::string& why);
  bool stays_missing(Topic topic, Now now);
  bool appends_failed() const;
  bool overdue(Now now) const;

  // deciding
  void lead(Now now);
  void poll_inputs(Now now);
  void poll_topic(Topic topic, std::unique_ptr<Reader>& reader, std::deque<Input>& inputs, Now now);
  void ask_heartbeats_end(Now now);
  void hear_heartbeats(Now now);
  void start_time(Now now, std::int64_t at_ms);
  void tend_clock(Now now);
  bool anything_to_decide(Now now);
  bool build_record(Now now);
  bool build_record(Now now, std::size_t most, bool put_aside, bool& too_large);
  Draft open_draft(Now now);
  void fill(Draft& draft, Now now, std::size_t most, bool put_aside);
  void decide_timers(Draft& draft, Now now, std::size_t most);
  void decide_report(Draft& draft, const Input& input, bool too_large);
  void decide_intent(Draft& draft, const Input& input, const std::string& too_large = {});
  void put_report_aside(Draft& draft, const Input& input, const Report& report, const char* why);
  const Passed* passed(const Draft& draft, NodeId node) const;
  void count_passed(Draft& draft);
  bool write_counts(Now now);
  void ask_all_again(Draft& draft);
  bool counts_are_due(Now now) const;
  std::int64_t counts_due_ms() const;
  bool careful(Topic topic) const;
  bool is_poison(const Position& position) const;
  Events verdict(const Draft& draft, const Input& input, const std::string& too_large) const;
  std::optional<Events> known_key(const Intent& intent) const;
  bool try_carefully(Now now);
  bool seal(Now now);
  void add(Draft& draft, Decision decision, const Intent* intent = nullptr);
  void send(Draft draft, Now now);
  void ship(Draft draft, SealedRecord sealed, Now now);
  std::int64_t consumed(Topic topic) const;

  Ports ports_;
  Options options_;
  State state_;
  Head head_;                                  // the last record read back
  Head tip_;                                   // the last record appended: head_ when nothing is in flight
  std::unordered_set<Hash> seen_;              // since this head, as far as seen_before does not have them yet
  std::deque<Hash> seen_order_;
  Status status_;

  std::unique_ptr<Reader> events_;
  std::unique_ptr<Candidacy> candidacy_;
  std::unique_ptr<Producer> producer_;
  std::unique_ptr<Reader> intents_, reports_, heartbeats_;
  std::deque<Input> pending_intents_, pending_reports_;
  std::map<Topic, std::int64_t> next_offset_;  // of the first entry not yet decided, speculative
  std::deque<InFlight> in_flight_;
  State::Mark confirmed_;                      // of head_
  LogTime time_;
  Leases leases_;

  // Answers of the log come on its threads; each claim has its own, so that late ones are told apart.
  struct Answers {
    std::atomic<bool> append_failed = false;
    std::atomic<std::int64_t> events_end = -1;   // asked after this claim's start; -1: not yet known
    std::atomic<bool> end_failed = false;
    std::atomic<std::int64_t> heartbeats_end = -1;
    std::atomic<bool> heartbeats_failed = false;
  };
  std::shared_ptr<Answers> answers_;
  // Of a topic: when it is asked again; and, if it did not give what it gave before, since when and when last.
  struct Wait {
    std::int64_t since_ms = 0, again_ms = 0;
    std::optional<std::int64_t> last_ms;
  };
  std::map<Topic, Wait> waits_;
  bool stands_back_ = false;                   // another was elected
  std::int64_t claim_not_before_ = 0;
  bool end_asked_ = false;
  Position tried_;                             // the input that this claim said it would try
  std::map<NodeId, Passed> passed_;
  std::int64_t passed_since_ms_ = 0;           // steady: of the first that is not counted yet
  std::optional<std::int64_t> reports_lost_to_;  // behind retention: a record is to say so
  std::int64_t clock_asked_ms_ = 0;
};

const char* role_name(Controller::Role role);

}  // namespace reprise
