#include "controlplane/decide/address.h"
#include "controlplane/decide/decide.h"
#include "events/named.h"

namespace reprise {
namespace {

const Network* visible(const State& s, NetworkId id, const Context& c) {
  const Network* network = s.networks.find(id);
  return network && (network->shared || c.sees(network->project)) ? network : nullptr;
}
Events no_network(NetworkId id) {
  return refuse(Refusal::no_such_network, fmt::format("Network {} could not be found.", id.str()), id.as<AnyId>());
}
Events needs_member(const char* what) {
  return refuse(Refusal::not_allowed, fmt::format("{} needs the role member.", what));
}

UpdateNetwork merged(UpdateNetwork i, const Network& row) {
  using Named = wire::UpdateNetworkNamed;
  unless_named(i, Named::VT_NAME, i.name, row.name);
  unless_named(i, Named::VT_DESCRIPTION, i.description, row.description);
  unless_named(i, Named::VT_ADMIN_UP, i.admin_up, row.admin_up);
  unless_named(i, Named::VT_SHARED, i.shared, row.shared);
  return i;
}

UpdateSubnet merged(UpdateSubnet i, const Subnet& row) {
  using Named = wire::UpdateSubnetNamed;
  unless_named(i, Named::VT_NAME, i.name, row.name);
  unless_named(i, Named::VT_DESCRIPTION, i.description, row.description);
  unless_named(i, Named::VT_DNS, i.dns, row.dns);
  return i;
}

UpdatePort merged(UpdatePort i, const Port& row) {
  using Named = wire::UpdatePortNamed;
  unless_named(i, Named::VT_NAME, i.name, row.name);
  unless_named(i, Named::VT_DESCRIPTION, i.description, row.description);
  unless_named(i, Named::VT_ADMIN_UP, i.admin_up, row.admin_up);
  return i;
}

}  // namespace

namespace network {

Events create(const State& s, const CreateNetwork& i, const Context& c) {
  if (!c.rights.member) return needs_member("Creating a network");
  if (s.networks.contains(i.id)) return refuse(Refusal::id_taken, "A network with that id exists.");
  if ((i.vlan || i.shared) && !c.rights.admin)
    return refuse(Refusal::not_allowed, "Only an admin may choose a network's VLAN id (provider:segmentation_id) or share it.");
  const auto owner = i.project ? i.project : c.project();
  if (auto refused = refuse_owner(s, owner, c)) return *refused;
  if (auto over = over_quota(s, owner, Resource::networks, 1)) return *over;
  if (i.vlan > vlan_max) return refuse(Refusal::bad_range, fmt::format("VLAN id {} is outside of 1..{}.", i.vlan, vlan_max));
  if (i.vlan && s.networks.any_by(Network::by_vlan, KeyWriter().number(i.vlan)))
    return refuse(Refusal::vlan_taken, fmt::format("VLAN id {} is another network's; choose another, or leave it out.", i.vlan));
  const std::uint16_t vlan = i.vlan ? i.vlan : free_vlan(s);
  if (!vlan) return refuse(Refusal::no_vlan_left, fmt::format("All VLAN ids from {} to {} are in use. Delete a network.", vlan_min, vlan_max));
  return {NetworkCreated{.id = i.id, .name = i.name, .description = i.description, .vlan = vlan, .admin_up = i.admin_up,
                         .shared = i.shared, .mtu = i.mtu ? i.mtu : 1500, .project = owner}};
}

Events update(const State& s, const UpdateNetwork& asked, const Context& c) {
  const Network* network = visible(s, asked.id, c);
  if (!network || !c.sees(network->project)) return no_network(asked.id);
  if (!c.rights.member) return needs_member("Changing a network");
  const auto i = merged(asked, *network);
  if (i.shared != network->shared && !c.rights.admin) return refuse(Refusal::not_allowed, "Only an admin may share a network.");
  return {NetworkUpdated{.id = i.id, .name = i.name, .description = i.description, .admin_up = i.admin_up, .shared = i.shared}};
}

Events remove(const State& s, const DeleteNetwork& i, const Context& c) {
  const Network* network = visible(s, i.id, c);
  if (!network || !c.sees(network->project)) return no_network(i.id);
  if (!c.rights.member) return needs_member("Deleting a network");
  Events events;
  std::string user;
  s.ports.each_by(Port::by_network, encode_key(i.id), [&](const Port& row) {
    if (!row.is_dhcp()) user = row.id.str();
    else events.push_back(PortDeleted{.id = row.id});
    return user.empty();
  });
  if (!user.empty())
    return refuse(Refusal::in_use, fmt::format("Unable to complete operation on network {}. There are one or more ports still "
                                               "in use on the network, for example port {}.", i.id.str(), user),
                  i.id.as<AnyId>());
  s.subnets.each_by(Subnet::by_network, encode_key(i.id), [&](const Subnet& row) {
    events.push_back(SubnetDeleted{.id = row.id});
    return true;
  });
  events.push_back(NetworkDeleted{.id = i.id});
  return events;
}

}  // namespace network

namespace subnet {
namespace {

// Ranges of which no host of a network has an address (RFC 6890), and why.
struct Reserved {
  AddressRange range;
  const char* cidr;
  const char* why;
};
constexpr Reserved reserved_ranges[] = {
    {{{0x00000000}, {0x00ffffff}}, "0.0.0.0/8", "means 'this host'"},
    {{{0x7f000000}, {0x7fffffff}}, "127.0.0.0/8", "is every host's loopback"},
    {{{0xa9fe0000}, {0xa9feffff}}, "169.254.0.0/16", "is link-local, and the metadata service's"},
    {{{0xe0000000}, {0xefffffff}}, "224.0.0.0/4", "is for multicast"},
    {{{0xf0000000}, {0xffffffff}}, "240.0.0.0/4", "is reserved, with the broadcast address at its end"},
};
const Reserved* reserved(Ipv4 first, Ipv4 last) {
  for (const auto& one : reserved_ranges)
    if (first <= one.range.last && one.range.first <= last) return &one;
  return nullptr;
}

// Name servers that no guest can ask, or that are named twice.
std::optional<Events> refuse_dns(const std::vector<Ipv4>& servers) {
  std::set<Ipv4> seen;
  for (const auto server : servers) {
    if (const auto* range = reserved(server, server))
      return refuse(Refusal::bad_range, fmt::format("Invalid input for dns_nameservers: {} cannot be asked, {} {}.", server.str(),
                                                    range->cidr, range->why));
    if (!seen.insert(server).second)
      return refuse(Refusal::bad_range, fmt::format("Invalid input for dns_nameservers: {} is named twice.", server.str()));
  }
  return std::nullopt;
}

bool overlap(const Subnet& row, const CreateSubnet& i, Ipv4 last) { return row.base <= last && i.base <= row.last(); }

std::optional<Events> refuse_ranges(const CreateSubnet& i, Ipv4 last) {
  const auto bad = [](std::string text) { return refuse(Refusal::bad_range, std::move(text)); };
  if (i.prefix < 8 || i.prefix > 30)
    return bad(fmt::format("A prefix of /{} is not possible: it must be between /8 and /30.", i.prefix));
  const std::uint32_t mask = ~0u << (32 - i.prefix);
  if ((i.base.value & ~mask) != 0)
    return bad(fmt::format("{}/{} has host bits set; the network is {}/{}.", i.base.str(), i.prefix, Ipv4{i.base.value & mask}.str(), i.prefix));
  if (const auto* range = reserved(i.base, last))
    return bad(fmt::format("A subnet {}/{} is not possible: {} {}. Choose a private range, such as 10.0.0.0/24.", i.base.str(), i.prefix,
                           range->cidr, range->why));
  const auto inside = [&](Ipv4 address) { return address > i.base && address < last; };
  if (i.gateway && !inside(i.gateway))
    return bad(fmt::format("Gateway is not valid on subnet: {} is not an address of {}/{}.", i.gateway.str(), i.base.str(), i.prefix));
  Ipv4 before;
  for (const auto& pool : i.pools) {
    if (!inside(pool.first) || !inside(pool.last) || pool.last < pool.first)
      return bad(fmt::format("The allocation pool {}-{} is not a range within {}/{}.", pool.first.str(), pool.last.str(), i.base.str(), i.prefix));
    if (pool.first <= before) return bad("The allocation pools overlap or are not in order.");
    if (i.gateway && i.gateway >= pool.first && i.gateway <= pool.last)
      return bad(fmt::format("Gateway ip {} conflicts with allocation pool {}-{}.", i.gateway.str(), pool.first.str(), pool.last.str()));
    before = pool.last;
  }
  return std::nullopt;
}

// Everything but network address, gateway and broadcast.
std::vector<AddressRange> default_pools(const CreateSubnet& i, Ipv4 last) {
  std::vector<AddressRange> pools;
  const Ipv4 first{i.base.value + 1}, end{last.value - 1};
  if (!i.gateway) return {{first, end}};
  if (i.gateway > first) pools.push_back({first, {i.gateway.value - 1}});
  if (i.gateway < end) pools.push_back({{i.gateway.value + 1}, end});
  return pools;
}

// One DHCP port per network has an address in each of its subnets that serve DHCP. It counts as a port of the network's
// project: refused when that may have no more.
std::optional<Events> add_dhcp_address(const State& s, const CreateSubnet& i, const SubnetCreated& made, Events& events) {
  Subnet row{.id = made.id, .network = made.network, .base = made.base, .prefix = made.prefix, .gateway = made.gateway, .pools = made.pools};
  Allocator allocator(s);
  const FixedIp own{made.id, allocator.address(row)};
  if (!own.address) return std::nullopt;
  const Port* dhcp = nullptr;
  s.ports.each_by(Port::by_network, encode_key(i.network), [&](const Port& port) {
    if (port.is_dhcp()) dhcp = &port;
    return dhcp == nullptr;
  });
  if (dhcp) {
    auto fixed = dhcp->fixed;
    fixed.push_back(own);
    events.push_back(PortAddressed{.id = dhcp->id, .fixed = std::move(fixed)});
    return std::nullopt;
  }
  if (auto over = over_quota(s, made.project, Resource::ports, 1)) return over;
  events.push_back(PortCreated{.id = i.dhcp_port, .network = i.network, .mac = allocator.mac(i.dhcp_port), .fixed = {own},
                               .admin_up = true, .project = made.project, .device_owner = "network:dhcp"});
  return std::nullopt;
}

}  // namespace

Events create(const State& s, const CreateSubnet& i, const Context& c) {
  const Network* network = visible(s, i.network, c);
  if (!network || !c.sees(network->project)) return no_network(i.network);
  if (!c.rights.member) return needs_member("Creating a subnet");
  if (s.subnets.contains(i.id)) return refuse(Refusal::id_taken, "A subnet with that id exists.");
  if (auto over = over_quota(s, network->project, Resource::subnets, 1)) return *over;
  const Ipv4 last{i.base.value | (i.prefix >= 32 ? 0u : ~0u >> i.prefix)};
  if (auto refused = refuse_ranges(i, last)) return *refused;
  if (auto refused = refuse_dns(i.dns)) return *refused;
  const Subnet* other = nullptr;
  s.subnets.each_by(Subnet::by_network, encode_key(i.network), [&](const Subnet& row) {
    if (overlap(row, i, last)) other = &row;
    return other == nullptr;
  });
  if (other)
    return refuse(Refusal::overlaps, fmt::format("Requested subnet with cidr {}/{} for network {} overlaps with subnet {} ({}).",
                                                 i.base.str(), i.prefix, i.network.str(), other->id.str(), other->cidr()));
  SubnetCreated made{.id = i.id, .network = i.network, .name = i.name, .description = i.description, .base = i.base,
                     .prefix = i.prefix, .gateway = i.gateway, .dhcp = i.dhcp, .pools = i.pools, .dns = i.dns,
                     .project = network->project};
  if (made.pools.empty()) made.pools = default_pools(i, last);
  Events events{made};
  if (i.dhcp)
    if (auto over = add_dhcp_address(s, i, made, events)) return *over;
  return events;
}

Events update(const State& s, const UpdateSubnet& asked, const Context& c) {
  const Subnet* subnet = s.subnets.find(asked.id);
  if (!subnet || !c.sees(subnet->project))
    return refuse(Refusal::no_such_subnet, fmt::format("Subnet {} could not be found.", asked.id.str()), asked.id.as<AnyId>());
  if (!c.rights.member) return needs_member("Changing a subnet");
  const auto i = merged(asked, *subnet);
  if (i.dns != subnet->dns)  // one of before this rule may stay
    if (auto refused = refuse_dns(i.dns)) return *refused;
  return {SubnetUpdated{.id = i.id, .name = i.name, .description = i.description, .dns = i.dns}};
}

Events remove(const State& s, const DeleteSubnet& i, const Context& c) {
  const Subnet* subnet = s.subnets.find(i.id);
  if (!subnet || !c.sees(subnet->project))
    return refuse(Refusal::no_such_subnet, fmt::format("Subnet {} could not be found.", i.id.str()), i.id.as<AnyId>());
  if (!c.rights.member) return needs_member("Deleting a subnet");
  std::string user;
  Events events;
  s.ports.each_by(Port::by_address, encode_key(i.id), [&](const Port& row) {
    if (!row.is_dhcp()) {
      user = row.id.str();
      return false;
    }
    auto fixed = row.fixed;
    std::erase_if(fixed, [&](const FixedIp& ip) { return ip.subnet == i.id; });
    if (fixed.empty()) events.push_back(PortDeleted{.id = row.id});
    else events.push_back(PortAddressed{.id = row.id, .fixed = std::move(fixed)});
    return true;
  });
  if (!user.empty())
    return refuse(Refusal::in_use, fmt::format("Unable to complete operation on subnet {}: One or more ports have an IP "
                                               "allocation from this subnet, for example port {}.", i.id.str(), user),
                  i.id.as<AnyId>());
  events.push_back(SubnetDeleted{.id = i.id});
  return events;
}

}  // namespace subnet

namespace port {

Events create(const State& s, const CreatePort& i, const Context& c) {
  const Network* network = visible(s, i.network, c);
  if (!network) return no_network(i.network);
  if (!c.rights.member) return needs_member("Creating a port");
  if (s.ports.contains(i.id)) return refuse(Refusal::id_taken, "A port with that id exists.");
  const auto owner = i.project ? i.project : c.project();
  if (auto refused = refuse_owner(s, owner, c)) return *refused;
  if (auto over = over_quota(s, owner, Resource::ports, 1)) return *over;
  if (i.mac)
    if (auto refused = refuse_choice(*network, c, "mac_address")) return *refused;
  if (std::ranges::any_of(i.fixed, [](const FixedIp& wish) { return static_cast<bool>(wish.address); }))
    if (auto refused = refuse_choice(*network, c, "fixed_ips.ip_address")) return *refused;
  Allocator allocator(s);
  if (i.mac && !allocator.is_free(i.mac))
    return refuse(Refusal::mac_taken, fmt::format("MAC address {} is in use by another port.", i.mac.str()));
  Addresses addresses;
  if (!i.no_addresses) addresses = choose_addresses(s, allocator, *network, i.fixed);
  if (!addresses.refused.empty()) return addresses.refused;
  return {PortCreated{.id = i.id, .network = i.network, .name = i.name, .description = i.description,
                      .mac = i.mac ? i.mac : allocator.mac(i.id), .fixed = addresses.fixed, .admin_up = i.admin_up,
                      .project = owner}};
}

Events update(const State& s, const UpdatePort& asked, const Context& c) {
  const Port* port = s.ports.find(asked.id);
  if (!port || !c.sees(port->project))
    return refuse(Refusal::no_such_port, fmt::format("Port {} could not be found.", asked.id.str()), asked.id.as<AnyId>());
  if (!c.rights.member) return needs_member("Changing a port");
  const auto i = merged(asked, *port);
  return {PortUpdated{.id = i.id, .name = i.name, .description = i.description, .admin_up = i.admin_up}};
}

Events remove(const State& s, const DeletePort& i, const Context& c) {
  const Port* port = s.ports.find(i.id);
  if (!port || !c.sees(port->project))
    return refuse(Refusal::no_such_port, fmt::format("Port {} could not be found.", i.id.str()), i.id.as<AnyId>());
  if (!c.rights.member) return needs_member("Deleting a port");
  if (port->is_dhcp())
    return refuse(Refusal::in_use, fmt::format("Port {} serves DHCP; it goes with its subnets.", i.id.str()), i.id.as<AnyId>());
  if (port->server)
    return refuse(Refusal::in_use, fmt::format("Port {} belongs to server {}; delete the server first.", i.id.str(), port->server.str()),
                  i.id.as<AnyId>());
  return {PortDeleted{.id = i.id}};
}

}  // namespace port
}  // namespace reprise
