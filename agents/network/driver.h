// The network agent's side of the boundary: which networks and ports a node should carry, which it
// has, and the single steps between. Nothing here is Open vSwitch's: the ovs driver and the
// simulated one both speak this.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agents/core/driver.h"
#include "events/ids.h"

namespace reprise::network {

struct SubnetWant {
  SubnetId id;
  Ipv4 base;                       // network address
  std::uint8_t prefix = 24;        // bits of the mask
  Ipv4 gateway;                    // none: no default route
  bool dhcp = true;
  Ipv4 dhcp_address;               // the DHCP namespace's own address in it
  std::vector<Ipv4> dns;
  auto operator<=>(const SubnetWant&) const = default;
};

// A network that has at least one port on this node: br-int carries it. If one of its subnets has DHCP, a
// namespace of its own serves that; if none has, there is no namespace, and its ports are ready without.
struct NetworkWant {
  NetworkId id;
  Born born;
  std::uint16_t vlan = 0;          // 1..4094
  std::uint32_t mtu = 1500;
  PortId dhcp_port;                // the port whose MAC and addresses the DHCP namespace has
  Mac dhcp_mac;                    // zero: it has none
  std::vector<SubnetWant> subnets;
  auto operator<=>(const NetworkWant&) const = default;
};

struct Address {
  SubnetId subnet;
  Ipv4 address;
  auto operator<=>(const Address&) const = default;
};

struct PortWant {
  PortId id;
  Born born;
  Seq since = 0;
  bool absent = false;             // must not be here: only id, born and since count then
  NetworkId network;
  Mac mac;
  std::vector<Address> addresses;
  std::string hostname;            // given out by DHCP
  bool admin_up = true;            // down: drops everything
  auto operator<=>(const PortWant&) const = default;
};

struct Want {
  std::map<NetworkId, NetworkWant> networks;
  std::map<PortId, PortWant> ports;
  bool operator==(const Want&) const = default;
};

// A port as the host has it. `ready`: DHCP knows it, if its network has any, and, if its tap is there, its
// flows are in force: a guest that starts now has its network. Without a tap yet it is ready when DHCP is.
struct PortHave {
  PortId id;
  Born born;
  bool ready = false;
  bool plugged = false;            // its tap is on the bridge
  auto operator<=>(const PortHave&) const = default;
};

struct NetworkHave {
  NetworkId id;
  Born born;
  auto operator<=>(const NetworkHave&) const = default;
};

struct Have {
  std::map<NetworkId, NetworkHave> networks;
  std::map<std::pair<PortId, Born>, PortHave> ports;
  bool in_force = false;           // all that was last applied, but for `troubles`, is in force, to the last flow
  Want applied;                    // what was last applied by this process; empty after a restart
  // Networks and ports, by id, that the last apply failed for, and why; they alone. Without words while it may
  // be over in a moment (a daemon that restarts): then it is tried again, and is nobody's error.
  std::map<AnyId, std::string> troubles;
  bool operator==(const Have&) const = default;
};

enum class Step : std::uint8_t {
  // Make the host carry exactly `want`: namespaces, DHCP, flows; by difference, safe to repeat. For all it is
  // well when all but single networks and ports was done: those stand in Have.troubles from then on, and are
  // left to actions of their own until what is wanted of them changes. For one (`retried`) it is well when
  // that one was done.
  apply,
};
const char* step_name(Step step);

struct Action {
  Step step = Step::apply;
  Want want;                       // without the absent ones
  AnyId retried;                   // the network or port in trouble that this is for; none: for all
  bool operator==(const Action&) const = default;
};

using Driver = reprise::Driver<Have, Action>;

}  // namespace reprise::network
