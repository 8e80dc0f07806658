#include "controlplane/story/state_words.h"

#include <fmt/format.h>

#include "controlplane/story/names.h"

namespace reprise::story {
namespace {

std::string node_name(const View& view, NodeId id) {
  if (!id) return "no node";
  const std::string name = name_of(view, id.as<AnyId>());
  return name.empty() ? id.str() : name;
}

// What a server's next step waits for.
std::string awaited(const View& view, const Server& server) {
  const std::string node = node_name(view, server.node);
  if (server.tenure == Tenure::unplacing)
    return fmt::format("the agents of {} have to confirm that nothing of it is left there{}{}", node,
                       server.compute_released ? "" : "; its domain is not confirmed gone",
                       server.disk_released ? "" : "; its disk is not confirmed gone");
  if (server.tenure == Tenure::none) return "no node was found for it";
  if (!server.disk_ready) return fmt::format("the storage agent of {} has to report its disk ready", node);
  std::size_t waiting = 0;
  view.each_by<Port>(Port::by_server, encode_key(server.id),
                     [&](const Port& port) { waiting += port.status != PortStatus::active; });
  if (waiting && !server.running)
    return fmt::format("the network agent of {} has to report {} of its ports ready", node, waiting);
  return fmt::format("the compute agent of {} has to report it {}", node, server.on ? "running" : "stopped");
}

void add(std::vector<Unsettled>& list, std::size_t most, std::size_t& all, Unsettled one) {
  ++all;
  if (list.size() < most) list.push_back(std::move(one));
}

}  // namespace

std::string server_status(const Server& server) {
  const char* status = server_status_word(server);
  return server.task == TaskState::none ? status : fmt::format("{} ({})", status, task_state_word(server.task));
}

const char* node_status(const Node& node) {
  switch (node.state) {
    case NodeState::up:
      return node.disabled ? "up, disabled" : "up";
    case NodeState::lost:
      return node.fenced ? "lost, fenced" : node.fencer ? "lost, being fenced" : "lost";
    case NodeState::dead:
      return "dead";
  }
  return "?";
}

std::string state_words(const View& view, AnyId object) {
  if (const auto server = view.find<Server>(object.as<ServerId>())) {
    std::string words = server_status(*server);
    if (server->tenure != Tenure::none) words += fmt::format(" on {}", node_name(view, server->node));
    if (server->status == ServerStatus::shutoff && server->stop_cause != StopCause::none)
      words += fmt::format(" (stopped by: {})", wire::EnumNameStopCause(server->stop_cause));
    if (!server->fault.empty()) words += ": " + server->fault;
    return words;
  }
  if (const auto volume = view.find<Volume>(object.as<VolumeId>())) {
    std::string words = fmt::format("{} on {}", volume_status_word(volume->status), node_name(view, volume->node));
    if (volume->server) words += fmt::format(", server {}", volume->server.str());
    if (!volume->fault.empty()) words += ": " + volume->fault;
    return words;
  }
  if (const auto port = view.find<Port>(object.as<PortId>()))
    return fmt::format("{}{}", port_status_word(port->status),
                       port->server ? ", of server " + port->server.str() : "");
  if (const auto image = view.find<Image>(object.as<ImageId>()))
    return image_status_word(image->status);
  if (const auto node = view.find<Node>(object.as<NodeId>()))
    return node->reason.empty() ? node_status(*node)
                                : fmt::format("{}: {}", node_status(*node), node->reason);
  return kind_of(view, object).empty() ? "gone, or never made" : "there";
}

std::vector<Unsettled> unsettled(const View& view, std::size_t most, std::size_t& all) {
  std::vector<Unsettled> list;
  all = 0;
  view.each<Node>([&](const Node& node) {
    for (const auto agent : {wire::AgentKind::compute, wire::AgentKind::storage, wire::AgentKind::network})
      if (const auto& trouble = node.trouble(agent); !trouble.empty())
        add(list, most, all,
            {"node", node.id.as<AnyId>(), node.name, node_status(node), 0,
             fmt::format("its {} agent can do nothing, and nothing is placed there: {}", wire::EnumNameAgentKind(agent), trouble)});
    if (node.state != NodeState::lost && node.waiting.empty()) return;
    std::string reason = node.reason;
    if (node.state == NodeState::lost) reason += "; bring it back, or declare it dead if it never will be";
    if (!node.waiting.empty()) reason += "; " + node.waiting;
    add(list, most, all,
        {"node", node.id.as<AnyId>(), node.name, node_status(node), node.deadline_ms, std::move(reason)});
  });
  std::map<std::pair<ServerId, NodeId>, std::size_t> left;  // ports, by whom they were left where
  view.each<Leftover>([&](const Leftover& row) { left[{row.server, row.id.node}] += row.agent == wire::AgentKind::network; });
  for (const auto& [of, ports] : left) {
    const auto server = view.find<Server>(of.first);
    add(list, most, all,
        {"server", of.first.as<AnyId>(), server ? server->name : "", server ? server_status(*server) : "", 0,
         fmt::format("node {} has not confirmed that it is gone from there{}; bring it back, or declare it dead if it never will be",
                     node_name(view, of.second), ports ? ": until then two may answer for its addresses" : "")});
  }
  view.each<Server>([&](const Server& server) {
    const bool wrong = server.status == ServerStatus::error;
    if (!wrong && !server.deadline_ms && server.task == TaskState::none && server.fault.empty()) return;
    std::string reason = server.fault;
    if (server.deadline_ms || server.task != TaskState::none)
      reason += (reason.empty() ? "" : "; ") + awaited(view, server);
    add(list, most, all,
        {"server", server.object(), server.name, server_status(server), server.deadline_ms,
         std::move(reason)});
  });
  view.each<Volume>([&](const Volume& volume) {
    if (volume.status == VolumeStatus::available || volume.status == VolumeStatus::in_use) return;
    std::string reason = volume.fault;
    if (volume.deadline_ms)
      reason += fmt::format("{}the agents of {} have to report it", reason.empty() ? "" : "; ",
                            node_name(view, volume.node));
    add(list, most, all,
        {"volume", volume.object(), volume.name, volume_status_word(volume.status), volume.deadline_ms,
         std::move(reason)});
  });
  return list;
}

}  // namespace reprise::story
