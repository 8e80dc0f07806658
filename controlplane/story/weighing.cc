#include "controlplane/story/weighing.h"

#include <algorithm>

#include "controlplane/decide/server.h"
#include "events/refusal.h"
#include "projections/fold.h"

namespace reprise::story {
namespace {

// The request and what came of it, as far as the decision's events say.
struct Placing {
  std::optional<PlacementRequest> request;
  NodeId chosen;
};

std::optional<Placing> placing_of(const State* before, const Decision& decision, const Intent* intent,
                                  AnyId object) {
  Placing placing;
  bool found = false;
  for (const auto& event : decision.events) {
    if (event.is<ServerCreated>() && event.as<ServerCreated>().id.as<AnyId>() == object) {
      const auto& made = event.as<ServerCreated>();
      placing.request = PlacementRequest{.vcpus = made.vcpus,
                                         .ram_mib = static_cast<std::int64_t>(made.ram_mib),
                                         .disk_gib = static_cast<std::int64_t>(made.disk_gib),
                                         .zone = made.zone,
                                         .host = made.host};
    } else if (event.is<ServerPlaced>() && event.as<ServerPlaced>().id.as<AnyId>() == object) {
      found = true;
      placing.chosen = event.as<ServerPlaced>().node;
      const Server* server = before ? before->servers.find(object.as<ServerId>()) : nullptr;
      if (!placing.request && server) {  // again: anywhere but where it could not be
        placing.request = server::placement_request(*server);
        placing.request->not_on = server->node;
      }
    } else if (event.is<VolumeCreated>() && event.as<VolumeCreated>().id.as<AnyId>() == object) {
      const auto& made = event.as<VolumeCreated>();
      found = true;
      placing.chosen = made.node;
      placing.request =
          PlacementRequest{.disk_gib = static_cast<std::int64_t>(made.size_gib), .zone = made.zone};
    } else if (event.is<IntentRefused>()) {
      const auto& refused = event.as<IntentRefused>();
      if (refused.refusal != static_cast<std::uint16_t>(Refusal::no_valid_host) || refused.object != object)
        continue;
      found = true;
      if (!before || !intent) continue;
      if (intent->type() == IntentType::CreateServer)
        placing.request = server::placement_request(*before, intent->as<CreateServer>());
      if (intent->type() == IntentType::CreateVolume) {
        const auto& asked = intent->as<CreateVolume>();
        placing.request =
            PlacementRequest{.disk_gib = static_cast<std::int64_t>(asked.size_gib), .zone = asked.zone};
      }
    }
  }
  return found ? std::optional(placing) : std::nullopt;
}

}  // namespace

Result<State> state_before(const View& before, const Record& record, std::uint32_t index) {
  auto state = load_state(before);
  if (!state) return state.error();
  RecordFrame frame{.seq = record.seq, .at_ms = record.at_ms};
  fold_begin(*state, frame);
  for (std::uint32_t i = 0; i < index; ++i) fold_decision(*state, frame, record.decisions[i]);
  return state;
}

bool placed_something(const Decision& decision, AnyId object) {
  return placing_of(nullptr, decision, nullptr, object).has_value();
}

std::optional<Weighing> weigh_again(const State& before, const Decision& decision, const Intent* intent,
                                    AnyId object) {
  const auto placing = placing_of(&before, decision, intent, object);
  if (!placing || !placing->request) return std::nullopt;
  Weighing weighing = weigh(before, *placing->request);
  weighing.chosen = placing->chosen;
  return weighing;
}

Weighing weigh(const State& state, const PlacementRequest& request) {
  Weighing weighing{.request = request};
  for (const auto& weighed : weigh_all(state, request)) {
    const Node* node = state.nodes.find(weighed.node);
    weighing.nodes.push_back({weighed, node ? node->name : weighed.node.str()});
  }
  std::stable_sort(weighing.nodes.begin(), weighing.nodes.end(), [](const auto& a, const auto& b) {
    const bool a_fits = a.weighed.reason == PlacementReason::fits,
               b_fits = b.weighed.reason == PlacementReason::fits;
    return a_fits != b_fits ? a_fits : a_fits && a.weighed.weight > b.weighed.weight;
  });
  return weighing;
}

}  // namespace reprise::story
