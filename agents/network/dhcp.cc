#include "agents/network/dhcp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
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
constexpr std::chrono::milliseconds serves_within{3'000};  // it takes 16 ms: the others are not kept waiting
constexpr std::chrono::milliseconds halted_grace{200};     // one that is halted hears no SIGTERM

std::string short_name(NetworkId network) { return network.hex().substr(0, 12); }
std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

bool there(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Status cannot(const std::string& what, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  const char* next = full ? ": make room there" : error == EROFS ? ": mount it read-write" : "";
  return {full ? Errc::no_space : Errc::denied,
          fmt::format("cannot {}: {}{}", what, std::strerror(error), next)};
}

// Whole or not at all; readable for dnsmasq, whoever it runs as.
Status replace_file(const std::string& path, const std::string& content) {
  const std::string fresh = path + ".new";
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return cannot("write " + fresh, errno);
  int error = fchmod(fd, 0644) == 0 ? 0 : errno;
  for (std::size_t done = 0; error == 0 && done < content.size();) {
    const auto wrote = write(fd, content.data() + done, content.size() - done);
    if (wrote >= 0) done += static_cast<std::size_t>(wrote);
    else if (errno != EINTR) error = errno;
  }
  if (close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && rename(fresh.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return {};
  unlink(fresh.c_str());
  return cannot("write " + path, error);
}

// Ours is a veth; a device of another kind under its name is an operator's.
Result<bool> is_foreign(Netlink& netlink, const std::string& device_name) {
  auto link = netlink.link(device_name);
  if (!link) return link.error();
  if (!*link) return false;
  auto driver = netlink.driver_of(device_name);
  return !driver || *driver != "veth";
}

// SIGSTOPped, or under a debugger: it will not answer.
bool is_halted(pid_t pid) {
  const std::string stat = slurp(fmt::format("/proc/{}/stat", pid));
  const auto after_name = stat.rfind(") ");
  return after_name != stat.npos && (stat[after_name + 2] == 'T' || stat[after_name + 2] == 't');
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
  return {"dnsmasq of network " + network.str(),
          {dnsmasq_},
          where + "/pid",
          where + "/log",
          netns_path(namespace_name(network)),
          "--pid-file=" + where + "/serving",
          where + "/serving",
          serves_within};
}

DaemonSpec Dhcp::daemon(const NetworkWant& network) const {
  DaemonSpec spec = daemon_of(network.id);
  spec.argv = dhcp_argv(network, dnsmasq_, folder(network.id));
  return spec;
}

Result<bool> Dhcp::prepare(const NetworkWant& network) {
  std::error_code error;
  fs::create_directories(folder(network.id), error);
  if (error || !fs::is_directory(folder(network.id), error))
    return cannot("make the folder " + folder(network.id), error ? error.value() : ENOTDIR).error();
  if (!wants_dnsmasq(network)) return false;
  if (!network.dhcp_mac)
    return {Errc::invalid,
            fmt::format("network {} has a subnet with DHCP, but its DHCP port has no MAC address",
                        network.id.str())};
  auto fresh = make_pair(network);
  if (!fresh) return fresh;
  if (auto done = set_up_devices(network); !done) return done.error();
  return fresh;
}

// True until connect(), over a crash as well: the mark is there before the pair is.
Result<bool> Dhcp::make_pair(const NetworkWant& network) {
  const std::string ns = namespace_name(network.id), leg = leg_name(network.id);
  const std::string mark = folder(network.id) + "/fresh";
  if (auto made = add_netns(ns); !made) return made.error();
  auto inside = Netlink::open(netns_path(ns));
  auto outside = Netlink::open();
  if (!inside) return inside.error();
  if (!outside) return outside.error();
  auto foreign = is_foreign(*outside, leg);
  if (!foreign) return foreign.error();
  if (*foreign)
    return {Errc::exists,
            fmt::format("the device {} is there and is not Reprise's: rename or remove it", leg)};
  auto ours = outside->link(leg);
  auto theirs = inside->link(device);
  if (!ours) return ours.error();
  if (!theirs) return theirs.error();
  if (*ours && *theirs) return there(mark);
  if (auto marked = replace_file(mark, ""); !marked) return marked.error();
  // One without the other: of a namespace that is gone.
  if (auto gone = outside->remove_link(leg); !gone) return gone.error();
  if (auto gone = inside->remove_link(device); !gone) return gone.error();
  if (auto made = outside->add_veth(leg, device, netns_path(ns)); !made) return made.error();
  // One that is not root stays with the device that is gone: serve() starts another.
  if (auto stopped = supervisor_.stop(daemon_of(network.id)); !stopped) return stopped.error();
  return true;
}

Status Dhcp::set_up_devices(const NetworkWant& network) {
  const std::string leg = leg_name(network.id);
  auto inside = Netlink::open(netns_path(namespace_name(network.id)));
  auto outside = Netlink::open();
  if (!inside) return inside.error();
  if (!outside) return outside.error();
  for (const auto& step :
       {inside->set_link("lo", std::nullopt, std::nullopt, true), outside->no_offload(leg),
        inside->no_offload(device), outside->set_link(leg, std::nullopt, network.mtu, true),
        inside->set_link(device, network.dhcp_mac, network.mtu, true)})
    if (!step) return step;

  auto has = inside->addresses(device);
  if (!has) return has.error();
  const auto wanted = wanted_addresses(network);
  for (const auto& address : *has)
    if (!wanted.contains(address))
      if (auto gone = inside->remove_address(device, address); !gone) return gone;
  for (const auto& address : wanted)
    if (!has->contains(address))
      if (auto added = inside->add_address(device, address); !added) return added;
  return {};
}

Status Dhcp::connect(NetworkId network) {
  auto outside = Netlink::open();
  if (!outside) return outside.error();
  if (auto up = outside->set_link(leg_name(network), std::nullopt, std::nullopt, true); !up) return up;
  const std::string mark = folder(network) + "/fresh";
  return unlink(mark.c_str()) == 0 || errno == ENOENT ? Status{} : cannot("remove " + mark, errno);
}

bool Dhcp::leased_to_another(const Told& told, const std::map<std::string, std::string>& leases) {
  return std::any_of(leases.begin(), leases.end(), [&](const auto& lease) {
    const auto before = told.leases.find(lease.first);
    return before == told.leases.end() ? !told.knows_all_leases : before->second != lease.second;
  });
}

// True: one of them was not as it should be.
Result<bool> Dhcp::write_files(const NetworkWant& network, const std::string& hosts, const std::string& options) {
  const std::string where = folder(network.id);
  bool changed = false;
  for (const auto& [name, content] : {std::pair{"/opts", options}, {"/hosts", hosts}}) {
    if (slurp(where + name) == content && there(where + name)) continue;
    if (auto written = replace_file(where + name, content); !written) return written.error();
    changed = true;
  }
  return changed;
}

Status Dhcp::serve(const NetworkWant& network, const std::vector<const PortWant*>& ports) {
  const std::string hosts = dhcp_hosts(network, ports), options = dhcp_options(network);
  const DaemonSpec spec = daemon(network);
  if (!wants_dnsmasq(network)) {
    if (auto without = be_without(network.id); !without) return without;
    const auto written = write_files(network, hosts, options);
    return written ? Status{} : written.error();
  }
  const auto ran = Supervisor::running(spec.pid_file);
  Told told = told_[network.id];
  // One that is down is being started again: by what the hosts file says now.
  if (ran.value_or(0) != told.pid)
    told = {.pid = ran.value_or(0),
            .files = {},
            .leases = read_dhcp_leases(slurp(folder(network.id) + "/hosts")),
            .knows_all_leases = !ran};
  const bool halted = ran && is_halted(*ran);
  const bool folder_lost = (ran || supervisor_.pid(spec.name)) && !there(spec.ready_file);
  auto leases = read_dhcp_leases(hosts);
  // Before the files say otherwise: if we are killed in between, the next life starts one that has leased
  // nothing.
  if (halted || folder_lost || leased_to_another(told, leases))
    if (auto stopped = halted ? supervisor_.stop(spec, halted_grace) : supervisor_.stop(spec); !stopped)
      return stopped;
  const auto written = write_files(network, hosts, options);
  if (!written) return written.error();
  if (auto kept = supervisor_.keep(spec); !kept) return kept;
  const auto pid = supervisor_.pid(spec.name).value_or(0);
  const std::string files = options + "\n" + hosts;
  // One that was adopted may have missed a signal; one that the supervisor started meanwhile may have read
  // what was there before: both are told once more. So is one whose files were lost: it may have read just then.
  if (pid != told.pid) told = {.pid = pid};
  if (*written) told.files.clear();
  if (pid != 0 && told.files != files) (void)supervisor_.signal(spec.name, SIGHUP);
  told.files = files;
  told.leases.merge(leases);
  told_[network.id] = std::move(told);
  return {};
}

Status Dhcp::be_without(NetworkId network) {
  if (auto stopped = supervisor_.stop(daemon_of(network)); !stopped) return stopped;
  told_.erase(network);
  auto outside = Netlink::open();
  if (!outside) return outside.error();
  auto foreign = is_foreign(*outside, leg_name(network));
  if (!foreign) return foreign.error();
  if (!*foreign)
    if (auto gone = outside->remove_link(leg_name(network)); !gone) return gone;
  // What else may lie there under its name is not ours; an empty file is what an unmount leaves.
  std::error_code ignored;
  const std::string ns = namespace_name(network);
  const bool ours = netns_there(ns) || fs::is_regular_file(netns_path(ns), ignored);
  return ours ? remove_netns(ns) : Status{};
}

Status Dhcp::remove(NetworkId network) {
  if (auto without = be_without(network); !without) return without;
  std::error_code error;
  fs::remove_all(folder(network), error);
  return error ? cannot("remove " + folder(network), error.value()) : Status{};
}

std::vector<NetworkId> Dhcp::networks() const {
  std::vector<NetworkId> found;
  std::error_code error;
  for (fs::directory_iterator entry(run_dir_, error), end; !error && entry != end; entry.increment(error))
    if (const auto id = NetworkId::parse(entry->path().filename().string())) found.push_back(*id);
  std::sort(found.begin(), found.end());
  return found;
}

DhcpFileSays Dhcp::says(NetworkId network) const {
  return read_dhcp_hosts(slurp(folder(network) + "/hosts"));
}

// No subnet with DHCP leaves no options: then there is no dnsmasq.
bool Dhcp::serving(NetworkId network, bool leg_plugged) const {
  if (!there(folder(network) + "/hosts")) return false;
  if (slurp(folder(network) + "/opts").empty()) return true;
  if (!leg_plugged || !netns_there(namespace_name(network))) return false;
  const auto pid = Supervisor::running(folder(network) + "/pid");
  return pid && !is_halted(*pid) && serves_dhcp(*pid);
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
  const std::string where = folder(network.id), ns = namespace_name(network.id);
  if (wants_dnsmasq(network)) {
    if (auto devices = missing_devices(network); !devices.empty()) return devices;
  } else if (netns_there(ns)) {
    return "removal of namespace " + ns;
  }
  if (slurp(where + "/hosts") != dhcp_hosts(network, ports)) return where + "/hosts";
  if (slurp(where + "/opts") != dhcp_options(network)) return where + "/opts";
  return serving(network.id, true) ? "" : "dnsmasq of network " + network.id.str();
}

}  // namespace reprise::network
