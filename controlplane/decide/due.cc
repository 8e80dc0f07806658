// Deadlines: no state without an owner, a deadline and a next step. Past it: elsewhere, by force, or
// ERROR with a reason that a person can act on.
#include "controlplane/decide/decide.h"
#include "controlplane/decide/evacuate.h"
#include "controlplane/decide/server.h"

namespace reprise {
namespace {

std::string node_name(const State& s, NodeId id) {
  const Node* node = s.nodes.find(id);
  return node ? node->name : id.str();
}

// What a person can do about a node that does not answer.
std::string remedy(const State& s, NodeId id) {
  const Node* node = s.nodes.find(id);
  if (node && node->state == NodeState::up) return "see the log of its agents";
  return "bring the node back, or declare it dead";
}

std::string awaited_for_boot(const State& s, const Server& row) {
  if (!row.disk_ready) return "its boot disk was not ready";
  bool ports = true;
  s.ports.each_by(Port::by_server, encode_key(row.id), [&](const Port& port) { return ports = port.status == PortStatus::active; });
  if (!ports) return "its ports were not ready";
  return "it was not started";
}

Events server_due(const State& s, const Server& row, std::int64_t at_ms) {
  const std::string name = node_name(s, row.node);
  if (row.tenure == Tenure::none && row.task == TaskState::deleting)
    return {ServerOverdue{.id = row.id,
                          .reason = fmt::format("the node that it was evacuated from has not confirmed that {} is gone; bring it back, or declare it dead",
                                                server::still_held(s, row)),
                          .deadline_ms = at_ms + deadline::overdue_ms}};
  if (row.tenure == Tenure::unplacing)
    return {ServerOverdue{.id = row.id,
                          .reason = fmt::format("node {} has not confirmed that {} is gone; {}", name,
                                                server::still_held(s, row), remedy(s, row.node)),
                          .deadline_ms = at_ms + deadline::overdue_ms}};
  switch (row.task) {
    case TaskState::spawning:
      return server::give_up_place(s, row, fmt::format("{} in time on node {}; {}", awaited_for_boot(s, row), name, remedy(s, row.node)), at_ms);
    case TaskState::powering_off:
      if (!row.stop_hard) return {ServerStopForced{.id = row.id, .deadline_ms = at_ms + deadline::stop_hard_ms}};
      return {ServerFailed{.id = row.id, .reason = fmt::format("node {} did not stop it in time; {}", name, remedy(s, row.node))}};
    case TaskState::rebuilding:
    case TaskState::powering_on:
      return {ServerFailed{.id = row.id, .reason = fmt::format("node {} did not start it in time{}{}; {}", name,
                                                               row.fault.empty() ? "" : ": ", row.fault, remedy(s, row.node))}};
    case TaskState::rebooting:
      return {ServerRebooting{.id = row.id, .hard = true, .deadline_ms = at_ms + deadline::reboot_hard_ms}};
    case TaskState::rebooting_hard:
      return {ServerFailed{.id = row.id, .reason = fmt::format("node {} did not reboot it in time; {}", name, remedy(s, row.node))}};
    case TaskState::none:
    case TaskState::deleting: break;
  }
  return {ServerOverdue{.id = row.id, .reason = row.fault, .deadline_ms = at_ms + deadline::overdue_ms}};
}

Events volume_due(const State& s, const Volume& row, std::int64_t at_ms) {
  const std::string name = node_name(s, row.node);
  switch (row.status) {
    case VolumeStatus::creating:
      return {VolumeFailed{.id = row.id, .reason = fmt::format("node {} did not make it in time; {}", name, remedy(s, row.node))}};
    case VolumeStatus::attaching:
      return {VolumeDetaching{.id = row.id, .reason = fmt::format("node {} did not attach it in time", name),
                              .deadline_ms = at_ms + deadline::detach_ms}};
    case VolumeStatus::detaching: {
      const Server* server = s.servers.find(row.server);
      if (server && server->tenure == Tenure::placed && server->running)
        return {VolumeDetachFailed{.id = row.id, .reason = "the guest did not let go of it in time; unmount it there, or stop the server, and detach again"}};
      return {VolumeOverdue{.id = row.id,
                            .reason = fmt::format("node {} has not confirmed that it is detached; {}", name, remedy(s, row.node)),
                            .deadline_ms = at_ms + deadline::overdue_ms}};
    }
    case VolumeStatus::deleting:
      return {VolumeOverdue{.id = row.id,
                            .reason = fmt::format("node {} has not confirmed that its bytes are gone; {}", name, remedy(s, row.node)),
                            .deadline_ms = at_ms + deadline::overdue_ms}};
    case VolumeStatus::available:
    case VolumeStatus::in_use:
    case VolumeStatus::error: break;
  }
  return {VolumeOverdue{.id = row.id, .reason = row.fault, .deadline_ms = at_ms + deadline::overdue_ms}};
}

}  // namespace

std::vector<Events> decide_due(const State& s, std::int64_t at_ms, std::size_t most) {
  std::vector<Events> due;
  s.servers.each_entry(Server::by_deadline, [&](std::string_view, const Server& row) {
    if (row.deadline_ms > at_ms || due.size() >= most) return false;
    due.push_back(server_due(s, row, at_ms));
    return true;
  });
  s.volumes.each_entry(Volume::by_deadline, [&](std::string_view, const Volume& row) {
    if (row.deadline_ms > at_ms || due.size() >= most) return false;
    due.push_back(volume_due(s, row, at_ms));
    return true;
  });
  // Alone, one at a time: what it places must be known to what is decided next.
  s.nodes.each_entry(Node::by_deadline, [&](std::string_view, const Node& row) {
    if (row.deadline_ms <= at_ms && due.empty()) due.push_back(evacuate::due(s, row, at_ms));
    return false;
  });
  return due;
}

std::optional<std::int64_t> next_deadline(const State& s) {
  std::optional<std::int64_t> next;
  const auto take = [&](std::int64_t at) { if (!next || at < *next) next = at; };
  s.servers.each_entry(Server::by_deadline, [&](std::string_view, const Server& row) { return take(row.deadline_ms), false; });
  s.volumes.each_entry(Volume::by_deadline, [&](std::string_view, const Volume& row) { return take(row.deadline_ms), false; });
  s.nodes.each_entry(Node::by_deadline, [&](std::string_view, const Node& row) { return take(row.deadline_ms), false; });
  return next;
}

}  // namespace reprise
