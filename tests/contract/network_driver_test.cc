// The `ovs` network driver on a real Open vSwitch: the drivers' contract, and what is its own: frames
// that arrive and frames that must not, DHCP, daemons that are killed, and nothing left at the end.
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "agents/core/child_process.h"
#include "agents/network/netlink.h"
#include "agents/network/ovs_driver.h"
#include "tests/contract/network_agent.h"
#include "tests/contract/network_host.h"
#include "tests/contract/network_suite.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::network {
namespace {

Action apply_all(const Want& want) { return {.step = Step::apply, .want = want, .retried = {}}; }

const NetworkWant net1 = network_want(1), net2 = network_want(2);
const NetworkWant network_without_dhcp = [] {
  NetworkWant network = network_want(2);
  network.subnets[0].dhcp = false;
  return network;
}();

}  // namespace

TEST_CASE("the ovs driver keeps the contract") {
  driver_contract([] { return std::make_unique<OvsContractHost>(); });
}

TEST_CASE("one network's or port's trouble is its own") {
  one_is_in_trouble([] { return std::make_unique<OvsContractHost>(); });
}

TEST_CASE("guests get their address by DHCP and reach each other") {
  Agent agent;
  Guest a(port_want(21, 1)), b(port_want(22, 1));
  const Want want = want_of({net1}, {a.port, b.port});
  agent.settle(want);
  a.plug();
  b.plug();
  agent.settle(want, {&a, &b});

  const std::string lease = a.dhcp();
  INFO(lease);
  for (const char* part :
       {"ip=10.0.1.21\n", "mask=24\n", "router=10.0.1.1\n", "dns=9.9.9.9\n", "mtu=1500\n",
        "hostname=guest-21\n", "staticroutes=169.254.169.254/32 10.0.1.2 0.0.0.0/0 10.0.1.1\n"})
    CHECK(lease.find(part) != std::string::npos);
  REQUIRE_FALSE(b.dhcp().empty());
  CHECK(a.pings(b.port.addresses[0].address));
  CHECK(b.pings(a.port.addresses[0].address));
  CHECK(a.pings(net1.subnets[0].dhcp_address));
  CHECK(well(
      within(namespace_name(net1.id), {"/usr/bin/ping", "-n", "-q", "-c", "1", "-w", "5", "10.0.1.22"})));

  SECTION("a port that comes later is served without a restart of dnsmasq, a port that goes no more") {
    const auto pids = dnsmasqs();
    REQUIRE(pids.size() == 1);
    Guest c(port_want(23, 1));
    const Want more = want_of({net1}, {a.port, c.port});
    c.plug();
    agent.settle(more, {&c});
    CHECK(c.dhcp().find("ip=10.0.1.23\n") != std::string::npos);
    CHECK(c.pings(a.port.addresses[0].address));
    CHECK_FALSE(c.pings(b.port.addresses[0].address, 1));
    CHECK(dnsmasqs() == pids);
  }
  SECTION("an address whose port is gone is leased to the next that has it") {
    PortWant next = port_want(23, 1);
    next.addresses = b.port.addresses;
    Guest c(next);
    c.plug();
    agent.settle(want_of({net1}, {a.port, c.port}), {&c});
    CHECK(c.dhcp().find("ip=10.0.1.22\n") != std::string::npos);
    CHECK(a.dhcp().find("ip=10.0.1.21\n") != std::string::npos);
    CHECK(c.pings(a.port.addresses[0].address));
  }
  SECTION("a port that is down is dark") {
    Want down = want;
    down.ports[b.port.id].admin_up = false;
    agent.settle(down);
    CHECK_FALSE(a.pings(b.port.addresses[0].address, 1));
    agent.settle(want);
    CHECK(a.pings(b.port.addresses[0].address));
  }
}

