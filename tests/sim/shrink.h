// A failing run made as short as can be found: fewer kinds of faults, nodes, controllers, less time, fewer wishes, as long
// as it still fails. Each try is a process of its own.
#pragma once

#include "tests/sim/world.h"

namespace reprise::sim {

// `options` fails with `shape`; answers with what still fails, after at most `seconds_max`.
WorldOptions shrink(WorldOptions options, const Shape& shape, unsigned patience_s, int seconds_max);

}  // namespace reprise::sim
