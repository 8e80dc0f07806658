// The network agent's plan: the host carries exactly what is wanted, or is made to. Pure.
#pragma once

#include "agents/network/driver.h"

namespace reprise::network {

std::optional<Action> next_action(const Want& want, const Have& have);

// What is wanted to be there: without the ports that must be absent.
Want present(const Want& want);

}  // namespace reprise::network
