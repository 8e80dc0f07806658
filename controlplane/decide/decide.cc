#include "controlplane/decide/decide.h"

namespace reprise {
namespace {

Events dispatch(const State& state, const Intent& intent, const Context& context) {
  switch (intent.type()) {
#define INTENT(Type, handler) \
  case IntentType::Type: return handler(state, intent.as<Type>(), context);
#include "events/catalog.def"
#undef INTENT
    case IntentType::NONE: break;
  }
  CHECK(false);
}

// Without an actor only what asks nothing of anybody, the api's own question for the time, and the seal by
// whoever writes to the log itself (`reprise log copy`).
bool needs_actor(const Intent& intent) {
  return intent.type() != IntentType::AskTime && (intent.type() != IntentType::SealLog || intent.user);
}

}  // namespace

Events decide(const State& state, const Intent& intent, std::int64_t at_ms) {
  if (state.the_cloud().sealed_to)
    return refuse(Refusal::sealed, "The cloud moved to another log: " + state.the_cloud().sealed_place);
  if (at_ms > intent.expires_ms)
    return refuse(Refusal::expired,
                  "The request was not decided in time, and was not done. Send it again with a new id.", intent.object);
  const Context context{intent, rights_of(state, intent.user, intent.project), at_ms};
  if (needs_actor(intent) && !context.rights.known)
    return refuse(Refusal::actor_unknown, "The user or its project is gone or disabled, or it has no role there any more.",
                  intent.object);
  Events events = dispatch(state, intent, context);
  CHECK(!events.empty());
  return events;
}

}  // namespace reprise
