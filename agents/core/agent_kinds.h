// What the three agents of a node differ in, for the loop that they share (reconciler.h): how they plan, what an action is
// about, and what of an observation is reported.
#pragma once

#include <map>
#include <set>

#include "agents/compute/plan.h"
#include "agents/core/assignment.h"
#include "agents/core/node_view.h"
#include "agents/network/plan.h"
#include "agents/storage/plan.h"
#include "events/codec.h"

namespace reprise {

struct ComputeKind {
  static constexpr AgentKind kind = AgentKind::compute;
  using Driver = compute::Driver;
  using Have = compute::Have;
  using Action = compute::Action;
  using Seen = ServerSeen;
  // One action at a time for the whole node: its host is changed as a whole.
  static constexpr bool alone = false;
  // An action that takes longer is trouble of its object, and said; 0: it may take what it takes.
  static constexpr std::int64_t patience_ms = 60'000;
  static std::optional<Action> plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip);
  static bool is_exclusive(const Action& action) { return compute::is_exclusive(action); }
  // For one object alone.
  static std::optional<Action> plan_one(const Assignment& want, const Have& have, AnyId key);
  // Works also while another action of the object hangs: it ends the guest.
  static bool is_forced(const Action& action) { return action.step == compute::Step::stop_hard || action.step == compute::Step::remove; }
  static bool is_urgent(const Action& action) { return is_forced(action); }
  static AnyId key(const Action& action) { return action.server.id.as<AnyId>(); }
  static Seq since(const Action& action) { return action.server.since; }
  static std::string words(const Action& action);
  static std::map<AnyId, Seen> seen(const Assignment& want, const Have& have);
  static auto& list(Observed& observed) { return observed.servers; }
};

struct StorageKind {
  static constexpr AgentKind kind = AgentKind::storage;
  using Driver = storage::Driver;
  using Have = storage::Have;
  using Action = storage::Action;
  using Seen = DiskSeen;
  static constexpr bool alone = false;
  static constexpr std::int64_t patience_ms = 0;
  static std::optional<Action> plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip);
  // With what is here and nobody wished for, wished away; in a pool that is others'.
  static Assignment cleared(Assignment want, const Have& have);
  static bool is_exclusive(const Action& action) { return action.step == storage::Step::create; }
  static std::optional<Action> plan_one(const Assignment&, const Have&, AnyId) { return std::nullopt; }
  static bool is_forced(const Action&) { return false; }
  static bool is_urgent(const Action& action) { return action.step == storage::Step::fence; }
  static AnyId key(const Action& action);
  static Seq since(const Action& action) { return action.step == storage::Step::fence ? action.fence.lost : action.disk.since; }
  static std::string words(const Action& action);
  static std::map<AnyId, Seen> seen(const Assignment& want, const Have& have);
  static auto& list(Observed& observed) { return observed.disks; }
};

struct NetworkKind {
  static constexpr AgentKind kind = AgentKind::network;
  using Driver = network::Driver;
  using Have = network::Have;
  using Action = network::Action;
  using Seen = PortSeen;
  static constexpr bool alone = true;
  static constexpr std::int64_t patience_ms = 0;
  static std::optional<Action> plan(const Assignment& want, const Have& have, const std::set<AnyId>& skip);
  static bool is_exclusive(const Action&) { return false; }
  static std::optional<Action> plan_one(const Assignment&, const Have&, AnyId) { return std::nullopt; }
  static bool is_forced(const Action&) { return false; }
  static bool is_urgent(const Action&) { return false; }
  static AnyId key(const Action& action) { return action.retried; }
  static Seq since(const Action&) { return 0; }
  static std::string words(const Action& action);
  static std::map<AnyId, Seen> seen(const Assignment& want, const Have& have);
  static auto& list(Observed& observed) { return observed.ports; }
};

}  // namespace reprise
