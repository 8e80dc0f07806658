// The kernel's own network devices, by rtnetlink and ioctl: namespaces, veth pairs, addresses, offloads.
//
// Every call says in its error which device and what the kernel answered. Namespaces live below
// /run/netns, where ip-netns(8) puts them: an operator finds them with `ip netns`.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "events/ids.h"
#include "events/result.h"

namespace reprise::network {

struct Link {
  int index = 0;
  Mac mac;
  std::uint32_t mtu = 0;
  bool up = false;
};

using AddressAndPrefix = std::pair<Ipv4, std::uint8_t>;

// A socket that speaks for one network namespace, whichever thread uses it; one thread at a time.
class Netlink {
 public:
  // `netns`: a path as of netns_path(); empty: our own.
  static Result<Netlink> open(const std::string& netns = {});
  Netlink(Netlink&& other) noexcept;
  Netlink& operator=(Netlink&&) = delete;
  ~Netlink();

  Result<std::optional<Link>> link(const std::string& name);
  // One end here, the other in the namespace `peer_netns`; both appear at once, or none.
  Status add_veth(const std::string& name, const std::string& peer, const std::string& peer_netns);
  Status remove_link(const std::string& name);  // well if there is none
  Status set_link(const std::string& name, std::optional<Mac> mac, std::optional<std::uint32_t> mtu, bool up);
  Result<std::set<AddressAndPrefix>> addresses(const std::string& name);
  Status add_address(const std::string& name, AddressAndPrefix address);
  Status remove_address(const std::string& name, AddressAndPrefix address);
  // Checksums are made and checked by the sender's and the receiver's own stack: on a veth into the
  // userspace datapath nobody else would. `rx` also for what arrives.
  Status no_offload(const std::string& name, bool rx = false);
  // The driver's name as ethtool -i shows it: "veth", "tun", …
  Result<std::string> driver_of(const std::string& name);

 private:
  Netlink(int route, int control) : route_(route), control_(control) {}
  Status request(std::vector<char>& message, const std::string& what);
  int route_ = -1;
  int control_ = -1;
  std::uint32_t seq_ = 0;
};

// Whether the kernel has this generic netlink family ("ovs_datapath": Open vSwitch's module); asking loads
// the module where there is one.
bool kernel_has_family(const std::string& family);

std::string netns_path(const std::string& name);
Status add_netns(const std::string& name);     // well if it is there
Status remove_netns(const std::string& name);  // well if there is none
bool netns_there(const std::string& name);
std::vector<std::string> netns_with_prefix(const std::string& prefix);

}  // namespace reprise::network
