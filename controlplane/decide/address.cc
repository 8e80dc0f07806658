#include "controlplane/decide/address.h"

#include <algorithm>

namespace reprise {
namespace {

std::string address_key(SubnetId subnet, Ipv4 address) { return KeyWriter().id(subnet).number(address.value); }

// The highest address of a subnet that a port has; none: it has no port.
Ipv4 highest_in_use(const State& state, const Subnet& subnet) {
  const Port* last = state.ports.last_by(Port::by_address, encode_key(subnet.id));
  Ipv4 highest;
  if (!last) return highest;
  for (const auto& fixed : last->fixed)
    if (fixed.subnet == subnet.id) highest = std::max(highest, fixed.address);
  return highest;
}

const Subnet* subnet_holding(const State& state, NetworkId network, Ipv4 address) {
  const Subnet* found = nullptr;
  state.subnets.each_by(Subnet::by_network, encode_key(network), [&](const Subnet& row) {
    if (row.holds(address)) found = &row;
    return found == nullptr;
  });
  return found;
}

Addresses refused(Refusal refusal, std::string text) { return {{}, refuse(refusal, std::move(text))}; }

// What is wrong with one wished address; nothing: it can be had.
std::optional<Addresses> refuse_wished(const Allocator& allocator, const Subnet& subnet, Ipv4 address) {
  if (!subnet.holds(address) || address == subnet.base || (subnet.prefix < 31 && address == subnet.last()))
    return refused(Refusal::address_outside, fmt::format("{} is not a usable address of subnet {} ({}).", address.str(),
                                                         subnet.id.str(), subnet.cidr()));
  if (address == subnet.gateway)
    return refused(Refusal::address_taken, fmt::format("{} is the gateway of subnet {}.", address.str(), subnet.id.str()));
  if (!allocator.is_free(subnet.id, address))
    return refused(Refusal::address_taken, fmt::format("IP address {} already allocated in subnet {}.", address.str(), subnet.id.str()));
  return std::nullopt;
}

}  // namespace

bool Allocator::is_free(SubnetId subnet, Ipv4 address) const {
  return !taken_.contains({subnet, address}) && !state_.ports.any_by(Port::by_address, address_key(subnet, address));
}

Ipv4 Allocator::address(const Subnet& subnet) {
  const Ipv4 highest = highest_in_use(state_, subnet);
  const auto usable = [&](Ipv4 address) { return address != subnet.gateway && is_free(subnet.id, address); };
  // First what lies above all that is in use, then the gaps from below.
  for (const bool above : {true, false}) {
    for (const auto& pool : subnet.pools) {
      const std::uint64_t from = above ? std::max<std::uint64_t>(pool.first.value, std::uint64_t{highest.value} + 1) : pool.first.value;
      for (std::uint64_t value = from; value <= pool.last.value; ++value) {
        const Ipv4 address{static_cast<std::uint32_t>(value)};
        if (!usable(address)) continue;
        take(subnet.id, address);
        return address;
      }
    }
  }
  return {};
}

bool Allocator::is_free(Mac mac) const {
  return !macs_.contains(mac) && !state_.ports.any_by(Port::by_mac, KeyWriter().number(mac.value));
}

Mac Allocator::mac(PortId port) {
  constexpr std::uint64_t base = 0xfa163e000000;  // neutron's base_mac
  for (std::uint64_t i = 0;; ++i) {
    const Mac mac{base | ((port.lo + i) & 0xffffff)};
    if (!is_free(mac)) continue;
    macs_.insert(mac);
    return mac;
  }
}

std::uint16_t free_vlan(const State& state) {
  std::uint16_t vlan = vlan_min;
  while (vlan <= vlan_max && state.networks.any_by(Network::by_vlan, KeyWriter().number(vlan))) ++vlan;
  return vlan <= vlan_max ? vlan : 0;
}

Addresses choose_addresses(const State& state, Allocator& allocator, const Network& network,
                           const std::vector<FixedIp>& wished) {
  Addresses chosen;
  if (wished.empty()) {
    const Subnet* first = nullptr;
    Ipv4 address;
    state.subnets.each_by(Subnet::by_network, encode_key(network.id), [&](const Subnet& row) {
      if (!first) first = &row;
      address = allocator.address(row);
      if (address) chosen.fixed.push_back({row.id, address});
      return !address;
    });
    if (first && !address)
      return refused(Refusal::no_address_left, fmt::format("No more IP addresses available on network {}. Delete ports, or "
                                                           "add a subnet.", network.id.str()));
    return chosen;
  }
  for (const auto& wish : wished) {
    const Subnet* subnet = wish.subnet ? state.subnets.find(wish.subnet) : subnet_holding(state, network.id, wish.address);
    if (!subnet || subnet->network != network.id) {
      if (wish.subnet)
        return refused(Refusal::no_such_subnet, fmt::format("Subnet {} could not be found in network {}.", wish.subnet.str(), network.id.str()));
      return refused(Refusal::address_outside, fmt::format("{} is in no subnet of network {}.", wish.address.str(), network.id.str()));
    }
    Ipv4 address = wish.address;
    if (address) {
      if (auto no = refuse_wished(allocator, *subnet, address)) return *no;
      allocator.take(subnet->id, address);
    } else {
      address = allocator.address(*subnet);
      if (!address)
        return refused(Refusal::no_address_left, fmt::format("No more IP addresses available in subnet {}.", subnet->id.str()));
    }
    chosen.fixed.push_back({subnet->id, address});
  }
  return chosen;
}

std::optional<Events> refuse_choice(const Network& network, const Context& c, const char* what) {
  if (c.sees(network.project)) return std::nullopt;
  return refuse(Refusal::not_allowed, fmt::format("Network {} is another project's, shared: only its owner or an admin may choose "
                                                  "{} there; leave it out.", network.id.str(), what), network.id.as<AnyId>());
}

}  // namespace reprise
