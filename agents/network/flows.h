// What br-int does with a frame, as a pure function of what is wanted and of where it is plugged in.
//
// Promises: no action NORMAL anywhere, so a port that has no flows here neither sends nor receives; the
// same input gives the same lines in the same order; every line is one flow in ofctl's syntax, with
// table, priority and actions, without a cookie (openflow.h adds it).
//
//   table 0    who is it: the wire (by VLAN tag), a DHCP namespace's leg, a guest's tap; reg5 = VLAN
//   table 10   a guest may only be itself: MAC, ARP, addresses; it is no DHCP server
//   table 30   where to: the owner of the MAC, the leg, the wire
//   20, 21, 40, 41 are kept for security groups: `from_guest_checked` and `to_guest` in flows.cc are the
//   two places to lead through them.
//
// Where two things cannot both be (two ports of one MAC in a network, two networks of one VLAN), the lines of
// the younger one come later.
//
// A DHCP namespace has the same MAC and address on every node. So it speaks with this node's guests
// only: what it sends never goes to the wire, and what on the wire claims to be it, or asks for it, is
// dropped.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agents/network/driver.h"

namespace reprise::network {

// OpenFlow port numbers, as the switch has given them now. A port that is not plugged in is left out.
struct Ofports {
  std::map<PortId, std::uint32_t> taps;
  std::map<NetworkId, std::uint32_t> legs;  // the bridge's end of each DHCP namespace's veth
  std::optional<std::uint32_t> uplink;      // none: a single machine
};

struct Flow {
  PortId port;  // whose it is; none for a network's own
  NetworkId network;
  std::string text;
  AnyId owner() const { return port ? port.as<AnyId>() : network.as<AnyId>(); }
  auto operator<=>(const Flow&) const = default;
};

std::vector<Flow> flows(const Want& want, const Ofports& ofports);

}  // namespace reprise::network
