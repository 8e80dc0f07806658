// The network agent's plan: the host carries exactly what is wanted, or is made to. Pure.
#pragma once

#include <set>

#include "agents/network/driver.h"

namespace reprise::network {

// `skip`: what failed a moment ago, by the `retried` of its action.
std::optional<Action> next_action(const Want& want, const Have& have, const std::set<AnyId>& skip = {});

// What is wanted to be there: without the ports that must be absent.
Want present(const Want& want);

}  // namespace reprise::network
