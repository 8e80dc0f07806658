// The storage agent's plan: the next single action, or nothing when all is as wished. Pure. A disk that
// nobody wishes absent is never removed: bytes are dropped only on an explicit wish. One that was ready is never made again.
// Fences come first: others wait for them.
#pragma once

#include <set>

#include "agents/storage/driver.h"

namespace reprise::storage {

std::optional<Action> next_action(const Want& want, const Have& have, const std::set<AnyId>& skip = {}, const Fences& fences = {});

}  // namespace reprise::storage