TEST_CASE("a guest can only be itself, and only in its own network") {
  Agent agent;
  Guest a(port_want(21, 1)), b(port_want(22, 1)), c(port_want(23, 2)), d(port_want(24, 2));
  const Want want = want_of({net1, net2}, {a.port, b.port, c.port, d.port});
  agent.settle(Want{});
  for (auto* guest : {&a, &b, &c, &d}) guest->plug();
  agent.settle(want, {&a, &b, &c, &d});
  const Nic from(a.netns(), "eth0"), at_b(b.netns(), "eth0"), at_c(c.netns(), "eth0"),
      from_d(d.netns(), "eth0");
  const Mac ma = a.port.mac, mb = b.port.mac, mc = c.port.mac, other = *Mac::parse("52:54:00:00:00:99");
  const Ipv4 ia = a.port.addresses[0].address, ib = b.port.addresses[0].address,
             ic = c.port.addresses[0].address;
  const Ipv4 wrong = *Ipv4::parse("10.0.1.99"), everyone = *Ipv4::parse("255.255.255.255"), zero{};
  const Mac all{0xffffffffffff};

  for (const auto& frame :
       {udp_frame(other, mb, ia, ib, "forged: MAC"), udp_frame(ma, mb, wrong, ib, "forged: address"),
        udp_frame(ma, mb, zero, ib, "forged: no address"),
        udp_frame(ma, mb, ia, ib, "forged: DHCP server", 67, 68),
        udp_frame(ma, all, ia, everyone, "forged: DHCP server to all", 67, 68),
        udp_frame(ma, all, ia, everyone, "forged: broadcast"), arp_frame(ma, ma, wrong, ib),
        arp_frame(ma, other, ia, ib), arp_frame(other, other, ia, ib), arp_frame(other, ma, ia, ib, mb),
        tagged(udp_frame(ma, mb, ia, ib, "forged: tag of its own"), 101),
        tagged(udp_frame(ma, mc, ia, ic, "forged: tag"), 102),
        tagged(udp_frame(ma, mb, ia, ib, "forged: priority tag"), 0),
        udp_frame(ma, mc, ia, ic, "forged: other network")})
    from.send(frame);
  from.send(udp_frame(ma, mb, ia, ib, "honest"));
  const auto is_arp = [](const Frame& frame) {
    return frame.size() > 13 && frame[12] == 0x08 && frame[13] == 0x06;
  };
  for (const auto& frame : at_b.until([](const Frame& frame) { return holds(frame, "honest"); })) {
    CHECK_FALSE(holds(frame, "forged"));
    CHECK_FALSE(is_arp(frame));
  }
  from.send(arp_frame(ma, ma, ia, ib));  // to all: the owner hears it, the other network does not
  at_b.until([&](const Frame& frame) { return is_arp_for(frame, ib); });
  from_d.send(udp_frame(d.port.mac, mc, d.port.addresses[0].address, ic, "neighbour"));
  for (const auto& frame : at_c.until([](const Frame& frame) { return holds(frame, "neighbour"); })) {
    CHECK_FALSE(holds(frame, "forged"));
    CHECK_FALSE(is_arp_for(frame, ib));
  }
}

