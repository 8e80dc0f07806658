#include <fmt/format.h>

#include <charconv>

#include "controlplane/api/network.h"
#include "events/named.h"

namespace reprise::api {
namespace {

constexpr std::size_t name_chars_max = 255;
constexpr std::size_t pools_max = 16;
constexpr std::size_t dns_max = 5;

Attributes subnet_row(const Subnet& subnet) {
  Attributes row(subnet.id.str());
  std::string pools = "[", dns = "[";
  for (const auto& pool : subnet.pools)
    pools += fmt::format(R"({}{{"start":"{}","end":"{}"}})", pools.size() > 1 ? "," : "", pool.first.str(),
                         pool.last.str());
  for (const auto address : subnet.dns)
    dns += fmt::format("{}\"{}\"", dns.size() > 1 ? "," : "", address.str());
  row.text("name", subnet.name)
      .text("description", subnet.description)
      .text("network_id", subnet.network.str())
      .number("ip_version", 4)
      .text("cidr", subnet.cidr())
      .text_or_null("gateway_ip", subnet.gateway ? subnet.gateway.str() : "")
      .json("allocation_pools", pools + "]")
      .flag("enable_dhcp", subnet.dhcp)
      .json("dns_nameservers", dns + "]")
      .json("host_routes", "[]")
      .json("ipv6_address_mode", "null")
      .json("ipv6_ra_mode", "null")
      .json("subnetpool_id", "null")
      .json("segment_id", "null")
      .json("service_types", "[]")
      .flag("dns_publish_fixed_ip", false);
  add_standard(row, subnet.project, subnet.created_ms, subnet.updated_ms);
  return row;
}

// Those of every network that the actor may see.
std::optional<Subnet> visible_subnet(const Ask& ask, std::string_view text) {
  const auto id = SubnetId::parse(text);
  auto subnet = id ? ask.view().find<Subnet>(*id) : std::nullopt;
  if (subnet && !ask.sees(subnet->project) && !visible_network(ask, subnet->network.str())) subnet.reset();
  return subnet;
}

Response show(Ask& ask, std::string_view id, int status) {
  const auto subnet = visible_subnet(ask, id);
  return subnet ? show_response(ask, status, "subnet", subnet_row(*subnet)) : no_such(ask, "Subnet", id);
}

Response list_subnets(Ask& ask) {
  std::vector<Attributes> rows;
  const auto add = [&](const Subnet& subnet) { rows.push_back(subnet_row(subnet)); };
  if (ask.actor().rights.admin) {
    ask.view().each<Subnet>(add);
  } else {
    ask.view().each_by<Subnet>(Subnet::by_project, encode_key(ask.actor().project), add);
    ask.view().each_by<Network>(Network::by_shared, KeyWriter().byte(1), [&](const Network& network) {
      if (!may_see(ask, network)) return;
      ask.view().each_by<Subnet>(Subnet::by_network, encode_key(network.id), [&](const Subnet& subnet) {
        if (subnet.project != ask.actor().project) add(subnet);
      });
    });
  }
  return list_response(ask, std::move(rows), {.plural = "subnets"});
}

// ---- create

Ipv4 take_address(Fields& fields, std::string_view key, const std::string& text) {
  const auto address = Ipv4::parse(text);
  if (!address || !*address) fields.fail(key, fmt::format("'{}' is not a host's IPv4 address", text));
  return address.value_or(Ipv4{});
}

// "10.0.0.0/24"
void take_cidr(Fields& subnet, CreateSubnet& intent) {
  const auto text = subnet.string("cidr", 1, 64);
  if (text.empty()) return;
  const auto slash = text.find('/');
  const auto base = Ipv4::parse(std::string_view(text).substr(0, slash));
  unsigned prefix = 33;
  if (slash != text.npos) {
    const auto [end, error] = std::from_chars(text.data() + slash + 1, text.data() + text.size(), prefix);
    if (error != std::errc{} || end != text.data() + text.size()) prefix = 33;
  }
  if (!base || prefix > 32)
    return subnet.fail("cidr", fmt::format("'{}' is not an IPv4 network such as 10.0.0.0/24", text));
  intent.base = *base;
  intent.prefix = static_cast<std::uint8_t>(prefix);
}

// Absent: the first address, as neutron does; null: none.
void take_gateway(Fields& subnet, CreateSubnet& intent) {
  const auto kind = subnet.kind("gateway_ip");
  if (kind == JsonKind::absent) intent.gateway = {intent.base.value + 1};
  const auto text = subnet.optional_string("gateway_ip", 1, 64);
  if (text) intent.gateway = take_address(subnet, "gateway_ip", *text);
}

void take_pools(Fields& subnet, CreateSubnet& intent) {
  for (auto& pool : subnet.objects("allocation_pools", pools_max)) {
    const auto first = pool.string("start", 1, 64), last = pool.string("end", 1, 64);
    pool.done();
    if (!first.empty() && !last.empty())
      intent.pools.push_back({take_address(pool, "start", first), take_address(pool, "end", last)});
  }
  std::sort(intent.pools.begin(), intent.pools.end());
}

std::vector<Ipv4> take_dns(Fields& subnet) {
  std::vector<Ipv4> addresses;
  for (const auto& text : subnet.strings("dns_nameservers", dns_max, 1, 64))
    if (!text.empty()) addresses.push_back(take_address(subnet, "dns_nameservers", text));
  return addresses;
}

void take_subnet_rest(Fields& subnet) {
  must_be_empty(subnet, "host_routes", "subnets have no host routes here");
  must_be_empty(subnet, "ipv6_address_mode", "only IPv4 here");
  must_be_empty(subnet, "ipv6_ra_mode", "only IPv4 here");
  must_be_empty(subnet, "subnetpool_id", "there are no subnet pools here: give a cidr");
  must_be_empty(subnet, "service_types", "subnets have no service types here");
  must_be_empty(subnet, "segment_id", "there are no segments here");
  must_be(subnet, "use_default_subnetpool", false);
  must_be(subnet, "dns_publish_fixed_ip", false);
}

Plan create_subnet(Ask& ask) {
  Fields body = ask.body();
  Fields subnet = body.object("subnet");
  CreateSubnet intent{.id = ask.new_id<SubnetId>(),
                      .network = subnet.id("network_id").as<NetworkId>(),
                      .name = subnet.optional_string("name", 0, name_chars_max).value_or(""),
                      .description = subnet.optional_text("description", 0, name_chars_max).value_or(""),
                      .dhcp = subnet.optional_boolean("enable_dhcp").value_or(true),
                      .dns = take_dns(subnet),
                      .dhcp_port = ask.new_id<PortId>()};
  if (subnet.optional_integer("ip_version", 4, 6).value_or(4) != 4)
    subnet.fail("ip_version", "only 4 is possible here");
  take_cidr(subnet, intent);
  take_gateway(subnet, intent);
  take_pools(subnet, intent);
  const auto project = take_project(ask, subnet);
  take_subnet_rest(subnet);
  subnet.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto network = visible_network(ask, intent.network.str());
  if (!network || !ask.sees(network->project)) return no_such(ask, "Network", intent.network.str());
  if (project && project != network->project)
    return ask.error(400, "subnet.project_id: a subnet belongs to its network's project: leave it out.", "InvalidInput");
  const auto id = intent.id;
  return Change(std::move(intent), id, [id](Ask& ask) { return show(ask, id.str(), 201); });
}

// ---- change, delete

// Fields that a client may repeat but not change.
void must_stay(Fields& subnet, const Subnet& row) {
  if (const auto gateway = subnet.optional_string("gateway_ip", 1, 64);
      gateway && *gateway != row.gateway.str())
    subnet.fail("gateway_ip", "cannot be changed: make another subnet");
  if (subnet.kind("gateway_ip") == JsonKind::null && row.gateway)
    subnet.fail("gateway_ip", "cannot be taken away: make another subnet");
  if (const auto dhcp = subnet.optional_boolean("enable_dhcp"); dhcp && *dhcp != row.dhcp)
    subnet.fail("enable_dhcp", "cannot be changed: make another subnet");
  if (subnet.kind("allocation_pools") != JsonKind::absent) {
    std::vector<AddressRange> pools;
    for (auto& pool : subnet.objects("allocation_pools", pools_max)) {
      pools.push_back({take_address(pool, "start", pool.string("start", 1, 64)),
                       take_address(pool, "end", pool.string("end", 1, 64))});
      pool.done();
    }
    std::sort(pools.begin(), pools.end());
    if (pools != row.pools) subnet.fail("allocation_pools", "cannot be changed: make another subnet");
  }
}

Plan update_subnet(Ask& ask) {
  const auto row = visible_subnet(ask, ask.param(0));
  if (!row) return no_such(ask, "Subnet", ask.param(0));
  Fields body = ask.body();
  Fields subnet = body.object("subnet");
  using Named = wire::UpdateSubnetNamed;
  UpdateSubnet intent{.id = row->id, .named = 0};
  name_if(intent, Named::VT_NAME, intent.name, subnet.optional_string("name", 0, name_chars_max));
  name_if(intent, Named::VT_DESCRIPTION, intent.description, subnet.optional_text("description", 0, name_chars_max));
  if (subnet.kind("dns_nameservers") != JsonKind::absent) name(intent, Named::VT_DNS, intent.dns, take_dns(subnet));
  must_stay(subnet, *row);
  must_stay_with(subnet, row->project);
  take_subnet_rest(subnet);
  subnet.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  return Change(std::move(intent), row->id, [id = row->id](Ask& ask) { return show(ask, id.str(), 200); });
}

Plan delete_subnet(Ask& ask) {
  const auto row = visible_subnet(ask, ask.param(0));
  if (!row) return no_such(ask, "Subnet", ask.param(0));
  return Change(DeleteSubnet{.id = row->id}, row->id, [](Ask&) { return Response(204); });
}

}  // namespace

void register_subnets(Api& api) {
  api.read(Service::network, "/v2.0/subnets", Need::reader, list_subnets);
  api.read(Service::network, "/v2.0/subnets/{id}", Need::reader,
           [](Ask& ask) { return show(ask, ask.param(0), 200); });
  api.write(Service::network, Method::post, "/v2.0/subnets", Need::member, create_subnet);
  api.write(Service::network, Method::put, "/v2.0/subnets/{id}", Need::member, update_subnet);
  api.write(Service::network, Method::del, "/v2.0/subnets/{id}", Need::member, delete_subnet);
}

}  // namespace reprise::api
