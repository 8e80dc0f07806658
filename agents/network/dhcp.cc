#include "agents/network/dhcp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agents/network/netlink.h"

namespace reprise::network {
namespace {

namespace fs = std::filesystem;

constexpr const char* device = dhcp_device;
const AddressAndPrefix metadata_address{Ipv4{0xa9fea9fe}, 32};

std::string short_name(NetworkId network) { return network.hex().substr(0, 12); }
std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

Status replace_file(const fs::path& path, const std::string& content) {
  const fs::path fresh = path.string() + ".new";
  std::ofstream file(fresh, std::ios::trunc | std::ios::binary);
  file << content;
  file.close();
  if (!file || rename(fresh.c_str(), path.c_str()) != 0)
    return {errno == ENOSPC ? Errc::no_space : Errc::denied,
            fmt::format("cannot write {}: {}", path.string(), std::strerror(errno))};
  return {};
}

std::set<AddressAndPrefix> wanted_addresses(const NetworkWant& network) {
  std::set<AddressAndPrefix> addresses{metadata_address};
  for (const auto& subnet : network.subnets)
    if (subnet.dhcp_address) addresses.emplace(subnet.dhcp_address, subnet.prefix);
  return addresses;
}

// Port 67 is bound in the namespace that the process lives in.
bool serves_dhcp(pid_t pid) {
  std::istringstream sockets(slurp(fmt::format("/proc/{}/net/udp", pid)));
  for (std::string line; std::getline(sockets, line);)
    if (line.find(": 00000000:0043 ") != std::string::npos) return true;
  return false;
}

}  // namespace

std::string leg_name(NetworkId network) { return "dh-" + short_name(network); }
std::string namespace_name(NetworkId network) { return "rp-" + short_name(network); }

Dhcp::Dhcp(std::string run_dir, std::string dnsmasq, std::function<void()> changed)
    : run_dir_(std::move(run_dir)),
      dnsmasq_(std::move(dnsmasq)),
      supervisor_([changed = std::move(changed)](const std::string&) { changed(); }) {}

std::string Dhcp::folder(NetworkId network) const { return run_dir_ + "/" + network.str(); }

DaemonSpec Dhcp::daemon_of(NetworkId network) const {
  const std::string where = folder(network);
  return {"dnsmasq of " + network.str(),
          {dnsmasq_},
          where + "/pid",
          where + "/log",
          netns_path(namespace_name(network)),
          "--pid-file=" + where + "/serving",
          where + "/serving"};
}

DaemonSpec Dhcp::daemon(const NetworkWant& network) const {
  DaemonSpec spec = daemon_of(network.id);
  spec.argv = dhcp_argv(network, dnsmasq_, folder(network.id));
  return spec;
}

Result<bool> Dhcp::prepare(const NetworkWant& network) {
  std::error_code error;
  fs::create_directories(folder(network.id), error);
  if (error)
    return {Errc::denied, fmt::format("cannot make the folder {}: {}", folder(network.id), error.message())};
  const std::string ns = namespace_name(network.id), leg = leg_name(network.id);
  if (auto made = add_netns(ns); !made) return made.error();
  auto inside = Netlink::open(netns_path(ns));
  auto outside = Netlink::open();
  if (!inside) return inside.error();
  if (!outside) return outside.error();

  auto ours = outside->link(leg);
  auto theirs = inside->link(device);
  if (!ours) return ours.error();
  if (!theirs) return theirs.error();
  const bool fresh = !*ours || !*theirs;
  if (fresh) {  // one without the other: of a namespace that is gone
    if (auto gone = outside->remove_link(leg); !gone) return gone.error();
    if (auto gone = inside->remove_link(device); !gone) return gone.error();
    if (auto made = outside->add_veth(leg, device, netns_path(ns)); !made) return made.error();
  }
  for (const auto& step :
       {inside->set_link("lo", std::nullopt, std::nullopt, true), outside->no_offload(leg),
        inside->no_offload(device), outside->set_link(leg, std::nullopt, network.mtu, true),
        inside->set_link(device, network.dhcp_mac, network.mtu, true)})
    if (!step) return step.error();

  auto has = inside->addresses(device);
  if (!has) return has.error();
  const auto wanted = wanted_addresses(network);
  for (const auto& address : *has)
    if (!wanted.contains(address))
      if (auto gone = inside->remove_address(device, address); !gone) return gone.error();
  for (const auto& address : wanted)
    if (!has->contains(address))
      if (auto added = inside->add_address(device, address); !added) return added.error();
  return fresh;
}

Status Dhcp::connect(NetworkId network) {
  auto outside = Netlink::open();
  return outside ? outside->set_link(leg_name(network), std::nullopt, std::nullopt, true) : Status{outside.error()};
}

bool Dhcp::leased_to_another(const Told& told, const std::map<std::string, std::string>& leases) {
  return std::any_of(leases.begin(), leases.end(), [&](const auto& lease) {
    const auto before = told.leases.find(lease.first);
    return before == told.leases.end() ? !told.knows_all_leases : before->second != lease.second;
  });
}

Status Dhcp::serve(const NetworkWant& network, const std::vector<const PortWant*>& ports) {
  const std::string where = folder(network.id);
  const std::string hosts = dhcp_hosts(network, ports), options = dhcp_options(network);
  const DaemonSpec spec = daemon(network);
  const auto ran = Supervisor::running(spec.pid_file);
  Told told = told_[network.id];
  if (ran && *ran != told.pid)
    told = {.pid = *ran, .leases = read_dhcp_leases(slurp(where + "/hosts")), .knows_all_leases = false};
  auto leases = read_dhcp_leases(hosts);
  // Before the files say otherwise: if we are killed in between, the next life starts one that has leased nothing.
  if (ran && leased_to_another(told, leases))
    if (auto stopped = supervisor_.stop(spec); !stopped) return stopped;
  for (const auto& [name, content] : {std::pair{"/opts", options}, {"/hosts", hosts}})
    if (slurp(where + name) != content || !fs::exists(where + name))
      if (auto written = replace_file(where + name, content); !written) return written;

  if (!wants_dnsmasq(network)) {
    told_.erase(network.id);
    const bool left = fs::exists(spec.pid_file) || fs::exists(spec.ready_file);
    return left ? supervisor_.stop(spec) : Status{};
  }
  if (auto kept = supervisor_.keep(spec); !kept) return kept;
  const auto pid = supervisor_.pid(spec.name).value_or(0);
  const std::string files = options + "\n" + hosts;
  // One that was adopted may have missed a signal: it is told once more. One that is new has read them.
  if (pid != told.pid) told = {.pid = pid};
  else if (told.files != files) (void)supervisor_.signal(spec.name, SIGHUP);
  told.files = files;
  told.leases.merge(leases);
  told_[network.id] = std::move(told);
  return {};
}

Status Dhcp::remove(NetworkId network) {
  if (auto stopped = supervisor_.stop(daemon_of(network)); !stopped) return stopped;
  told_.erase(network);
  auto outside = Netlink::open();
  if (!outside) return outside.error();
  if (auto gone = outside->remove_link(leg_name(network)); !gone) return gone;
  if (auto gone = remove_netns(namespace_name(network)); !gone) return gone;
  std::error_code error;
  fs::remove_all(folder(network), error);
  if (error) return {Errc::denied, fmt::format("cannot remove {}: {}", folder(network), error.message())};
  return {};
}

std::vector<NetworkId> Dhcp::networks() const {
  std::vector<NetworkId> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(run_dir_, ignored))
    if (const auto id = NetworkId::parse(entry.path().filename().string())) found.push_back(*id);
  std::sort(found.begin(), found.end());
  return found;
}

