#include "projections/cloud.h"

#include "events/hash.h"
#include "projections/state.h"

namespace reprise {

ClientKey::Key ClientKey::key_of(UserId user, ProjectId project, const std::string& key) {
  return blake2b(std::string(KeyWriter().id(user).id(project).rest(key)));
}

namespace cloud {

void created(State& s, const CloudCreated& e, const Meta&) {
  s.cloud.insert({.id = e.cloud, .name = e.name, .log = e.log, .level = 1});
}

void controller_started(State& s, const ControllerStarted& e, const Meta& m) {
  Cloud& cloud = s.cloud.edit({});
  cloud.controller = e.controller;
  cloud.controller_host = e.host;
  cloud.claimed_at = m.born.seq;
  ++cloud.barren_claims;  // until it decides something: see fold_decision
  if (cloud.level >= level::counts_apart) ++cloud.barren_reports;
}

void log_sealed(State& s, const LogSealed& e, const Meta&) {
  Cloud& cloud = s.cloud.edit({});
  cloud.sealed_to = e.to;
  cloud.sealed_place = e.place;
}

void log_opened(State& s, const LogOpened& e, const Meta&) {
  Cloud& cloud = s.cloud.edit({});
  cloud.log = e.log;
  cloud.sealed_to = {};
  cloud.sealed_place.clear();
}

void level_raised(State& s, const LevelRaised& e, const Meta&) {
  Cloud& cloud = s.cloud.edit({});
  CHECK(e.level > cloud.level);
  const bool counts_apart = cloud.level < level::counts_apart && e.level >= level::counts_apart;
  cloud.level = e.level;
  if (counts_apart) node::set_counts_apart(s);
}

void intent_refused(State&, const IntentRefused&, const Meta&) {}

void intent_tried(State& s, const IntentTried& e, const Meta&) {
  Cloud& cloud = s.cloud.edit({});
  cloud.tries = cloud.tried == e.position ? cloud.tries + 1 : 1;
  cloud.tried = e.position;
}

void intents_lost(State& s, const IntentsLost& e, const Meta&) {
  CHECK(e.from.offset >= 0 && e.to.offset >= e.from.offset);
  s.cloud.edit({}).intents_lost += static_cast<std::uint64_t>(e.to.offset - e.from.offset);
}

void time_passed(State&, const TimePassed&, const Meta&) {}

}  // namespace cloud
}  // namespace reprise
