// The compute agent's plan: of what is wanted and what is there, the next single action (design,
// section 5). Pure. Everything is a level: a second reboot is better than a lost one.
#pragma once

#include <set>

#include "agents/compute/driver.h"

namespace reprise::compute {

// Nothing: all is as wished, or stands as an observation that the controller has to judge (a guest
// that powered itself off). `skip` names servers whose next action failed a moment ago: others first.
std::optional<Action> next_action(const Want& want, const Have& have, const std::set<ServerId>& skip = {});

// Start, define, attach: what must not be begun on an old head.
bool is_exclusive(const Action& action);

}  // namespace reprise::compute
