#include "tests/contract/network_agent.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "agents/network/netlink.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::network {
namespace {

namespace fs = std::filesystem;

constexpr const char* dnsmasq_script = "/run/test/dnsmasq";
std::string order_for(NetworkId network) { return fmt::format("/run/test/dnsmasq-{}", network.str()); }

// The one argument that names the network's folder says whose it is. The name stays ours after exec, as the
// supervisor expects it.
void make_dnsmasq_script() {
  if (fs::exists(dnsmasq_script)) return;
  std::ofstream(dnsmasq_script) << R"(#!/bin/bash
for argument; do
  [[ $argument == --dhcp-hostsfile=* ]] || continue
  network=${argument%/hosts}
  case $(cat "/run/test/dnsmasq-${network##*/}" 2>/dev/null) in
    die) echo "dnsmasq: told to die" >&2; exit 3 ;;
    hang) exec -a "$0" sleep 60 ;;
  esac
done
exec -a "$0" /usr/sbin/dnsmasq "$@"
)";
  fs::permissions(dnsmasq_script, fs::perms::owner_all);
}

void must(const Status& status) {
  if (!status) FAIL(status.error().text);
}

Netlink root_netlink() {
  auto netlink = Netlink::open();
  if (!netlink) FAIL(netlink.error().text);
  return std::move(*netlink);
}

void vsctl(std::vector<std::string> argv) {
  argv.insert(argv.begin(), {"/usr/bin/ovs-vsctl", "--timeout=10"});
  run(argv);
}

}  // namespace

OvsConfig config_of(const std::string& uplink) {
  make_dnsmasq_script();
  OvsConfig config;
  config.switch_.datapath = "netdev";
  config.switch_.uplink = uplink;
  config.run_dir = run_dir;
  config.dnsmasq = dnsmasq_script;
  config.patience = {};
  return config;
}

void set_dnsmasq(NetworkId network, const std::string& how) {
  if (how.empty()) fs::remove(order_for(network));
  else std::ofstream(order_for(network)) << how;
}

