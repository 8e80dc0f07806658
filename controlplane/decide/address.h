// Addresses, MACs and VLAN ids: chosen here, out of what the State shows to be free.
#pragma once

#include <set>

#include "controlplane/decide/context.h"

namespace reprise {

// Allocates for one decision: what it gave out already counts as taken, though not yet folded.
class Allocator {
 public:
  explicit Allocator(const State& state) : state_(state) {}

  // A free address of a subnet's pools; none: all are taken. Goes on after the highest in use, so that
  // an address that was given back rests a while.
  Ipv4 address(const Subnet& subnet);
  bool is_free(SubnetId subnet, Ipv4 address) const;
  void take(SubnetId subnet, Ipv4 address) { taken_.insert({subnet, address}); }
  // fa:16:3e and 24 bits of the port's id, the next free one if they are taken.
  Mac mac(PortId port);
  bool is_free(Mac mac) const;

 private:
  const State& state_;
  std::set<std::pair<SubnetId, Ipv4>> taken_;
  std::set<Mac> macs_;
};

inline constexpr std::uint16_t vlan_min = 101, vlan_max = 4094;
// A free VLAN id; 0: none is left.
std::uint16_t free_vlan(const State& state);

// Fixed addresses for a port in `network`: `wished` may name subnets, addresses or both; nothing wished:
// one in its first subnet. A refusal says what is wrong with the wish.
struct Addresses {
  std::vector<FixedIp> fixed;
  Events refused;         // not empty: refused
};
Addresses choose_addresses(const State& state, Allocator& allocator, const Network& network,
                           const std::vector<FixedIp>& wished);

// Which address and MAC a port gets on a shared network only its owner chooses, and admins (neutron's policies
// create_port:mac_address and create_port:fixed_ips:ip_address). `what`: "mac_address" or the like.
std::optional<Events> refuse_choice(const Network& network, const Context& c, const char* what);

}  // namespace reprise
