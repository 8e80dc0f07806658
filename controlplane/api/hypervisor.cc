// Nodes as an admin of nova knows them: hypervisors and their compute services.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "controlplane/api/compute.h"
#include "controlplane/api/server_json.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::compute;
constexpr unsigned ids_are_uuids = 53;
constexpr std::size_t hypervisors_a_page_max = 1000;

// Before 2.53 ids are numbers: where the node was born is one, and no other's.
std::uint64_t number_of(const Node& node) { return node.born.seq * 65536 + node.born.index; }

void write_id(JsonWriter& json, const Node& node, unsigned minor) {
  json.key("id");
  minor >= ids_are_uuids ? json.value(node.id.str()) : json.value(number_of(node));
}

bool is_called(const Node& node, std::string_view id, unsigned minor) {
  return minor >= ids_are_uuids ? NodeId::parse(id) == node.id : id == std::to_string(number_of(node));
}

std::vector<Node> all_nodes(const View& view) {
  std::vector<Node> nodes;
  view.each<Node>([&](const Node& row) { nodes.push_back(row); });
  std::sort(nodes.begin(), nodes.end(), [](const Node& a, const Node& b) { return a.born < b.born; });
  return nodes;
}

const char* state_word(const Node& node) { return node.state == NodeState::up ? "up" : "down"; }
const char* status_word(const Node& node) { return node.disabled ? "disabled" : "enabled"; }

void write_numbers(JsonWriter& json, const Node& node, const NodeUse& use) {
  const auto left = [](std::uint64_t all, std::int64_t used) {
    return static_cast<std::int64_t>(all) - used;
  };
  json.field("vcpus", node.vcpus).field("vcpus_used", use.vcpus);
  json.field("memory_mb", node.ram_mib)
      .field("memory_mb_used", use.ram_mib)
      .field("free_ram_mb", left(node.ram_mib, use.ram_mib));
  json.field("local_gb", node.disk_gib)
      .field("local_gb_used", use.disk_gib)
      .field("free_disk_gb", left(node.disk_gib, use.disk_gib));
  json.field("disk_available_least", left(node.disk_gib, use.disk_gib));
  json.field("running_vms", use.servers).field("current_workload", 0);
}

void write_servers(JsonWriter& json, const View& view, const Node& node) {
  bool any = false;
  view.each_by<Server>(Server::by_node, encode_key(node.id), [&](const Server& row) {
    if (!any) json.array("servers");
    any = true;
    json.begin_object().field("name", instance_name(row.id)).field("uuid", row.id.str()).end_object();
  });
  if (any) json.end_array();
}

void write_hypervisor(JsonWriter& json, Ask& ask, const Node& node, bool details, bool with_servers) {
  const unsigned minor = microversion(ask);
  json.begin_object();
  write_id(json, node, minor);
  json.field("hypervisor_hostname", node.name)
      .field("state", state_word(node))
      .field("status", status_word(node));
  if (with_servers) write_servers(json, ask.view(), node);
  if (details) {
    const auto use = ask.view().find<NodeUse>(node.id).value_or(NodeUse{});
    json.field("hypervisor_type", node.compute_driver == "libvirt" ? "QEMU" : node.compute_driver);
    json.field("hypervisor_version", 1).field("host_ip", node.address);
    minor >= 28 ? json.object("cpu_info").end_object() : json.field("cpu_info", "");
    write_numbers(json, node, use);
    json.object("service").field("host", node.name);
    write_id(json, node, minor);
    json.field_or_null("disabled_reason", node.disabled ? node.reason : "").end_object();
  }
  json.end_object();
}

Plan list(Ask& ask, bool details) {
  const unsigned minor = microversion(ask);
  auto page = ask.page(hypervisors_a_page_max);
  if (minor < 33) page = {.limit = SIZE_MAX};
  const bool with_servers = minor >= ids_are_uuids && ask.flag("with_servers").value_or(false);
  if (auto bad = ask.bad()) return std::move(*bad);
  auto nodes = all_nodes(ask.view());
  if (const auto part = ask.query("hypervisor_hostname_pattern"); part && minor >= ids_are_uuids) {
    std::erase_if(nodes, [&](const Node& node) { return node.name.find(*part) == std::string::npos; });
    if (nodes.empty())
      return ask.error(404, fmt::format("No hypervisor matching '{}' could be found.", *part));
  }
  const auto id_of = [&](const Node& node) {
    return minor >= ids_are_uuids ? node.id.str() : std::to_string(number_of(node));
  };
  bool more = false;
  if (!cut_to_page(nodes, page, more, id_of))
    return ask.error(400, fmt::format("marker [{}] not found", page.marker));
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("hypervisors");
  for (const auto& node : nodes) write_hypervisor(json, ask, node, details, with_servers);
  json.end_array();
  if (more) {
    json.array("hypervisors_links");
    write_link(json, "next", ask.next_url(id_of(nodes.back())));
    json.end_array();
  }
  json.end_object();
  return json_response(200, std::move(body));
}

