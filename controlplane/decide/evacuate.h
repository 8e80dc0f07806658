// What becomes of what a node holds when it cannot write any more: it is fenced, or declared dead (design, section 5,
// "A lost node"). Out of a storage pool it goes elsewhere; with local disks it is lost.
//
// A decision takes a few objects of a node; while there are more, it ends with a NodeWaiting that is due at once.
#pragma once

#include "controlplane/decide/server.h"

namespace reprise::evacuate {

// Did its owner ask that it be restarted elsewhere when its node is lost? By the metadata key that Masakari reads,
// HA_Enabled, with the value "true" in any case.
bool is_asked_for(const Server& server);

// Is there such a server on a node that shares its storage?
bool is_asked_for(const State& state, const Node& node);

// A storage agent that is up, other than the one asked last where there is another, is asked for the fence; or NodeWaiting.
Event fencing(const State& state, const Node& node, std::int64_t at_ms);

// What of a fenced or dead node can go now. Ends with NodeWaiting where something has to wait for room.
// From a dead node all goes; from one that is fenced, the servers that asked for it, and the care for volumes.
// What it places is added to `before`.
Events events(const State& state, const Node& node, bool dead, std::int64_t at_ms, server::Before& before);

// It was declared dead, and is admitted again: what waited for room elsewhere begins anew on it, if it was wished before
// `since`.
Events back(const State& state, const Node& node, Seq since, std::int64_t at_ms);

// The node's deadline has passed: its fence, what waits for room, or the rest.
Events due(const State& state, const Node& node, std::int64_t at_ms);

}  // namespace reprise::evacuate
