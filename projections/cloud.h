// The cloud's own row, the intents decided, the clients' keys: what makes "exactly once" (rule 5).
#pragma once

#include "events/codec.h"
#include "projections/canonical.h"
#include "projections/meta.h"

namespace reprise {

struct State;

// What each feature level of a log brought (design, section 2, rule 7). New clouds begin at the newest.
namespace level {
inline constexpr std::uint16_t counts_apart = 2;   // of reports: a table of their own; reports are tried, too; actions end
inline constexpr std::uint16_t newest = 2;
}  // namespace level

// One row: what the whole cloud is.
struct Cloud {
  using Key = AnyId;
  static constexpr std::uint8_t table = 1;
  static constexpr const char* table_name = "cloud";

  CloudId id;
  std::string name;
  LogId log;
  std::uint16_t level = 0;
  ControllerId controller;          // of the last claim folded
  std::string controller_host;
  Seq claimed_at = 0;               // seq of that claim
  std::uint32_t barren_claims = 0;  // claims in a row that brought no decision
  std::uint32_t barren_reports = 0; // claims in a row that took no report; from level 2 on
  Position tried;                   // of the last IntentTried: of an intent or of a report
  std::uint32_t tries = 0;          // how often it was tried
  LogId sealed_to;
  std::string sealed_place;
  std::vector<Position> positions;  // the next offset to consume, per topic and partition
  std::uint64_t intents_lost = 0;
  bool operator==(const Cloud&) const = default;

  Key key() const { return {}; }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "name", s.name), f(3, "log", s.log), f(4, "level", s.level);
    f(5, "controller", s.controller), f(6, "controller_host", s.controller_host), f(7, "claimed_at", s.claimed_at);
    f(8, "barren_claims", s.barren_claims), f(9, "tried", s.tried), f(10, "tries", s.tries);
    f(11, "sealed_to", s.sealed_to), f(12, "sealed_place", s.sealed_place), f(13, "positions", s.positions);
    f(14, "intents_lost", s.intents_lost), f(15, "barren_reports", s.barren_reports);
  }
};

// An intent that was decided: a second one with its id changes nothing. Kept until log time passes its expiry.
struct Decided {
  using Key = IntentId;
  static constexpr std::uint8_t table = 2;
  static constexpr const char* table_name = "decided";
  enum Index : std::uint8_t { by_expiry = 0 };

  IntentId id;
  std::int64_t expires_ms = 0;
  Seq seq = 0;                      // of the record with its decision
  std::uint32_t decision = 0;       // index in it
  bool operator==(const Decided&) const = default;

  Key key() const { return id; }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "expires_ms", s.expires_ms), f(3, "seq", s.seq), f(4, "decision", s.decision);
  }
  template <class Emit>
  void indexes(Emit&& emit) const { emit(by_expiry, KeyWriter().time(expires_ms)); }
};

// A client's own key for an intent (X-Reprise-Intent), scoped to user and project: its first answer is
// given again for 24 hours of log time.
struct ClientKey {
  using Key = Hash;                 // BLAKE2b of user ‖ project ‖ key
  static constexpr std::uint8_t table = 3;
  static constexpr const char* table_name = "client_keys";
  enum Index : std::uint8_t { by_expiry = 0 };

  Hash id;
  IntentId intent;                  // the first one with that key
  Hash body_hash;
  std::int64_t expires_ms = 0;
  Seq seq = 0;
  std::uint32_t decision = 0;
  bool operator==(const ClientKey&) const = default;

  Key key() const { return id; }
  static Key key_of(UserId user, ProjectId project, const std::string& key);
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "intent", s.intent), f(3, "body_hash", s.body_hash), f(4, "expires_ms", s.expires_ms);
    f(5, "seq", s.seq), f(6, "decision", s.decision);
  }
  template <class Emit>
  void indexes(Emit&& emit) const { emit(by_expiry, KeyWriter().time(expires_ms)); }
};
inline constexpr std::int64_t client_key_kept_ms = 24 * 3600 * 1000;

inline std::string encode_key(const Hash& hash) { return {reinterpret_cast<const char*>(hash.bytes.data()), 32}; }
inline void decode_key(std::string_view bytes, Hash& hash) { std::memcpy(hash.bytes.data(), bytes.data(), 32); }
constexpr std::size_t encoded_key_size(const Hash&) { return 32; }

namespace cloud {
void created(State&, const CloudCreated&, const Meta&);
void controller_started(State&, const ControllerStarted&, const Meta&);
void log_sealed(State&, const LogSealed&, const Meta&);
void log_opened(State&, const LogOpened&, const Meta&);
void level_raised(State&, const LevelRaised&, const Meta&);
void intent_refused(State&, const IntentRefused&, const Meta&);
void intent_tried(State&, const IntentTried&, const Meta&);
void intents_lost(State&, const IntentsLost&, const Meta&);
void time_passed(State&, const TimePassed&, const Meta&);
}  // namespace cloud

}  // namespace reprise