std::optional<Node> hypervisor_at(Ask& ask) {
  for (auto& node : all_nodes(ask.view()))
    if (is_called(node, ask.param(0), microversion(ask))) return std::move(node);
  return std::nullopt;
}

Response no_hypervisor(const Ask& ask) {
  return ask.error(404, fmt::format("Compute host {} could not be found.", ask.param(0)));
}

Plan show(Ask& ask) {
  const auto node = hypervisor_at(ask);
  if (!node) return no_hypervisor(ask);
  const bool with_servers = microversion(ask) >= ids_are_uuids && ask.flag("with_servers").value_or(false);
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("hypervisor");
  write_hypervisor(json, ask, *node, true, with_servers);
  json.end_object();
  return json_response(200, std::move(body));
}

// By a part of the name: /search and /servers, before 2.53.
Plan search(Ask& ask, bool with_servers) {
  std::string body;
  JsonWriter json(body);
  bool any = false;
  json.begin_object().array("hypervisors");
  for (const auto& node : all_nodes(ask.view())) {
    if (node.name.find(ask.param(0)) == std::string::npos) continue;
    any = true;
    write_hypervisor(json, ask, node, false, with_servers);
  }
  json.end_array().end_object();
  if (!any) return ask.error(404, fmt::format("No hypervisor matching '{}' could be found.", ask.param(0)));
  return json_response(200, std::move(body));
}

