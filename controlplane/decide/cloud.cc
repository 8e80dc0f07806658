#include "controlplane/decide/decide.h"

namespace reprise::cloud {

Events ask_time(const State&, const AskTime& i, const Context&) { return {TimePassed{.asked_ms = i.asked_ms}}; }

// The controller appends the seal itself, alone and last; this is only the right to ask for it.
Events seal_log(const State&, const SealLog& i, const Context& c) {
  if (c.user() && !c.rights.admin) return refuse(Refusal::not_allowed, "Only an admin may seal the log.");
  if (!i.to || i.place.empty()) return refuse(Refusal::bad_range, "SealLog names no log to go to.");
  return {LogSealed{.to = i.to, .place = i.place}};
}

}  // namespace reprise::cloud
