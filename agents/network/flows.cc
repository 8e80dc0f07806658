#include "agents/network/flows.h"

#include <fmt/format.h>

#include <algorithm>

#include "agents/network/dhcp_files.h"

namespace reprise::network {
namespace {

constexpr const char* metadata_address = "169.254.169.254";
constexpr const char* group_mac = "01:00:00:00:00:00/01:00:00:00:00:00";  // broadcast and multicast

class Writer {
 public:
  Writer(std::vector<Flow>& out, NetworkId network) : out_(out), network_(network) {}
  void operator()(PortId port, int table, int priority, const std::string& match,
                  const std::string& actions) {
    out_.push_back({port, network_, fmt::format("table={},priority={}{}{},actions={}", table, priority,
                                                match.empty() ? "" : ",", match, actions)});
  }
  void operator()(int table, int priority, const std::string& match, const std::string& actions) {
    (*this)(PortId{}, table, priority, match, actions);
  }

 private:
  std::vector<Flow>& out_;
  const NetworkId network_;
};

// One network on this node, with what of it is plugged in.
struct Carried {
  const NetworkWant& network;
  std::optional<std::uint32_t> leg, uplink;
  std::vector<std::pair<const PortWant*, std::uint32_t>> guests;  // in the order in which they came to be

  std::string here() const { return fmt::format("reg5={}", network.vlan); }
  std::string enter(int table) const {
    return fmt::format("set_field:{}->reg5,resubmit(,{})", network.vlan, table);
  }
  std::string to_wire() const {
    return fmt::format("push_vlan:0x8100,set_field:{}->vlan_vid,output:{}", 4096 + network.vlan, *uplink);
  }
};

std::string joined(const std::vector<std::string>& actions) {
  return actions.empty() ? "drop" : fmt::format("{}", fmt::join(actions, ","));
}

// The addresses that the leg answers ARP for; of a network without one, those that nobody else may have.
std::vector<std::string> leg_addresses(const NetworkWant& network) {
  std::vector<std::string> addresses;
  if (wants_dnsmasq(network))
    for (const auto& subnet : network.subnets)
      if (subnet.dhcp_address) addresses.push_back(subnet.dhcp_address.str());
  addresses.push_back(metadata_address);
  return addresses;
}

// What a guest sent and may send goes on here: the place for table 20.
std::string from_guest_checked() { return "resubmit(,30)"; }

// What is meant for a guest goes on here: the place for table 40.
std::string to_guest(std::uint32_t ofport) { return fmt::format("output:{}", ofport); }

void wire(Writer& flow, const Carried& at) {
  if (!at.uplink) return;
  const std::string from = fmt::format("in_port={},dl_vlan={}", *at.uplink, at.network.vlan);
  if (wants_dnsmasq(at.network)) {
    const std::string leg_mac = at.network.dhcp_mac.str();
    flow(0, 110, fmt::format("{},dl_src={}", from, leg_mac), "drop");
    flow(0, 110, fmt::format("{},dl_dst={}", from, leg_mac), "drop");
  }
  for (const auto& address : leg_addresses(at.network))
    flow(0, 110, fmt::format("{},arp,arp_tpa={}", from, address), "drop");
  flow(0, 109, from + ",udp,tp_src=67,tp_dst=68", "drop");  // DHCP is this node's own
  flow(0, 100, from, "strip_vlan," + at.enter(30));
  flow(30, 10, at.here(), at.to_wire());
}

void leg(Writer& flow, const Carried& at) {
  if (!at.leg) return;
  const std::string out = fmt::format("output:{}", *at.leg);
  flow(0, 100, fmt::format("in_port={}", *at.leg), at.enter(30));
  flow(30, 100, fmt::format("{},dl_dst={}", at.here(), at.network.dhcp_mac.str()), out);
  for (const auto& address : leg_addresses(at.network))
    flow(30, 97, fmt::format("{},arp,arp_tpa={}", at.here(), address), out);
  flow(30, 97, at.here() + ",udp,nw_dst=255.255.255.255,tp_src=68,tp_dst=67", out);
  flow(30, 20, fmt::format("{},in_port={}", at.here(), *at.leg), "drop");
}

// ARP goes to all; DHCP's answers to the guests; other groups to the leg and the wire only, past no
// guest's security group. The switch leaves out the port that a frame came in by.
void groups(Writer& flow, const Carried& at) {
  std::vector<std::string> to_guests, to_rest, to_all;
  for (const auto& [port, ofport] : at.guests)
    if (port->admin_up) to_guests.push_back(to_guest(ofport));
  if (at.leg) to_rest.push_back(fmt::format("output:{}", *at.leg));
  if (at.uplink) to_rest.push_back(at.to_wire());
  to_all = to_guests;
  to_all.insert(to_all.end(), to_rest.begin(), to_rest.end());

  const std::string group = fmt::format("{},dl_dst={}", at.here(), group_mac);
  if (at.leg) {
    const std::string from_leg = fmt::format("{},in_port={}", group, *at.leg);
    flow(30, 96, from_leg + ",arp", joined(to_guests));
    flow(30, 96, from_leg + ",udp,tp_src=67,tp_dst=68", joined(to_guests));
    flow(30, 95, from_leg, "drop");
  }
  flow(30, 94, group + ",arp", joined(to_all));
  flow(30, 90, group, joined(to_rest));
}

void guest(Writer& flow, const Carried& at, const PortWant& port, std::uint32_t ofport) {
  const std::string in = fmt::format("in_port={}", ofport);
  const std::string to = fmt::format("{},dl_dst={}", at.here(), port.mac.str());
  if (!port.admin_up) {
    flow(port.id, 0, 100, in, "drop");
    flow(port.id, 30, 100, to, "drop");
    return;
  }
  const std::string from = fmt::format("{},dl_src={}", in, port.mac.str());
  const std::string arp = fmt::format("{},arp,arp_sha={}", from, port.mac.str());
  flow(port.id, 0, 100, in + ",vlan_tci=0x0000/0x1fff", at.enter(10));
  flow(port.id, 10, 50, in + ",udp,tp_src=67", "drop");
  flow(port.id, 10, 40, arp + ",arp_spa=0.0.0.0", "resubmit(,30)");
  flow(port.id, 10, 40, from + ",udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,tp_src=68,tp_dst=67",
       "resubmit(,30)");
  if (at.leg) {
    // A guest whose address was changed renews the old one: the DHCP namespace alone hears it, and says no.
    const std::string dhcp = from + ",udp,tp_src=68,tp_dst=67";
    flow(port.id, 10, 35, fmt::format("{},dl_dst={}", dhcp, at.network.dhcp_mac.str()), "resubmit(,30)");
    flow(port.id, 10, 35, dhcp + ",dl_dst=ff:ff:ff:ff:ff:ff,nw_dst=255.255.255.255", "resubmit(,30)");
  }
  for (const auto& fixed : port.addresses) {
    flow(port.id, 10, 40, fmt::format("{},arp_spa={}", arp, fixed.address.str()), "resubmit(,30)");
    flow(port.id, 10, 30, fmt::format("{},ip,nw_src={}", from, fixed.address.str()), from_guest_checked());
  }
  flow(port.id, 30, 100, to, to_guest(ofport));
}

}  // namespace

std::vector<Flow> flows(const Want& want, const Ofports& ofports) {
  std::map<NetworkId, Carried> carried;
  for (const auto& [id, network] : want.networks) {
    const auto leg = wants_dnsmasq(network) ? ofports.legs.find(id) : ofports.legs.end();
    carried.emplace(id, Carried{network,
                                leg == ofports.legs.end() ? std::nullopt : std::optional(leg->second),
                                ofports.uplink,
                                {}});
  }
  for (const auto& [id, port] : want.ports) {
    const auto at = carried.find(port.network);
    const auto tap = ofports.taps.find(id);
    if (port.absent || at == carried.end() || tap == ofports.taps.end()) continue;
    at->second.guests.emplace_back(&port, tap->second);
  }
  std::vector<Carried*> by_age;
  for (auto& [id, at] : carried) by_age.push_back(&at);
  std::ranges::stable_sort(by_age, {}, [](const Carried* at) { return at->network.born; });

  std::vector<Flow> out;
  for (Carried* at : by_age) {
    std::ranges::stable_sort(at->guests, {}, [](const auto& guest) { return guest.first->born; });
    Writer flow(out, at->network.id);
    wire(flow, *at);
    leg(flow, *at);
    groups(flow, *at);
    for (const auto& [port, ofport] : at->guests) guest(flow, *at, *port, ofport);
  }
  return out;
}

}  // namespace reprise::network