TEST_CASE("on the wire each network has its tag, and the DHCP namespace is not seen") {
  OvsHost::get();
  REQUIRE(add_netns("wire").ok());
  auto outside = Netlink::open();
  REQUIRE(outside.ok());
  REQUIRE(outside->add_veth("up0", "eth0", netns_path("wire")).ok());
  auto inside = Netlink::open(netns_path("wire"));
  REQUIRE((inside.ok() && inside->set_link("eth0", std::nullopt, std::nullopt, true).ok()));
  {
    Agent agent(config_of("up0"));
    Guest a(port_want(21, 1));
    agent.settle(Want{});
    a.plug();
    agent.settle(want_of({net1}, {a.port}), {&a});
    const Nic wire("wire", "eth0"), guest(a.netns(), "eth0");
    const Mac far = *Mac::parse("52:54:00:00:00:77"), ma = a.port.mac;
    const Ipv4 there = *Ipv4::parse("10.0.1.77"), ia = a.port.addresses[0].address,
               dhcp = net1.subnets[0].dhcp_address;

    // Out: DHCP, and ARP for the namespace, stay here; the rest leaves with the tag.
    REQUIRE_FALSE(a.dhcp().empty());
    CHECK(a.pings(dhcp));
    CHECK_FALSE(well(
        within(namespace_name(net1.id), {"/usr/bin/ping", "-n", "-q", "-c", "1", "-w", "1", "10.0.1.77"})));
    guest.send(arp_frame(ma, ma, ia, there));
    guest.send(udp_frame(ma, far, ia, there, "out"));
    bool asked = false;
    for (const auto& frame : wire.until([](const Frame& frame) { return holds(frame, "out"); })) {
      INFO(fmt::format("{:02x}", fmt::join(frame, "")));
      if (frame[12] == 0x86 && frame[13] == 0xdd)
        continue;  // up0's own, the kernel's IPv6: a guest's would have a tag
      CHECK((frame[12] == 0x81 && frame[13] == 0x00 && frame[14] == 0 && frame[15] == 101));
      CHECK_FALSE(is_arp_for(frame, dhcp));
      CHECK_FALSE(
          std::equal(frame.begin() + 6, frame.begin() + 12, Frame{0xfa, 0x16, 0x3e, 0, 0, 1}.begin()));
      CHECK_FALSE((frame[16] == 0x08 && frame[17] == 0x00 && frame[40] == 0 && frame[41] == 67));
      asked = asked || is_arp_for(frame, there);
    }
    CHECK(asked);

    // In: other tags, other nodes' DHCP and what claims to be our namespace are dropped.
    wire.send(udp_frame(far, ma, there, ia, "in without tag"));
    wire.send(tagged(udp_frame(far, ma, there, ia, "in other tag"), 102));
    wire.send(tagged(udp_frame(far, ma, there, ia, "in DHCP", 67, 68), 101));
    wire.send(tagged(udp_frame(net1.dhcp_mac, ma, dhcp, ia, "in as namespace"), 101));
    wire.send(tagged(udp_frame(far, ma, there, ia, "well"), 101));
    for (const auto& frame : guest.until([](const Frame& frame) { return holds(frame, "well"); }))
      CHECK_FALSE(holds(frame, "in "));
  }
  CHECK(outside->remove_link("up0").ok());
  CHECK(remove_netns("wire").ok());
}

TEST_CASE("daemons that are killed come back, and the guests' network with them") {
  Agent agent;
  Guest a(port_want(21, 1)), b(port_want(22, 1));
  const Want want = want_of({net1}, {a.port, b.port});
  agent.settle(Want{});
  for (auto* guest : {&a, &b}) {
    guest->plug();
    guest->use_address();
  }
  agent.settle(want, {&a, &b});
  const Ipv4 ib = b.port.addresses[0].address;
  REQUIRE(a.pings(ib));

  SECTION("ovs-vswitchd") {
    const auto seen = agent.wakes();
    kill_and_wait(OvsHost::get().pid("ovs-vswitchd"));
    agent.wait_after(seen);
    agent.settle(want, {&a, &b});
    CHECK(a.pings(ib));
  }
  SECTION("ovsdb-server") {
    const auto seen = agent.wakes();
    kill_and_wait(OvsHost::get().pid("ovsdb-server"));
    agent.wait_after(seen);
    agent.settle(want, {&a, &b});
    CHECK(a.pings(ib));
    Guest c(port_want(23, 1));  // and changes are seen again
    c.plug();
    const Want more = want_of({net1}, {a.port, b.port, c.port});
    agent.settle(more, {&c});
    CHECK(c.dhcp().find("ip=10.0.1.23\n") != std::string::npos);
  }
  SECTION("both") {
    kill_and_wait(OvsHost::get().pid("ovsdb-server"));
    kill_and_wait(OvsHost::get().pid("ovs-vswitchd"));
    agent.settle(want, {&a, &b});
    CHECK(a.pings(ib));
  }
  SECTION("dnsmasq") {
    const auto before = dnsmasqs();
    REQUIRE(before.size() == 1);
    const auto seen = agent.wakes();
    kill_and_wait(before[0]);
    agent.wait_after(seen);
    agent.settle(want);
    CHECK(dnsmasqs().size() == 1);
    CHECK(dnsmasqs() != before);
    CHECK(b.dhcp().find("ip=10.0.1.22\n") != std::string::npos);
  }
}

