// What placement weighed, found out again: decide's own function run at the state that it saw.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/decide/placement.h"
#include "projections/view.h"

namespace reprise::story {

struct Weighing {
  PlacementRequest request;
  NodeId chosen;  // none: nothing fitted
  struct Row {
    NodeWeighed weighed;
    std::string name;
  };
  std::vector<Row> nodes;  // those that fit first, the heaviest before the lighter
};

// Every node weighed for that request; `chosen` stays none.
Weighing weigh(const State& state, const PlacementRequest& request);

// The state that the decision `index` of a record was made in: that before the record, with the decisions
// before it. `before`: the view at the record's seq - 1.
Result<State> state_before(const View& before, const Record& record, std::uint32_t index);

// Nothing: the decision placed nothing of that object.
std::optional<Weighing> weigh_again(const State& before, const Decision& decision, const Intent* intent,
                                    AnyId object);
// Is there something that weigh_again() would find? (It needs no state.)
bool placed_something(const Decision& decision, AnyId object);

}  // namespace reprise::story
