#include <fmt/format.h>

#include "controlplane/api/network.h"
#include "events/named.h"

namespace reprise::api {
namespace {

constexpr std::size_t name_chars_max = 255;
constexpr std::int64_t mtu_min = 68, mtu_max = 9000, vlan_id_max = 4094;

Attributes network_row(const Ask& ask, const Network& network) {
  Attributes row(network.id.str());
  std::string subnets = "[";
  ask.view().each_key_by<Subnet>(Subnet::by_network, encode_key(network.id), [&](const SubnetId& id) {
    subnets += fmt::format("{}\"{}\"", subnets.size() > 1 ? "," : "", id.str());
  });
  row.text("name", network.name)
      .text("description", network.description)
      .text("status", "ACTIVE")
      .flag("admin_state_up", network.admin_up)
      .flag("shared", network.shared)
      .flag("router:external", false)
      .number("mtu", network.mtu)
      .json("subnets", subnets + "]")
      .flag("port_security_enabled", true)
      .json("availability_zone_hints", "[]")
      .json("availability_zones", R"(["nova"])")
      .json("ipv4_address_scope", "null")
      .json("ipv6_address_scope", "null")
      .json("qos_policy_id", "null")
      .flag("is_default", false);
  if (ask.actor().rights.admin)
    row.text("provider:network_type", "vlan")
        .text("provider:physical_network", physical_network)
        .number("provider:segmentation_id", network.vlan);
  add_standard(row, network.project, network.created_ms, network.updated_ms);
  return row;
}

Response show(Ask& ask, NetworkId id, int status) {
  const auto network = visible_network(ask, id.str());
  return network ? show_response(ask, status, "network", network_row(ask, *network))
                 : no_such(ask, "Network", id.str());
}

Response show_network(Ask& ask) {
  const auto network = visible_network(ask, ask.param(0));
  return network ? show_response(ask, 200, "network", network_row(ask, *network))
                 : no_such(ask, "Network", ask.param(0));
}

Response list_networks(Ask& ask) {
  std::vector<Attributes> rows;
  const auto add = [&](const Network& network) { rows.push_back(network_row(ask, network)); };
  if (ask.actor().rights.admin) {
    ask.view().each<Network>(add);
  } else {
    ask.view().each_by<Network>(Network::by_project, encode_key(ask.actor().project), add);
    ask.view().each_by<Network>(Network::by_shared, KeyWriter().byte(1), [&](const Network& network) {
      if (network.project != ask.actor().project && may_see(ask, network)) add(network);
    });
  }
  return list_response(ask, std::move(rows), {.plural = "networks"});
}

void take_provider(Fields& network, CreateNetwork& intent) {
  network.optional_word("provider:network_type", {"vlan"});
  network.optional_word("provider:physical_network", {physical_network});
  const auto vlan = network.optional_integer("provider:segmentation_id", 1, vlan_id_max);
  intent.vlan = static_cast<std::uint16_t>(vlan.value_or(0));
}

void take_network_rest(Fields& network) {
  must_be(network, "router:external", false);
  must_be(network, "is_default", false);
  must_be(network, "port_security_enabled", true);
  must_be_empty(network, "availability_zone_hints", "networks span all zones here");
  must_be_empty(network, "dns_domain", "networks have no DNS domain here");
  must_be_empty(network, "qos_policy_id", "there are no QoS policies here");
}

Plan create_network(Ask& ask) {
  Fields body = ask.body();
  Fields network = body.object("network");
  CreateNetwork intent{
      .id = ask.new_id<NetworkId>(),
      .name = network.optional_string("name", 0, name_chars_max).value_or(""),
      .description = network.optional_text("description", 0, name_chars_max).value_or(""),
      .admin_up = network.optional_boolean("admin_state_up").value_or(true),
      .shared = network.optional_boolean("shared").value_or(false),
      .mtu = static_cast<std::uint32_t>(network.optional_integer("mtu", mtu_min, mtu_max).value_or(0))};
  intent.project = take_project(ask, network);
  take_provider(network, intent);
  take_network_rest(network);
  network.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto id = intent.id;
  return Change(std::move(intent), id, [id](Ask& ask) { return show(ask, id, 201); });
}

Plan update_network(Ask& ask) {
  const auto row = visible_network(ask, ask.param(0));
  if (!row) return no_such(ask, "Network", ask.param(0));
  Fields body = ask.body();
  Fields network = body.object("network");
  using Named = wire::UpdateNetworkNamed;
  UpdateNetwork intent{.id = row->id, .named = 0};
  name_if(intent, Named::VT_NAME, intent.name, network.optional_string("name", 0, name_chars_max));
  name_if(intent, Named::VT_DESCRIPTION, intent.description, network.optional_text("description", 0, name_chars_max));
  name_if(intent, Named::VT_ADMIN_UP, intent.admin_up, network.optional_boolean("admin_state_up"));
  name_if(intent, Named::VT_SHARED, intent.shared, network.optional_boolean("shared"));
  if (const auto mtu = network.optional_integer("mtu", mtu_min, mtu_max); mtu && *mtu != row->mtu)
    network.fail("mtu", "cannot be changed: make another network");
  must_stay_with(network, row->project);
  take_network_rest(network);
  network.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(std::move(intent), row->id, [id = row->id](Ask& ask) { return show(ask, id, 200); });
}

Plan delete_network(Ask& ask) {
  const auto row = visible_network(ask, ask.param(0));
  if (!row) return no_such(ask, "Network", ask.param(0));
  return Change(DeleteNetwork{.id = row->id}, row->id, [](Ask&) { return Response(204); });
}

}  // namespace

// Shared then, and still: who may look at the past is who may look now and might then (design, 3).
bool may_see(const Ask& ask, const Network& network) {
  if (ask.sees(network.project)) return true;
  if (!network.shared || !ask.past()) return network.shared;
  const auto now = ask.present().find<Network>(network.id);
  return now && now->born == network.born && now->shared;
}

std::optional<Network> visible_network(const Ask& ask, std::string_view text) {
  const auto id = NetworkId::parse(text);
  auto network = id ? ask.view().find<Network>(*id) : std::nullopt;
  if (network && !may_see(ask, *network)) network.reset();
  return network;
}

Response no_such(const Ask& ask, std::string_view kind, std::string_view id) {
  return ask.error(404, fmt::format("{} {} could not be found.", kind, id), fmt::format("{}NotFound", kind));
}

ProjectId take_project(Ask& ask, Fields& fields) {
  ProjectId project;
  for (const char* key : {"tenant_id", "project_id"}) {
    const auto id = fields.optional_id(key);
    if (!id) continue;
    if (!ask.sees(id->as<ProjectId>()))
      fields.fail(key, "another than the token's own project needs an admin: leave it out, or use a token of that project");
    else if (project && project != id->as<ProjectId>())
      fields.fail(key, "is another project than tenant_id: give one of them");
    project = id->as<ProjectId>();
  }
  return project;
}

void must_stay_with(Fields& fields, ProjectId project) {
  for (const char* key : {"tenant_id", "project_id"})
    if (const auto id = fields.optional_id(key); id && id->as<ProjectId>() != project) fields.fail(key, "cannot be changed: leave it out");
}

void must_be(Fields& fields, const char* key, bool value) {
  if (const auto given = fields.optional_boolean(key); given && *given != value)
    fields.fail(key, fmt::format("can only be {} here", value));
}

void must_be_empty(Fields& fields, const char* key, const char* why) {
  const auto kind = fields.kind(key);
  if (kind == JsonKind::string) {
    if (!fields.optional_string(key, 0, 255)->empty()) fields.fail(key, fmt::format("{}: leave it out", why));
  } else if (kind == JsonKind::array) {
    if (fields.size(key) != 0) fields.fail(key, fmt::format("{}: leave it out", why));
  } else if (kind != JsonKind::absent && kind != JsonKind::null) {
    fields.fail(key, fmt::format("{}: leave it out", why));
  }
  fields.ignore(key);
}

void add_standard(Attributes& row, ProjectId project, std::int64_t created_ms, std::int64_t updated_ms) {
  row.text("tenant_id", project.hex())
      .text("project_id", project.hex())
      .also("tenant_id", project.str())
      .also("project_id", project.str())
      .json("tags", "[]")
      .text("created_at", time_z(static_cast<std::uint64_t>(created_ms)))
      .text("updated_at", time_z(static_cast<std::uint64_t>(updated_ms)));
}

void register_networks(Api& api) {
  api.read(Service::network, "/v2.0/networks", Need::reader, list_networks);
  api.read(Service::network, "/v2.0/networks/{id}", Need::reader, show_network);
  api.write(Service::network, Method::post, "/v2.0/networks", Need::member, create_network);
  api.write(Service::network, Method::put, "/v2.0/networks/{id}", Need::member, update_network);
  api.write(Service::network, Method::del, "/v2.0/networks/{id}", Need::member, delete_network);
}

void register_network(Api& api) {
  register_network_versions(api);
  register_networks(api);
  register_subnets(api);
  register_ports(api);
}

}  // namespace reprise::api