Plan statistics(Ask& ask) {
  Node sum;
  NodeUse use;
  std::int64_t count = 0;
  for (const auto& node : all_nodes(ask.view())) {
    if (node.disabled || node.state != NodeState::up) continue;
    ++count;
    sum.vcpus += node.vcpus, sum.ram_mib += node.ram_mib, sum.disk_gib += node.disk_gib;
    const auto one = ask.view().find<NodeUse>(node.id).value_or(NodeUse{});
    use.vcpus += one.vcpus, use.ram_mib += one.ram_mib, use.disk_gib += one.disk_gib,
        use.servers += one.servers;
  }
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("hypervisor_statistics").field("count", count);
  write_numbers(json, sum, use);
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

void write_service(JsonWriter& json, const Node& node, unsigned minor) {
  json.begin_object();
  write_id(json, node, minor);
  json.field("binary", "nova-compute")
      .field("host", node.name)
      .field("zone", node.zone.empty() ? "nova" : node.zone);
  json.field("status", status_word(node)).field("state", state_word(node)).key("updated_at").null();
  json.field_or_null("disabled_reason", node.disabled ? node.reason : "");
  if (minor >= 11) json.field("forced_down", node.state == NodeState::dead);
  json.end_object();
}

Plan list_services(Ask& ask) {
  const auto host = ask.query("host"), binary = ask.query("binary");
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("services");
  for (const auto& node : all_nodes(ask.view())) {
    if ((host && *host != node.name) || (binary && *binary != "nova-compute")) continue;
    write_service(json, node, microversion(ask));
  }
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

Plan switch_node(Ask&, const Node& node, bool enabled, std::string reason,
                 std::function<Plan(Ask&, const Node&)> print) {
  return Change(SetNodeEnabled{.id = node.id, .enabled = enabled, .reason = std::move(reason)}, node.id,
                [id = node.id, print = std::move(print)](Ask& ask) -> Plan {
                  const auto now = ask.view().find<Node>(id);
                  return now ? print(ask, *now) : Plan(ask.error(404, "The node is gone."));
                });
}

// PUT os-services/enable, /disable, /disable-log-reason {"host", "binary"}: before 2.53.
Plan switch_service(Ask& ask) {
  const auto& what = ask.param(0);
  const bool enabled = what == "enable", with_reason = what == "disable-log-reason";
  if (what == "force-down")
    return not_implemented(ask, "A service is not forced down; when a node is off for ever, declare it dead");
  if (!enabled && !with_reason && what != "disable")
    return ask.error(404, fmt::format("Unknown action: {}", what));
  auto body = ask.body();
  const auto host = body.string("host", 1, 255);
  body.optional_word("binary", {"nova-compute"});
  const auto reason = with_reason ? body.string("disabled_reason", 1, 255) : std::string();
  body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  for (const auto& node : all_nodes(ask.view())) {
    if (node.name != host) continue;
    return switch_node(ask, node, enabled, reason, [](Ask&, const Node& now) -> Plan {
      std::string text;
      JsonWriter json(text);
      json.begin_object()
          .object("service")
          .field("binary", "nova-compute")
          .field("host", now.name)
          .field("status", status_word(now));
      if (now.disabled && !now.reason.empty()) json.field("disabled_reason", now.reason);
      json.end_object().end_object();
      return json_response(200, std::move(text));
    });
  }
  return ask.error(404, fmt::format("Could not find binary nova-compute on host {}.", host));
}

// PUT os-services/{id} {"status", "disabled_reason", "forced_down"}: from 2.53 on.
Plan update_service(Ask& ask) {
  if (microversion(ask) < ids_are_uuids) return switch_service(ask);
  const auto node = hypervisor_at(ask);
  if (!node) return ask.error(404, fmt::format("Service {} not found.", ask.param(0)));
  auto body = ask.body();
  if (const auto down = body.optional_boolean("forced_down");
      down && *down != (node->state == NodeState::dead))
    body.fail("forced_down",
              "a service is not forced down or up here: when a node is off for ever, declare it dead");
  const auto status = body.word("status", {"enabled", "disabled"});
  const auto reason = body.optional_string("disabled_reason", 1, 255).value_or("");
  if (status == "enabled" && !reason.empty()) body.fail("disabled_reason", "belongs to status disabled");
  body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return switch_node(ask, *node, status == "enabled", reason, [](Ask& ask, const Node& now) -> Plan {
    std::string text;
    JsonWriter json(text);
    json.begin_object().key("service");
    write_service(json, now, microversion(ask));
    json.end_object();
    return json_response(200, std::move(text));
  });
}

Plan list_zones(Ask& ask, bool details) {
  std::map<std::string, std::vector<Node>> zones;
  for (auto& node : all_nodes(ask.view())) zones[node.zone.empty() ? "nova" : node.zone].push_back(node);
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("availabilityZoneInfo");
  for (const auto& [name, nodes] : zones) {
    const auto usable = [](const Node& node) { return node.state == NodeState::up && !node.disabled; };
    json.begin_object().field("zoneName", name);
    json.object("zoneState").field("available", std::any_of(nodes.begin(), nodes.end(), usable)).end_object();
    if (!details) {
      json.key("hosts").null().end_object();
      continue;
    }
    json.object("hosts");
    for (const auto& node : nodes) {
      json.text_key(node.name).begin_object().object("nova-compute").field("active", !node.disabled);
      json.field("available", node.state == NodeState::up).key("updated_at").null().end_object().end_object();
    }
    json.end_object().end_object();
  }
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void register_hypervisors(Api& api) {
  const auto read = [&](std::string_view path, Need need, Handle handle) {
    api.read(service, path, need, microversioned(std::move(handle)));
  };
  read("/v2.1/os-hypervisors", Need::admin, [](Ask& ask) { return list(ask, false); });
  read("/v2.1/os-hypervisors/detail", Need::admin, [](Ask& ask) { return list(ask, true); });
  read("/v2.1/os-hypervisors/statistics", Need::admin, statistics);
  read("/v2.1/os-hypervisors/{id}", Need::admin, show);
  read("/v2.1/os-hypervisors/{id}/search", Need::admin, [](Ask& ask) { return search(ask, false); });
  read("/v2.1/os-hypervisors/{id}/servers", Need::admin, [](Ask& ask) { return search(ask, true); });
  read("/v2.1/os-hypervisors/{id}/uptime", Need::admin,
       [](Ask& ask) -> Plan { return not_implemented(ask, "The uptime of nodes is not collected here"); });
  read("/v2.1/os-services", Need::admin, list_services);
  api.write(service, Method::put, "/v2.1/os-services/{id}", Need::admin, microversioned(update_service));
  api.write(service, Method::del, "/v2.1/os-services/{id}", Need::admin, microversioned([](Ask& ask) -> Plan {
              return not_implemented(
                  ask, "A node's service is not deleted; when the node is off for ever, declare it dead");
            }));
  read("/v2.1/os-availability-zone", Need::reader, [](Ask& ask) { return list_zones(ask, false); });
  read("/v2.1/os-availability-zone/detail", Need::admin, [](Ask& ask) { return list_zones(ask, true); });
}

}  // namespace reprise::api
