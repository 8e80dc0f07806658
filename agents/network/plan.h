// The network agent's plan: the host carries exactly what is wanted, or is made to. Pure.
#pragma once

#include <optional>
#include <set>

#include "agents/network/driver.h"

namespace reprise::network {

// All at once while anything but single networks and ports is not as wanted; else the next of those that are
// in trouble. `skip`: the `retried` of actions that are put off for now; AnyId{} stands for the one for all.
std::optional<Action> next_action(const Want& want, const Have& have, const std::set<AnyId>& skip = {});

// What is wanted to be there: without the ports that must be absent.
Want present(const Want& want);

}  // namespace reprise::network