// A measurement, not a test: `network_driver_test "[gaps]"` prints how long two guests miss each other.
TEST_CASE("the gap that each killed daemon leaves", "[.][gaps]") {
  Agent agent;
  Guest a(port_want(21, 1)), b(port_want(22, 1));
  const Want want = want_of({net1}, {a.port, b.port});
  agent.settle(Want{});
  for (auto* guest : {&a, &b}) {
    guest->plug();
    guest->use_address();
  }
  agent.settle(want, {&a, &b});
  REQUIRE(a.pings(b.port.addresses[0].address));
  const std::string daemon = GENERATE("nobody", "ovs-vswitchd", "ovsdb-server", "dnsmasq");
  std::string answers;
  const Nic at_b(b.netns(), "eth0");
  std::thread pinging([&] {
    const auto end =
        run_child(within(a.netns(), {"/usr/bin/ping", "-n", "-D", "-i", "0.01", "-w", "6", "10.0.1.22"}),
                  std::chrono::seconds(30));
    if (end) answers = end->out;
  });
  int pings = 0;
  at_b.until([&](const Frame& frame) { return frame[12] == 0x08 && frame[13] == 0x00 && ++pings == 100; });
  if (daemon != "nobody") {
    const auto seen = agent.wakes();
    kill_and_wait(daemon == "dnsmasq" ? dnsmasqs().at(0) : OvsHost::get().pid(daemon));
    agent.wait_after(seen);
  }
  agent.settle(want, {&a, &b});
  pinging.join();
  double last = 0, gap = 0;
  int heard = 0;
  std::istringstream lines(answers);
  for (std::string line; std::getline(lines, line);) {
    double at = 0;
    if (std::sscanf(line.c_str(), "[%lf] 64 bytes", &at) != 1) continue;
    if (heard++) gap = std::max(gap, at - last);
    last = at;
  }
  WARN(fmt::format("{} killed: {} answers, longest gap {:.3f} s", daemon, heard, gap));
  REQUIRE(heard > 0);
}

