// What several deciders need to know of servers: how one leaves its node, and what follows then.
#pragma once

#include "controlplane/decide/context.h"
#include "controlplane/decide/placement.h"

namespace reprise::server {

inline constexpr std::uint32_t attempts_max = 3;   // placements before a server rests in ERROR

PlacementRequest placement_request(const Server& server);
// What a server asks that is still to be made; nothing: its flavor or image is not there.
std::optional<PlacementRequest> placement_request(const State& state, const CreateServer& intent);

ServerPlaced placed(ServerId id, const Placement& placement, std::int64_t at_ms);

// It could not be made where it was placed: away from there, then elsewhere or ERROR.
Events give_up_place(const State& state, const Server& server, const std::string& reason, std::int64_t at_ms);

// What one decision has done before, of which the State knows nothing yet.
struct Before {
  std::vector<NodeUse> promised;       // placed there
  std::set<LeftoverKey> leftovers_gone;
};

// All agents of its node have confirmed (or the node was declared dead): what becomes of it now. Ends with ServerDeleted,
// ServerPlaced, or nothing more after ServerVacated. What it places is added to `before`.
Events after_vacated(const State& state, const Server& server, std::int64_t at_ms, Before& before);

// What is still to be confirmed by its node, or by one that it was evacuated from, in words; empty: nothing.
std::string still_held(const State& state, const Server& server);

}  // namespace reprise::server