DhcpFileSays Dhcp::says(NetworkId network) const {
  return read_dhcp_hosts(slurp(folder(network) + "/hosts"));
}

// No subnet with DHCP leaves no options: then there is no dnsmasq.
bool Dhcp::serving(NetworkId network) const {
  if (!netns_there(namespace_name(network)) || !fs::exists(folder(network) + "/hosts")) return false;
  if (slurp(folder(network) + "/opts").empty()) return true;
  const auto pid = Supervisor::running(folder(network) + "/pid");
  return pid && serves_dhcp(*pid);
}

std::string Dhcp::missing_devices(const NetworkWant& network) const {
  const std::string ns = namespace_name(network.id);
  if (!netns_there(ns)) return "namespace " + ns;
  auto inside = Netlink::open(netns_path(ns));
  if (!inside) return inside.error().text;
  auto link = inside->link(device);
  if (!link || !*link) return fmt::format("device {} in {}", device, ns);
  if (!(*link)->up || (*link)->mac != network.dhcp_mac || (*link)->mtu != network.mtu)
    return fmt::format("state, MAC or MTU of {} in {}", device, ns);
  auto addresses = inside->addresses(device);
  if (!addresses || *addresses != wanted_addresses(network))
    return fmt::format("addresses of {} in {}", device, ns);
  auto outside = Netlink::open();
  if (!outside) return outside.error().text;
  const std::string leg = leg_name(network.id);
  auto ours = outside->link(leg);
  if (!ours || !*ours) return "device " + leg;
  if (!(*ours)->up || (*ours)->mtu != network.mtu) return "state or MTU of " + leg;
  return {};
}

std::string Dhcp::missing(const NetworkWant& network, const std::vector<const PortWant*>& ports) const {
  if (auto devices = missing_devices(network); !devices.empty()) return devices;
  const std::string where = folder(network.id);
  if (slurp(where + "/hosts") != dhcp_hosts(network, ports)) return where + "/hosts";
  if (slurp(where + "/opts") != dhcp_options(network)) return where + "/opts";
  return serving(network.id) ? "" : "dnsmasq of " + network.id.str();
}

}  // namespace reprise::network
