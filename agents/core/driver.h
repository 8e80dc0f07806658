// What every driver of an agent is: something that can say how the host is (`observe`) and do one
// step towards how it should be (`perform`). Plans are pure and know no driver; drivers know no log.
//
// Promises that a driver keeps:
// - observe() tells what is really on the host now, not what was asked for, and only of things that
//   Reprise made (they carry id and born); what an operator made by hand is never shown nor touched.
// - perform() may be repeated: after a crash at any point inside it, the same action, or the one that
//   the next plan chooses, brings the host on. It returns when the step is done, or with an error whose
//   text a person can act on (what, which thing, what to do next).
// - perform() is called from any thread, for each object from one at a time; for a server, also while another of its calls hangs,
//   one that ends its guest (stop_hard, remove). Of the network there is one call at a time. observe() is called from one thread,
//   also while perform() is under way, but for the network.
// - on_change() is called once, before the first observe(). The driver calls `wake` from any thread
//   whenever the host changed by itself (a guest powered off, a tap appeared); it may call it too often.
// perform() may block (a copy of an image may take minutes); observe() must not, beyond some seconds.
#pragma once

#include <functional>
#include <string>

#include "events/ids.h"
#include "events/result.h"

namespace reprise {

enum class AgentKind : std::uint8_t { compute = 0, storage = 1, network = 2 };
const char* agent_name(AgentKind kind);

template <class Have, class Action>
class Driver {
 public:
  virtual ~Driver() = default;
  virtual void on_change(std::function<void()> wake) = 0;
  virtual Result<Have> observe() = 0;
  virtual Status perform(const Action& action) = 0;
  // Does perform() ever wait for something?
  virtual bool blocks() const { return true; }
};

// Every want carries `since`: the seq at which what is wanted of this thing last changed. It goes back
// in the report, so that the controller knows which wish an observation answers.

}  // namespace reprise