std::vector<pid_t> dnsmasqs() {
  std::vector<pid_t> pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::string name;
    std::getline(std::ifstream(entry.path() / "comm"), name);
    if (name == "dnsmasq") pids.push_back(std::stoi(entry.path().filename()));
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

std::string bridges() { return run({"/usr/bin/ovs-vsctl", "--timeout=10", "list-br"}); }
std::string interfaces() {
  return run({"/usr/bin/ovs-vsctl", "--timeout=10", "--bare", "--columns=name", "list", "Interface"});
}

Agent::Agent(OvsConfig config) : driver(std::move(config)) {
  OvsHost::get();
  driver.on_change([this] {
    std::lock_guard lock(mutex_);
    ++wakes_;
    heard_.notify_all();
  });
}

Agent::~Agent() {
  if (!wipe_at_end) return;
  if (auto wiped = driver.wipe(); !wiped) WARN(wiped.error().text);
}

void Agent::settle(const Want& want, std::initializer_list<const Guest*> in) {
  for (std::uint64_t seen = wakes();; seen = wait_after(seen)) {
    if (well(want, in)) return;
    if (auto done = driver.perform({.step = Step::apply, .want = want, .retried = {}}); !done)
      UNSCOPED_INFO("apply: " << done.error().text);
    if (const auto have = driver.observe())
      for (const auto& [id, why] : have->troubles)
        if (auto done = driver.perform({.step = Step::apply, .want = want, .retried = id}); !done)
          UNSCOPED_INFO("apply: " << done.error().text);
    if (well(want, in)) return;
    UNSCOPED_INFO("missing: " << driver.missing());
  }
}

bool Agent::well(const Want& want, std::initializer_list<const Guest*> in) {
  const auto have = driver.observe();
  if (!have) UNSCOPED_INFO("observe: " << have.error().text);
  if (!have || !have->in_force || have->applied != want) return false;
  for (const auto& [id, why] : have->troubles) UNSCOPED_INFO("trouble: " << why);
  if (!have->troubles.empty()) return false;
  return std::all_of(in.begin(), in.end(), [&](const Guest* guest) {
    const auto port = have->ports.find({guest->port.id, guest->port.born});
    const bool is_there = port != have->ports.end();
    if (is_there)
      UNSCOPED_INFO(guest->tap() << " ready " << port->second.ready << " plugged " << port->second.plugged);
    return is_there && port->second.ready && port->second.plugged;
  });
}

std::uint64_t Agent::wakes() {
  std::lock_guard lock(mutex_);
  return wakes_;
}

std::uint64_t Agent::wait_after(std::uint64_t seen) {
  std::unique_lock lock(mutex_);
  if (!heard_.wait_for(lock, std::chrono::seconds(20), [&] { return wakes_ > seen; }))
    FAIL("nobody woke the agent; Open vSwitch has:\n"
         << run({"/usr/bin/ovs-vsctl", "--timeout=10", "--columns=name,ofport,error", "list", "Interface"}));
  return wakes_;
}

OvsContractHost::OvsContractHost() {
  OvsHost::get();
  restart();
}

OvsContractHost::~OvsContractHost() {
  guests_.clear();
  if (auto wiped = driver_->wipe(); !wiped) WARN(wiped.error().text);
}

void OvsContractHost::restart() {
  driver_.reset();
  OvsConfig config = config_of();
  config.switch_.datapath = "auto";
  driver_ = std::make_unique<OvsDriver>(config);
}

void OvsContractHost::plug(const PortWant& port) {
  auto& guest = guests_[port.id];
  if (!guest) guest = std::make_unique<Guest>(port);
  guest->plug();
}

// Every call of the driver that can fail for one network or port, made to fail.
std::vector<Fault> OvsContractHost::faults(const NetworkWant& network, const PortWant& port) {
  const AnyId net = network.id.as<AnyId>();
  const std::string folder = fmt::format("{}/{}", run_dir, network.id.str());
  const std::string ns = netns_path(namespace_name(network.id)), leg = leg_name(network.id);
  const auto mounted = [folder](unsigned long flags, const char* options) {
    fs::create_directories(folder);
    if (mount("none", folder.c_str(), "tmpfs", flags, options) != 0) FAIL("mount: " << std::strerror(errno));
  };
  const auto unmounted = [folder] {
    if (umount2(folder.c_str(), MNT_DETACH) != 0) FAIL("umount: " << std::strerror(errno));
  };
  std::vector<Fault> all;
  all.push_back({"the folder is a file", net, "cannot make the folder",
                 [=] { fs::remove_all(folder), fs::create_directories(run_dir), std::ofstream(folder) << "mine\n"; },
                 [=] { fs::remove(folder); }, {}});
  all.push_back({"the folder is read-only", net, "Read-only file system", [=] { mounted(MS_RDONLY, ""); }, unmounted, {}});
  all.push_back({"the folder is full", net, "No space left on device",
                 [=] {
                   mounted(0, "size=4k");
                   std::ofstream(folder + "/fill") << std::string(4096, 'x');
                 },
                 unmounted, {}});
  all.push_back({"the hosts file is a folder", net, "/hosts: ",
                 [=] { fs::remove(folder + "/hosts"), fs::create_directories(folder + "/hosts/in"); },
                 [=] { fs::remove_all(folder + "/hosts"); }, {}});
  all.push_back({"the namespace's name is taken", net, namespace_name(network.id),
                 [=] {
                   (void)remove_netns(namespace_name(network.id));
                   fs::create_directories(ns);
                 },
                 [=] { fs::remove(ns); }, {}});
  all.push_back({"the leg's name is taken", net, leg,
                 [=] {
                   must(root_netlink().remove_link(leg));
                   run({"/usr/sbin/ip", "link", "add", leg, "type", "bridge"});
                 },
                 [=] { must(root_netlink().remove_link(leg)); }, {}});
  all.push_back({"another bridge has the leg", net, "br-other",
                 [=] {
                   vsctl({"--if-exists", "del-port", leg, "--", "add-br", "br-other", "--", "set", "bridge", "br-other",
                          "datapath_type=netdev", "--", "add-port", "br-other", leg});
                 },
                 [=] { vsctl({"del-br", "br-other"}); }, {}});
  all.push_back({"dnsmasq dies at once", net, "told to die",
                 [=] {
                   set_dnsmasq(network.id, "die");
                   fs::remove(folder + "/serving");
                 },
                 [=] { set_dnsmasq(network.id, ""); }, {}});
  all.push_back({"dnsmasq hangs", net, "did not make",
                 [=] {
                   set_dnsmasq(network.id, "hang");
                   fs::remove(folder + "/serving");
                 },
                 [=] { set_dnsmasq(network.id, ""); }, {}});
  const auto spoiled = [id = network.id](auto spoil) {
    return [id, spoil](Want& want) { spoil(want.networks.at(id)); };
  };
  all.push_back({"the DHCP port has no MAC", net, "no MAC address", {}, {}, spoiled([](auto& one) { one.dhcp_mac = {}; })});
  all.push_back({"a MAC that the kernel refuses", net, "dhcp0", {}, {},
                 spoiled([](auto& one) { one.dhcp_mac = Mac{0x01005e000001}; })});
  all.push_back({"an MTU that the kernel refuses", net, leg, {}, {}, spoiled([](auto& one) { one.mtu = 20; })});
  all.push_back({"a mask that the kernel refuses", net, "address", {}, {},
                 spoiled([](auto& one) { one.subnets[0].prefix = 40; })});
  all.push_back({"two ports with one MAC", port.id.as<AnyId>(), "already those of", {}, {}, [port](Want& want) {
                   for (auto& [id, other] : want.ports)
                     if (other.network == port.network && id != port.id && other.born < port.born)
                       want.ports.at(port.id).mac = other.mac;
                 }});
  all.back().needs_taps = true;
  const std::string tap = fmt::format("tap-{:x}", port.id.lo);
  all.push_back({"a tap that the switch cannot open", port.id.as<AnyId>(), tap,
                 [=] { vsctl({"set", "Interface", tap, "type=nonsense"}); },
                 [=] { vsctl({"set", "Interface", tap, "type=\"\""}); }, {}});
  all.back().needs_taps = true;
  all.push_back({"the switch has no room for a flow", port.id.as<AnyId>(), "refuses a flow", [=] {
                   // Table 10 is the guests': each has seven flows there, and there are three guests.
                   vsctl({"--", "--id=@room", "create", "Flow_Table", "flow_limit=15", "overflow_policy=refuse", "--",
                          "set", "Bridge", "br-int", "flow_tables:10=@room"});
                 },
                 [=] { vsctl({"clear", "Bridge", "br-int", "flow_tables"}); }, {}});
  all.back().needs_taps = true;
  all.back().strikes_the_well = false;
  return all;
}

}  // namespace reprise::network
