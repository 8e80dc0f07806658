// decide: what becomes of an intent, a report, a passed deadline. Pure functions of the State.
#pragma once

#include "controlplane/decide/context.h"

namespace reprise {

// Every intent leaves an event: its effect, or IntentRefused.
Events decide(const State& state, const Intent& intent, std::int64_t at_ms);

// What of a report matters. An empty answer is usual: the report was taken, and changed nothing.
struct ReportVerdict {
  bool take = false;      // it counts; otherwise it is old, or of a former life
  Events events;
};
// `passed`: the number of the node's last report that was passed over since, as it changed nothing: the State has only what
// was counted (see Controller::passed_).
ReportVerdict decide(const State& state, const Report& report, std::int64_t at_ms, std::uint64_t passed = 0);
// Its agents are to tell everything again: what this report said is put aside. Not one of the node's present life: nothing.
Events put_aside(const State& state, const Report& report);

// Objects whose deadline has passed by `at_ms`, and what becomes of each: one decision's events per
// object, at most `most` of them.
std::vector<Events> decide_due(const State& state, std::int64_t at_ms, std::size_t most);
// The earliest deadline; none: nothing is awaited.
std::optional<std::int64_t> next_deadline(const State& state);

// A node was not heard of for longer than its lease.
// From `elsewhere_ms` on, of log time, what can go elsewhere may.
Events decide_lost(const State& state, NodeId node, const std::string& reason, std::int64_t elsewhere_ms);

namespace cloud {
Events ask_time(const State&, const AskTime&, const Context&);
Events seal_log(const State&, const SealLog&, const Context&);
}  // namespace cloud
namespace identity {
Events create_project(const State&, const CreateProject&, const Context&);
Events update_project(const State&, const UpdateProject&, const Context&);
Events delete_project(const State&, const DeleteProject&, const Context&);
Events create_user(const State&, const CreateUser&, const Context&);
Events update_user(const State&, const UpdateUser&, const Context&);
Events delete_user(const State&, const DeleteUser&, const Context&);
Events create_role(const State&, const CreateRole&, const Context&);
Events delete_role(const State&, const DeleteRole&, const Context&);
Events assign_role(const State&, const AssignRole&, const Context&);
Events unassign_role(const State&, const UnassignRole&, const Context&);
Events revoke_token(const State&, const RevokeToken&, const Context&);
Events set_quota(const State&, const SetQuota&, const Context&);
}  // namespace identity
namespace flavor {
Events create(const State&, const CreateFlavor&, const Context&);
Events remove(const State&, const DeleteFlavor&, const Context&);
}  // namespace flavor
namespace keypair {
Events create(const State&, const CreateKeypair&, const Context&);
Events remove(const State&, const DeleteKeypair&, const Context&);
}  // namespace keypair
namespace server {
Events create(const State&, const CreateServer&, const Context&);
Events update(const State&, const UpdateServer&, const Context&);
Events remove(const State&, const DeleteServer&, const Context&);
Events start(const State&, const StartServer&, const Context&);
Events stop(const State&, const StopServer&, const Context&);
Events reboot(const State&, const RebootServer&, const Context&);
}  // namespace server
namespace image {
Events create(const State&, const CreateImage&, const Context&);
Events store(const State&, const StoreImage&, const Context&);
Events update(const State&, const UpdateImage&, const Context&);
Events remove(const State&, const DeleteImage&, const Context&);
}  // namespace image
namespace volume {
Events create(const State&, const CreateVolume&, const Context&);
Events update(const State&, const UpdateVolume&, const Context&);
Events remove(const State&, const DeleteVolume&, const Context&);
Events attach(const State&, const AttachVolume&, const Context&);
Events detach(const State&, const DetachVolume&, const Context&);
}  // namespace volume
namespace network {
Events create(const State&, const CreateNetwork&, const Context&);
Events update(const State&, const UpdateNetwork&, const Context&);
Events remove(const State&, const DeleteNetwork&, const Context&);
}  // namespace network
namespace subnet {
Events create(const State&, const CreateSubnet&, const Context&);
Events update(const State&, const UpdateSubnet&, const Context&);
Events remove(const State&, const DeleteSubnet&, const Context&);
}  // namespace subnet
namespace port {
Events create(const State&, const CreatePort&, const Context&);
Events update(const State&, const UpdatePort&, const Context&);
Events remove(const State&, const DeletePort&, const Context&);
}  // namespace port
namespace node {
Events declare_dead(const State&, const DeclareNodeDead&, const Context&);
Events set_enabled(const State&, const SetNodeEnabled&, const Context&);
Events confirm_lost(const State&, const ConfirmLostNodes&, const Context&);
}  // namespace node

}  // namespace reprise
