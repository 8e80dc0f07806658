#include "agents/network/plan.h"

namespace reprise::network {

Want present(const Want& want) {
  Want there{.networks = want.networks, .ports = {}};
  for (const auto& [id, port] : want.ports) {
    if (port.absent) continue;
    PortWant one = port;
    one.since = 0;  // a wish that only became newer changes nothing on the host
    there.ports.emplace(id, std::move(one));
  }
  return there;
}

std::optional<Action> next_action(const Want& want, const Have& have, const std::set<AnyId>& skip) {
  Want there = present(want);
  if (!have.in_force || have.applied != there) {
    if (skip.contains(AnyId{})) return std::nullopt;
    return Action{.step = Step::apply, .want = std::move(there)};
  }
  for (const auto& [id, why] : have.troubles)
    if (!skip.contains(id)) return Action{.step = Step::apply, .want = std::move(there), .retried = id};
  return std::nullopt;
}

const char* step_name(Step step) {
  switch (step) {
    case Step::apply: return "apply";
  }
  return "?";
}

}  // namespace reprise::network