TEST_CASE("what people do to it by hand is put right") {
  Agent agent;
  Guest a(port_want(21, 1));
  agent.settle(Want{});
  a.plug();
  const Want want = want_of({net1}, {a.port});
  agent.settle(want, {&a});
  const auto broken = [&] {
    for (std::uint64_t seen = agent.wakes();; seen = agent.wait_after(seen)) {
      const auto have = agent.driver.observe();
      REQUIRE(have.ok());
      if (!have->in_force) break;
    }
    CHECK_FALSE(agent.driver.missing().empty());
  };
  bool unplugged = false;

  SECTION("flows removed") { run({"/usr/bin/ovs-ofctl", "-OOpenFlow13", "del-flows", "br-int", "table=10"}); }
  SECTION("flows added") {
    run({"/usr/bin/ovs-ofctl", "-OOpenFlow13", "add-flow", "br-int",
         "priority=7,icmp,idle_timeout=600,actions=NORMAL"});
  }
  SECTION("flows changed") {
    run({"/usr/bin/ovs-ofctl", "-OOpenFlow13", "mod-flows", "br-int", "table=30,actions=NORMAL"});
  }
  SECTION("the bridge made open") {
    run({"/usr/bin/ovs-vsctl", "--timeout=10", "set-fail-mode", "br-int", "standalone"});
  }
  SECTION("the bridge removed") {
    run({"/usr/bin/ovs-vsctl", "--timeout=10", "del-br", "br-int"}), unplugged = true;
  }
  SECTION("the namespace removed") { run({"/usr/sbin/ip", "netns", "delete", namespace_name(net1.id)}); }
  SECTION("the veth removed") { run({"/usr/sbin/ip", "link", "delete", leg_name(net1.id)}); }
  SECTION("the veth set down") { run({"/usr/sbin/ip", "link", "set", leg_name(net1.id), "down"}); }
  SECTION("an address added") {
    run(within(namespace_name(net1.id), {"/usr/sbin/ip", "address", "add", "10.9.9.9/24", "dev", "dhcp0"}));
  }
  SECTION("the device set down") {
    run(within(namespace_name(net1.id), {"/usr/sbin/ip", "link", "set", "dhcp0", "down"}));
  }
  SECTION("the hosts file lost") {
    std::filesystem::remove(std::string(run_dir) + "/" + net1.id.str() + "/hosts");
  }
  SECTION("the hosts file lost, and read just then") {
    std::filesystem::remove(std::string(run_dir) + "/" + net1.id.str() + "/hosts");
    for (const pid_t pid : dnsmasqs()) REQUIRE(kill(pid, SIGHUP) == 0);
  }

  broken();
  agent.settle(want);
  if (unplugged) a.plug();  // compute's part
  agent.settle(want, {&a});
  CHECK(a.dhcp().find("ip=10.0.1.21\n") != std::string::npos);
}

// Not run by itself: the life of the agent that the next test kills.
TEST_CASE("an agent that waits to be killed", "[.]") {
  Agent agent;
  agent.wipe_at_end = false;
  agent.settle(want_of({net1}, {port_want(21, 1)}));
  std::ofstream("/run/test/applied") << getpid();
  pause();
}

TEST_CASE("DHCP serves on while the agent is dead, and is adopted") {
  OvsHost::get();
  DaemonSpec other_life;
  other_life.name = "agent";
  other_life.argv = {"/proc/self/exe", "an agent that waits to be killed"};
  other_life.mark = other_life.argv[1];
  other_life.argv[0] = std::filesystem::read_symlink("/proc/self/exe");
  other_life.pid_file = "/run/test/agent.pid";
  other_life.log_file = "/run/test/agent.log";
  other_life.ready_file = "/run/test/applied";
  setenv("REPRISE_TEST_MACHINE", "this", 1);
  {
    Supervisor supervisor;
    if (auto kept = supervisor.keep(other_life); !kept) FAIL(kept.error().text);
    kill_and_wait(supervisor.pid("agent").value());
  }
  if (auto again = Supervisor::running(other_life.pid_file))
    kill_and_wait(*again);  // it had been started again

  const auto pids = dnsmasqs();
  REQUIRE(pids.size() == 1);
  Agent agent;
  Guest a(port_want(21, 1));
  a.plug();
  agent.settle(want_of({net1}, {a.port}), {&a});
  CHECK(dnsmasqs() == pids);
  CHECK(a.dhcp().find("ip=10.0.1.21\n") != std::string::npos);

  // What an adopted one has leased is not known: whoever is new may have another's address.
  Guest c(port_want(23, 1));
  c.plug();
  agent.settle(want_of({net1}, {a.port, c.port}), {&a, &c});
  CHECK(dnsmasqs() != pids);
  CHECK(c.dhcp().find("ip=10.0.1.23\n") != std::string::npos);

  // Its subnet changed: the adopted one is replaced, not doubled.
  Want changed = want_of({net1}, {a.port});
  changed.networks[net1.id].subnets[0].prefix = 25;
  agent.settle(changed, {&a});
  CHECK(dnsmasqs().size() == 1);
  CHECK(dnsmasqs() != pids);
  CHECK(a.dhcp().find("mask=25\n") != std::string::npos);
}

