#include <fmt/format.h>

#include "controlplane/api/network.h"
#include "events/named.h"

namespace reprise::api {
namespace {

constexpr std::size_t name_chars_max = 255;
constexpr std::size_t fixed_ips_max = 5;

// Who runs a port, for admins.
std::string host_of(const Ask& ask, const Port& port) {
  const auto server = port.server ? ask.view().find<Server>(port.server) : std::nullopt;
  const auto node = server && server->node ? ask.view().find<Node>(server->node) : std::nullopt;
  return node ? node->name : "";
}

Attributes port_row(const Ask& ask, const Port& port) {
  Attributes row(port.id.str());
  std::string fixed = "[";
  for (const auto& ip : port.fixed)
    fixed += fmt::format(R"({}{{"subnet_id":"{}","ip_address":"{}"}})", fixed.size() > 1 ? "," : "",
                         ip.subnet.str(), ip.address.str());
  row.text("name", port.name)
      .text("description", port.description)
      .text("network_id", port.network.str())
      .text("mac_address", port.mac.str())
      .json("fixed_ips", fixed + "]")
      .text("status", port_status_word(port.status))
      .flag("admin_state_up", port.admin_up)
      .text("device_id", port.server      ? port.server.str()
                         : port.is_dhcp() ? "dhcp-" + port.network.str()
                                          : "")
      .text("device_owner", port.device_owner)
      .json("security_groups", "[]")
      .json("allowed_address_pairs", "[]")
      .json("extra_dhcp_opts", "[]")
      .text("binding:vnic_type", "normal")
      .flag("port_security_enabled", true)
      .json("qos_policy_id", "null");
  for (const auto& ip : port.fixed) {
    row.also("fixed_ips", "ip_address=" + ip.address.str()).also("fixed_ips", "subnet_id=" + ip.subnet.str());
    row.also("ip_address", ip.address.str()).also("subnet_id", ip.subnet.str());
  }
  row.also("ip_address", "-").also("subnet_id", "-");  // so that a port without addresses can be filtered too
  if (ask.actor().rights.admin)
    row.text("binding:host_id", host_of(ask, port))
        .json("binding:profile", "{}")
        .json("binding:vif_details", port.server ? R"({"port_filter":true,"connectivity":"l2"})" : "{}")
        .text("binding:vif_type", port.server ? "ovs" : "unbound");
  add_standard(row, port.project, port.created_ms, port.updated_ms);
  return row;
}

// Own ports, and those on own networks.
bool may_see(const Ask& ask, const Port& port) {
  if (ask.sees(port.project)) return true;
  const auto network = ask.view().find<Network>(port.network);
  return network && ask.sees(network->project);
}

std::optional<Port> visible_port(const Ask& ask, std::string_view text) {
  const auto id = PortId::parse(text);
  auto port = id ? ask.view().find<Port>(*id) : std::nullopt;
  if (port && !may_see(ask, *port)) port.reset();
  return port;
}

Response show(Ask& ask, std::string_view id, int status) {
  const auto port = visible_port(ask, id);
  return port ? show_response(ask, status, "port", port_row(ask, *port)) : no_such(ask, "Port", id);
}

Response list_ports(Ask& ask) {
  std::vector<Attributes> rows;
  const auto add = [&](const Port& port) {
    if (may_see(ask, port)) rows.push_back(port_row(ask, port));
  };
  // The narrowest index that the filters allow.
  const auto server = ServerId::parse(ask.query("device_id").value_or(""));
  const auto network = NetworkId::parse(ask.query("network_id").value_or(""));
  if (server && ask.queries("device_id").size() == 1) {
    ask.view().each_by<Port>(Port::by_server, encode_key(*server), add);
  } else if (network && ask.queries("network_id").size() == 1) {
    ask.view().each_by<Port>(Port::by_network, encode_key(*network), add);
  } else if (ask.actor().rights.admin) {
    ask.view().each<Port>(add);
  } else {
    const auto own = ask.actor().project;
    ask.view().each_by<Port>(Port::by_project, encode_key(own), add);
    ask.view().each_key_by<Network>(Network::by_project, encode_key(own), [&](const NetworkId& id) {
      ask.view().each_by<Port>(Port::by_network, encode_key(id), [&](const Port& port) {
        if (port.project != own) add(port);
      });
    });
  }
  return list_response(ask, std::move(rows), {.plural = "ports"});
}

// ---- create, change, delete

void take_fixed_ips(Fields& port, CreatePort& intent) {
  if (port.kind("fixed_ips") == JsonKind::array && port.size("fixed_ips") == 0) intent.no_addresses = true;
  for (auto& ip : port.objects("fixed_ips", fixed_ips_max)) {
    FixedIp wish;
    if (const auto subnet = ip.optional_id("subnet_id")) wish.subnet = subnet->as<SubnetId>();
    if (const auto text = ip.optional_string("ip_address", 1, 64)) {
      const auto address = Ipv4::parse(*text);
      if (!address || !*address) ip.fail("ip_address", fmt::format("'{}' is not a host's IPv4 address", *text));
      wish.address = address.value_or(Ipv4{});
    }
    if (ip.kind("subnet_id") == JsonKind::absent && ip.kind("ip_address") == JsonKind::absent)
      ip.fail("subnet_id", "or ip_address is required");
    ip.done();
    intent.fixed.push_back(wish);
  }
}

void take_port_rest(Fields& port) {
  must_be(port, "port_security_enabled", true);
  must_be_empty(port, "security_groups", "there are no security groups here");
  must_be_empty(port, "allowed_address_pairs", "ports have no further addresses here");
  must_be_empty(port, "extra_dhcp_opts", "ports have no DHCP options of their own here");
  must_be_empty(port, "device_id", "a server is given its ports when it is made");
  must_be_empty(port, "device_owner", "a server is given its ports when it is made");
  must_be_empty(port, "binding:host_id", "a port is where its server is");
  must_be_empty(port, "binding:profile", "ports have no profile here");
  must_be_empty(port, "dns_name", "ports have no DNS names here");
  must_be_empty(port, "dns_domain", "ports have no DNS names here");
  must_be_empty(port, "qos_policy_id", "there are no QoS policies here");
  port.optional_word("binding:vnic_type", {"normal"});
}

Plan create_port(Ask& ask) {
  Fields body = ask.body();
  Fields port = body.object("port");
  CreatePort intent{.id = ask.new_id<PortId>(),
                    .network = port.id("network_id").as<NetworkId>(),
                    .name = port.optional_string("name", 0, name_chars_max).value_or(""),
                    .description = port.optional_text("description", 0, name_chars_max).value_or(""),
                    .admin_up = port.optional_boolean("admin_state_up").value_or(true)};
  if (const auto text = port.optional_string("mac_address", 1, 64)) {
    const auto mac = Mac::parse(*text);
    const bool unicast = mac && *mac && (mac->value >> 40 & 1) == 0;
    if (!unicast) port.fail("mac_address", fmt::format("'{}' is not a unicast MAC address", *text));
    intent.mac = mac.value_or(Mac{});
  }
  take_fixed_ips(port, intent);
  intent.project = take_project(ask, port);
  take_port_rest(port);
  port.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  if (!visible_network(ask, intent.network.str())) return no_such(ask, "Network", intent.network.str());
  const auto id = intent.id;
  return Change(std::move(intent), id, [id](Ask& ask) { return show(ask, id.str(), 201); });
}

Plan update_port(Ask& ask) {
  const auto row = visible_port(ask, ask.param(0));
  if (!row) return no_such(ask, "Port", ask.param(0));
  Fields body = ask.body();
  Fields port = body.object("port");
  using Named = wire::UpdatePortNamed;
  UpdatePort intent{.id = row->id, .named = 0};
  name_if(intent, Named::VT_NAME, intent.name, port.optional_string("name", 0, name_chars_max));
  name_if(intent, Named::VT_DESCRIPTION, intent.description, port.optional_text("description", 0, name_chars_max));
  name_if(intent, Named::VT_ADMIN_UP, intent.admin_up, port.optional_boolean("admin_state_up"));
  for (const char* fixed : {"fixed_ips", "mac_address", "network_id"}) {
    if (port.kind(fixed) == JsonKind::absent) continue;
    port.fail(fixed, "cannot be changed: make another port");
    port.ignore(fixed);
  }
  must_stay_with(port, row->project);
  take_port_rest(port);
  port.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(std::move(intent), row->id, [id = row->id](Ask& ask) { return show(ask, id.str(), 200); });
}

Plan delete_port(Ask& ask) {
  const auto row = visible_port(ask, ask.param(0));
  if (!row) return no_such(ask, "Port", ask.param(0));
  return Change(DeletePort{.id = row->id}, row->id, [](Ask&) { return Response(204); });
}

}  // namespace

void register_ports(Api& api) {
  api.read(Service::network, "/v2.0/ports", Need::reader, list_ports);
  api.read(Service::network, "/v2.0/ports/{id}", Need::reader,
           [](Ask& ask) { return show(ask, ask.param(0), 200); });
  api.write(Service::network, Method::post, "/v2.0/ports", Need::member, create_port);
  api.write(Service::network, Method::put, "/v2.0/ports/{id}", Need::member, update_port);
  api.write(Service::network, Method::del, "/v2.0/ports/{id}", Need::member, delete_port);
}

}  // namespace reprise::api
