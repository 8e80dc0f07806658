// What dnsmasq is told for a network, as pure functions: its two files and its command line.
//
// Promises: no line holds anything that dnsmasq would read as something else (a hostname that could be
// is left out); never `set:` in the hosts file (dnsmasq 2.90 dies of it at SIGHUP). The hosts file also
// says, in comments, whose it is: read_dhcp_hosts() gives that back.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "agents/network/driver.h"

namespace reprise::network {

inline constexpr const char* dhcp_device = "dhcp0";  // inside of the namespace
// What a guest was told is true for a day at most: at half of it (T1) it asks again, and hears what changed.
inline constexpr unsigned lease_s = 86'400;
// Those of Debian's package dnsmasq-base; it keeps only the capabilities to serve. Its folder must let them read.
inline constexpr const char* dhcp_user = "dnsmasq";
inline constexpr const char* dhcp_group = "nogroup";

std::string dhcp_hosts(const NetworkWant& network, const std::vector<const PortWant*>& ports);
std::string dhcp_options(const NetworkWant& network);
std::vector<std::string> dhcp_argv(const NetworkWant& network, const std::string& dnsmasq,
                                   const std::string& folder);
// One of its subnets has DHCP: the network has a namespace, a leg and a dnsmasq. Else it has none of them.
bool wants_dnsmasq(const NetworkWant& network);

// What a hosts file says it is for; broken lines are left out.
struct DhcpFileSays {
  NetworkHave network;
  std::map<std::pair<PortId, Born>, std::string> ports;  // with the lines that serve it
};
// The MAC that a hosts file gives each address.
std::map<std::string, std::string> read_dhcp_leases(const std::string& content);
DhcpFileSays read_dhcp_hosts(const std::string& content);

}  // namespace reprise::network
