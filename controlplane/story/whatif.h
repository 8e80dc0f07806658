// A placement decided again, in another moment's state or under other rules, changing nothing: the
// controller's own function over a copy of the state, node by node.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/story/why.h"

namespace reprise::story {

struct WhatIf {
  // A server or volume by id or name (object_of()), as the log last placed or refused it; empty: a new server.
  std::string object;
  std::string kind;       // of that name: "server", "volume"; empty: whichever has it
  std::optional<Seq> at;  // the state to decide in; none: that of the object's own decision, else the newest
  // Asked otherwise.
  std::string flavor;  // name or id
  std::optional<std::int64_t> vcpus, ram_mib, disk_gib;
  std::optional<std::string> zone, host;  // "": any
  // Other nodes, by name or id, and what they offer, as a multiple of what they do.
  std::vector<std::string> without;  // as if disabled
  std::vector<std::string> with;     // as if up and enabled
  double vcpus_times = 1, ram_times = 1, disk_times = 1;
  std::int64_t count = 1;  // that many of it, one after the other
};
inline constexpr std::int64_t whatif_count_max = 10'000;
inline constexpr double whatif_times_max = 1000;

// {"seq","at","object","decided":{"seq","node","name"},"request":{…},"changes":[…],"count","placed",
//  "fits","considered","nodes":[{"id","name","verdict","fits","weight","free":{…},"placed","chosen","decided"}]}
// "placed": how many of "count" found a node, and on a node how many of them; "chosen": the first one's node;
// "decided": what the log says, when the object was placed or refused.
// invalid: what was given is not acceptable; not_found: the log never placed that object, or none is called so.
Result<std::string> whatif_json(const View& now, const Source& source, const WhatIf& what);

}  // namespace reprise::story
