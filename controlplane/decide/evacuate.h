// What goes elsewhere when a node cannot write to its storage pool any more: it is fenced, or declared dead (design,
// section 5, "A lost node"). Of a node with local disks nothing does.
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

// Everything of a fenced or dead node that can go now. Ends with NodeWaiting where something has to wait for room.
// From a dead node all goes; from one that is fenced, the servers that asked for it, and the care for volumes.
// What it places is added to `before`.
Events events(const State& state, const Node& node, bool dead, std::int64_t at_ms, server::Before& before);

// It was declared dead, and is admitted again: what waited for room elsewhere begins anew on it.
Events back(const State& state, const Node& node, std::int64_t at_ms);

// The node's deadline has passed: its fence, or what waits for room.
Events due(const State& state, const Node& node, std::int64_t at_ms);

}  // namespace reprise::evacuate