TEST_CASE("wipe leaves nothing, and nothing of others is touched") {
  OvsHost::get();
  REQUIRE(add_netns("rp-by-hand").ok());
  run({"/usr/bin/ovs-vsctl", "--timeout=10", "add-br", "br-other", "--", "set", "bridge", "br-other",
       "datapath_type=netdev"});
  {
    Agent agent;
    Guest a(port_want(21, 1));
    agent.settle(Want{});
    a.plug();
    agent.settle(want_of({net1, net2}, {a.port, port_want(23, 2)}));
    CHECK(dnsmasqs().size() == 2);
    agent.settle(want_of({network_without_dhcp}, {}));
    CHECK(dnsmasqs().empty());
    REQUIRE(agent.driver.wipe().ok());
    agent.wipe_at_end = false;
  }
  CHECK(bridges() == "br-other\n");
  CHECK(interfaces() == "br-other\n");
  CHECK(dnsmasqs().empty());
  CHECK(netns_with_prefix("rp-") == std::vector<std::string>{"rp-by-hand"});
  CHECK_FALSE(std::filesystem::exists(run_dir));
  run({"/usr/bin/ovs-vsctl", "--timeout=10", "del-br", "br-other"});
  CHECK(remove_netns("rp-by-hand").ok());
}

TEST_CASE("what cannot be is said") {
  OvsHost::get();
  SECTION("an operator's bridge of that name is not taken") {
    run({"/usr/bin/ovs-vsctl", "--timeout=10", "add-br", "br-int", "--", "set", "bridge", "br-int",
         "datapath_type=netdev", "--", "add-port", "br-int", "lo-by-hand", "--", "set", "interface",
         "lo-by-hand", "type=internal"});
    {
      Agent agent;
      const auto done = agent.driver.perform(apply_all(want_of({net1}, {})));
      REQUIRE_FALSE(done.ok());
      CHECK(done.error().code == Errc::exists);
      CHECK(done.error().text.find("br-int") != std::string::npos);
    }
    CHECK(bridges() == "br-int\n");
    run({"/usr/bin/ovs-vsctl", "--timeout=10", "del-br", "br-int"});
  }
  SECTION("an uplink that is no device") {
    Agent agent(config_of("nosuch0"));
    const auto done = agent.driver.perform(apply_all(Want{}));
    REQUIRE_FALSE(done.ok());
    CHECK(done.error().code == Errc::not_found);
    CHECK(done.error().text.find("nosuch0") != std::string::npos);
  }
  SECTION("no Open vSwitch") {
    OvsConfig config = config_of();
    config.switch_.run_dir = "/run/test/nowhere";
    config.look_within = std::chrono::milliseconds(50);
    config.apply_within = std::chrono::milliseconds(50);
    OvsDriver driver(config);
    const auto have = driver.observe();
    REQUIRE_FALSE(have.ok());
    CHECK(have.error().code == Errc::unreachable);
    CHECK(driver.perform(apply_all(Want{})).error().code == Errc::unreachable);
  }
  SECTION("no dnsmasq") {
    OvsConfig config = config_of();
    config.dnsmasq = "/nowhere/dnsmasq";
    Agent agent(config);
    const AnyId id = net1.id.as<AnyId>();
    Action action{.step = Step::apply, .want = want_of({net1}, {port_want(21, 1)}), .retried = {}};
    CHECK(agent.driver.perform(action).ok());
    CHECK(agent.driver.observe()->troubles.at(id).find("/nowhere/dnsmasq") != std::string::npos);
    action.retried = id;
    const auto done = agent.driver.perform(action);
    REQUIRE_FALSE(done.ok());
    CHECK(done.error().code == Errc::not_found);
  }
}

}  // namespace reprise::network
