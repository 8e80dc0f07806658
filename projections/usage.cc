// Quota usage and node use: sums over rows, kept by adding what a row counts for now and taking what
// it counted for before. Nothing else ever writes them.
#include <fmt/format.h>

#include "projections/state.h"

namespace reprise {
namespace {

struct Share {
  ProjectId project;
  std::array<std::int64_t, counted_resources> used{};
  NodeUse on_node;

  std::int64_t& operator[](Resource resource) { return used[static_cast<std::size_t>(resource)]; }
};

Share share(const Server& row) {
  Share share{.project = row.project};
  share[Resource::instances] = 1;
  share[Resource::cores] = row.vcpus;
  share[Resource::ram_mib] = static_cast<std::int64_t>(row.ram_mib);
  if (row.tenure != Tenure::none)
    share.on_node = {.node = row.node, .vcpus = row.vcpus, .ram_mib = static_cast<std::int64_t>(row.ram_mib),
                     .disk_gib = static_cast<std::int64_t>(row.disk_gib), .servers = 1};
  return share;
}
Share share(const Volume& row) {
  Share share{.project = row.project};
  share[Resource::volumes] = 1;
  share[Resource::gigabytes] = static_cast<std::int64_t>(row.size_gib);
  if (row.node)
    share.on_node = {.node = row.node, .disk_gib = static_cast<std::int64_t>(row.size_gib), .volumes = 1};
  return share;
}
Share share(const Network& row) {
  Share share{.project = row.project};
  share[Resource::networks] = 1;
  return share;
}
Share share(const Subnet& row) {
  Share share{.project = row.project};
  share[Resource::subnets] = 1;
  return share;
}
Share share(const Port& row) {
  Share share{.project = row.project};
  share[Resource::ports] = 1;
  return share;
}
Share share(const Keypair& row) {
  Share share{.project = row.project};
  share[Resource::key_pairs] = 1;
  return share;
}

void add_project(State& state, const Share& share, std::int64_t sign) {
  if (!state.usage.contains(share.project))
    state.usage.insert({.project = share.project, .used = std::vector<std::int64_t>(counted_resources)});
  Usage& usage = state.usage.edit(share.project);
  bool any = false;
  for (std::size_t i = 0; i < counted_resources; ++i) {
    usage.used[i] += sign * share.used[i];
    CHECK(usage.used[i] >= 0);
    any = any || usage.used[i] != 0;
  }
  if (!any) state.usage.erase(share.project);
}

void add_node(State& state, const NodeUse& share, std::int64_t sign) {
  if (!share.node) return;
  if (!state.node_use.contains(share.node)) state.node_use.insert({.node = share.node});
  NodeUse& use = state.node_use.edit(share.node);
  use.vcpus += sign * share.vcpus;
  use.ram_mib += sign * share.ram_mib;
  use.disk_gib += sign * share.disk_gib;
  use.servers += sign * share.servers;
  use.volumes += sign * share.volumes;
  CHECK(use.vcpus >= 0 && use.ram_mib >= 0 && use.disk_gib >= 0 && use.servers >= 0 && use.volumes >= 0);
  if (use.servers == 0 && use.volumes == 0) state.node_use.erase(share.node);
}

template <class Row>
void count(State& state, const Row* before, const Row* after) {
  const Share old = before ? share(*before) : Share{};
  const Share now = after ? share(*after) : Share{};
  if (before && after && old.project == now.project && old.used == now.used && old.on_node == now.on_node) return;
  if (before) add_project(state, old, -1), add_node(state, old.on_node, -1);
  if (after) add_project(state, now, 1), add_node(state, now.on_node, 1);
}

template <class Row>
void recount(const Table<Row>& table, std::map<ProjectId, std::array<std::int64_t, counted_resources>>& projects,
             std::map<NodeId, NodeUse>& nodes) {
  table.each([&](const Row& row) {
    const Share part = share(row);
    auto& used = projects[part.project];
    for (std::size_t i = 0; i < counted_resources; ++i) used[i] += part.used[i];
    if (!part.on_node.node) return;
    NodeUse& use = nodes[part.on_node.node];
    use.node = part.on_node.node;
    use.vcpus += part.on_node.vcpus;
    use.ram_mib += part.on_node.ram_mib;
    use.disk_gib += part.on_node.disk_gib;
    use.servers += part.on_node.servers;
    use.volumes += part.on_node.volumes;
  });
}

}  // namespace

void count_usage(State& state, const Server* before, const Server* after) { count(state, before, after); }
void count_usage(State& state, const Volume* before, const Volume* after) { count(state, before, after); }
void count_usage(State& state, const Network* before, const Network* after) { count(state, before, after); }
void count_usage(State& state, const Subnet* before, const Subnet* after) { count(state, before, after); }
void count_usage(State& state, const Port* before, const Port* after) { count(state, before, after); }
void count_usage(State& state, const Keypair* before, const Keypair* after) { count(state, before, after); }

std::string check_counters(const State& state) {
  std::map<ProjectId, std::array<std::int64_t, counted_resources>> projects;
  std::map<NodeId, NodeUse> nodes;
  recount(state.servers, projects, nodes);
  recount(state.volumes, projects, nodes);
  recount(state.networks, projects, nodes);
  recount(state.subnets, projects, nodes);
  recount(state.ports, projects, nodes);
  recount(state.keypairs, projects, nodes);
  std::string wrong;
  for (const auto& [project, used] : projects) {
    const Usage* row = state.usage.find(project);
    for (std::size_t i = 0; i < counted_resources; ++i) {
      const std::int64_t counted = row ? row->used[i] : 0;
      if (counted != used[i])
        wrong += fmt::format("project {}: {} counted {}, but its rows make {}\n", project.str(),
                             resource_name(static_cast<Resource>(i)), counted, used[i]);
    }
  }
  for (const auto& [id, use] : nodes) {
    const NodeUse* row = state.node_use.find(id);
    if (!row || !(*row == use)) wrong += fmt::format("node {}: its counters differ from its rows\n", id.str());
  }
  if (state.node_use.size() != nodes.size()) wrong += "a node without rows has counters\n";
  return wrong;
}

const char* resource_name(Resource resource) {
  switch (resource) {
    case Resource::instances: return "instances";
    case Resource::cores: return "cores";
    case Resource::ram_mib: return "ram";
    case Resource::volumes: return "volumes";
    case Resource::gigabytes: return "gigabytes";
    case Resource::networks: return "networks";
    case Resource::subnets: return "subnets";
    case Resource::ports: return "ports";
    case Resource::key_pairs: return "key_pairs";
    case Resource::images: return "images";
    case Resource::image_bytes: return "image_bytes";
  }
  return "?";
}

}  // namespace reprise
