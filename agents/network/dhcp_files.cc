#include "agents/network/dhcp_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>

namespace reprise::network {
namespace {

std::string tag_of(const SubnetWant& subnet) { return "s" + subnet.id.hex(); }
std::string mask_of(std::uint8_t prefix) {
  return Ipv4{prefix == 0 ? 0 : 0xffffffffu << (32 - prefix)}.str();
}

const SubnetWant* dhcp_subnet(const NetworkWant& network, SubnetId id) {
  for (const auto& subnet : network.subnets)
    if (subnet.id == id && subnet.dhcp && subnet.dhcp_address) return &subnet;
  return nullptr;
}

// A name as dnsmasq can take it: anything that it would read as another field, or as another line, is left
// out.
bool fit_name(const std::string& name) {
  const auto allowed = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '-'; };
  if (name.empty() || name.size() > 63 || name == "infinite" || name == "ignore") return false;
  if (!std::isalpha(static_cast<unsigned char>(name[0])) || name.back() == '-') return false;
  return std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace

bool wants_dnsmasq(const NetworkWant& network) {
  return std::any_of(network.subnets.begin(), network.subnets.end(),
                     [](const auto& s) { return s.dhcp && s.dhcp_address; });
}

// dnsmasq skips the comments. A client takes one address by DHCP: the port's first in a subnet with DHCP.
std::string dhcp_hosts(const NetworkWant& network, const std::vector<const PortWant*>& ports) {
  std::string text = fmt::format("# network {} born {}\n", network.id.str(), network.born.str());
  for (const PortWant* port : ports) {
    text += fmt::format("# port {} born {}\n", port->id.str(), port->born.str());
    const auto given = std::find_if(port->addresses.begin(), port->addresses.end(), [&](const auto& fixed) {
      return dhcp_subnet(network, fixed.subnet) != nullptr;
    });
    if (given == port->addresses.end()) continue;
    text += fmt::format("{},{},{}{}\n", port->mac.str(), given->address.str(),
                        fit_name(port->hostname) ? port->hostname + "," : "", lease_s);
  }
  return text;
}

// Option 121 overrides the router option in clients that know it, so it repeats the default route. An empty
// option keeps dnsmasq from giving itself as router or DNS server.
std::string dhcp_options(const NetworkWant& network) {
  std::string text;
  for (const auto& subnet : network.subnets) {
    if (!dhcp_subnet(network, subnet.id)) continue;
    const std::string tag = "tag:" + tag_of(subnet);
    const std::string via = subnet.dhcp_address.str();
    std::string routes = fmt::format("169.254.169.254/32,{}", via);
    if (subnet.gateway) routes += fmt::format(",0.0.0.0/0,{}", subnet.gateway.str());
    std::string servers;
    for (const auto& server : subnet.dns) servers += "," + server.str();
    text += fmt::format("{},option:router{}\n", tag, subnet.gateway ? "," + subnet.gateway.str() : "");
    text += fmt::format("{},option:dns-server{}\n", tag, servers);
    text += fmt::format("{},option:classless-static-route,{}\n", tag, routes);
    text += fmt::format("{},option:mtu,{}\n", tag, network.mtu);
  }
  return text;
}

// Never set: in the hosts file (dnsmasq 2.90 dies of it at SIGHUP); tags come from the ranges only.
std::vector<std::string> dhcp_argv(const NetworkWant& network, const std::string& dnsmasq,
                                   const std::string& folder) {
  std::vector<std::string> argv{dnsmasq,
                                "--keep-in-foreground",
                                "--conf-file=/dev/null",
                                "--no-hosts",
                                "--no-resolv",
                                "--port=0",
                                "--bind-interfaces",
                                fmt::format("--interface={}", dhcp_device),
                                "--except-interface=lo"};
  for (const auto& subnet : network.subnets)
    if (dhcp_subnet(network, subnet.id))
      argv.push_back(fmt::format("--dhcp-range=set:{},{},static,{},{}s", tag_of(subnet), subnet.base.str(),
                                 mask_of(subnet.prefix), lease_s));
  for (const std::string& rest :
       {"--dhcp-hostsfile=" + folder + "/hosts", "--dhcp-optsfile=" + folder + "/opts",
        std::string("--dhcp-ignore=tag:!known"), std::string("--dhcp-authoritative"),
        std::string("--no-ping"), std::string("--leasefile-ro"), std::string("--quiet-dhcp"),
        std::string("--log-facility=-"), "--pid-file=" + folder + "/serving",
        fmt::format("--user={}", dhcp_user), fmt::format("--group={}", dhcp_group)})
    argv.push_back(rest);
  return argv;
}

std::map<std::string, std::string> read_dhcp_leases(const std::string& content) {
  std::map<std::string, std::string> leases;
  std::istringstream lines(content);
  for (std::string line; std::getline(lines, line);) {
    const auto mac = line.find(','), address = mac == line.npos ? mac : line.find(',', mac + 1);
    if (line.starts_with("#") || address == line.npos) continue;
    leases[line.substr(mac + 1, address - mac - 1)] = line.substr(0, mac);
  }
  return leases;
}

DhcpFileSays read_dhcp_hosts(const std::string& content) {
  DhcpFileSays says;
  std::istringstream lines(content);
  std::string* served = nullptr;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, kind, id, born_word, born_text;
    if (!line.starts_with("# ")) {
      if (served) *served += line + "\n";
      continue;
    }
    words >> hash >> kind >> id >> born_word >> born_text;
    const auto born = Born::parse(born_text);
    served = nullptr;
    if (!born) continue;
    if (kind == "network") says.network = {NetworkId::parse(id).value_or(NetworkId{}), *born};
    if (const auto port = PortId::parse(id); kind == "port" && port) served = &says.ports[{*port, *born}];
  }
  return says;
}

}  // namespace reprise::network
