// What guests are told, as they hear it when their lease is renewed: on a real dnsmasq, by frames of our own. And
// what hangs, is lost or is full on the host while the network agent runs.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "agents/network/netlink.h"
#include "agents/network/plan.h"
#include "tests/contract/network_agent.h"
#include "tests/contract/network_host.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::network {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::size_t dhcp_at = 14 + 20 + 8;  // Ethernet, IPv4, UDP
enum : unsigned char { dhcp_ack = 5, dhcp_nak = 6 };

void put32(std::string& text, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
}
std::uint32_t get32(const Frame& frame, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | frame.at(at + i);
  return value;
}

// DHCPREQUEST of a client that has the address (RFC 2131, 4.3.2: RENEWING, or REBINDING when sent to all).
std::string renewal(Mac mac, Ipv4 has, std::uint32_t xid) {
  std::string text{"\x01\x01\x06\x00", 4};
  put32(text, xid);
  put32(text, 0);
  put32(text, has.value);
  text.append(12, '\0');
  for (int i = 5; i >= 0; --i) text += static_cast<char>(mac.value >> (8 * i));
  text.append(10 + 64 + 128, '\0');
  text += "\x63\x82\x53\x63";
  text += std::string("\x35\x01\x03\x37\x06\x01\x03\x06\x33\x3a\x79\xff", 12);
  return text;
}

struct Answer {
  unsigned char type = 0;
  std::uint32_t lease_s = 0, t1_s = 0;
  std::vector<std::string> dns;
};

Answer read_answer(const Frame& frame) {
  Answer answer;
  for (std::size_t at = dhcp_at + 240; at + 1 < frame.size() && frame[at] != 255;) {
    const unsigned code = frame[at], size = frame[at + 1];
    const std::size_t value = at + 2;
    if (code == 53) answer.type = frame.at(value);
    if (code == 51) answer.lease_s = get32(frame, value);
    if (code == 58) answer.t1_s = get32(frame, value);
    for (std::size_t i = 0; code == 6 && i + 4 <= size; i += 4) answer.dns.push_back(Ipv4{get32(frame, value + i)}.str());
    at = value + size;
  }
  return answer;
}

// What the guest hears when it renews the address that it has.
Answer renew(const Guest& guest, Ipv4 has, const NetworkWant& network, bool to_all = false) {
  static std::uint32_t xid = 0x52500000;
  ++xid;
  const Nic nic(guest.netns(), "eth0");
  const std::string text = renewal(guest.port.mac, has, xid);
  nic.send(to_all ? udp_frame(guest.port.mac, Mac{0xffffffffffff}, has, Ipv4{0xffffffff}, text, 68, 67)
                  : udp_frame(guest.port.mac, network.dhcp_mac, has, network.subnets[0].dhcp_address, text, 68, 67));
  const auto frames = nic.until([&](const Frame& frame) {
    return frame.size() > dhcp_at + 240 && frame[23] == 17 && get32(frame, dhcp_at + 4) == xid && frame[dhcp_at] == 2;
  });
  return read_answer(frames.back());
}

const NetworkWant net1 = network_want(1), net2 = network_want(2);

// Two guests on one network that have leased their addresses, and one on another network.
struct Leased {
  Leased() {
    agent.settle(want);
    for (auto* guest : {&a, &b, &c}) guest->plug();
    agent.settle(want, {&a, &b, &c});
    for (auto* guest : {&a, &b, &c}) REQUIRE_FALSE(guest->dhcp().empty());
  }
  PortWant& port(const Guest& guest) { return want.ports.at(guest.port.id); }
  Ipv4 address(const Guest& guest) { return guest.port.addresses[0].address; }

  Agent agent;
  Guest a{port_want(21, 1)}, b{port_want(22, 1)}, c{port_want(23, 2)};
  Want want = want_of({net1, net2}, {a.port, b.port, c.port});
};

bool takes_less(milliseconds most, const std::function<void()>& what) {
  const auto from = std::chrono::steady_clock::now();
  what();
  const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - from);
  UNSCOPED_INFO("took " << took.count() << " ms");
  return took < most;
}

Action apply_all(const Want& want) { return {.step = Step::apply, .want = want, .retried = {}}; }

}  // namespace

TEST_CASE("a lease is for a day, and what changed is heard at its renewal") {
  Leased at;
  const Answer first = renew(at.a, at.address(at.a), net1);
  CHECK(first.type == dhcp_ack);
  CHECK(first.lease_s == lease_s);
  CHECK((first.t1_s > lease_s / 4 && first.t1_s <= lease_s / 2));
  CHECK(first.dns == std::vector<std::string>{"9.9.9.9"});
  const auto pids = dnsmasqs();

  SECTION("other name servers") {
    at.want.networks.at(net1.id).subnets[0].dns = {*Ipv4::parse("1.1.1.1"), *Ipv4::parse("8.8.8.8")};
    at.agent.settle(at.want);
    CHECK(renew(at.a, at.address(at.a), net1).dns == std::vector<std::string>{"1.1.1.1", "8.8.8.8"});
    CHECK(renew(at.c, at.address(at.c), net2).dns == std::vector<std::string>{"9.9.9.9"});
    CHECK(dnsmasqs() == pids);
  }
  SECTION("other name servers, given while dnsmasq was down") {
    for (const pid_t pid : pids) kill_and_wait(pid);
    at.want.networks.at(net1.id).subnets[0].dns = {*Ipv4::parse("1.1.1.1")};
    at.agent.settle(at.want);
    const Answer answer = renew(at.a, at.address(at.a), net1);
    CHECK(answer.type == dhcp_ack);  // although it has forgotten the lease
    CHECK(answer.dns == std::vector<std::string>{"1.1.1.1"});
  }
  SECTION("a dnsmasq that is new knows no lease, and renews it all the same") {
    for (const pid_t pid : pids) kill_and_wait(pid);
    at.agent.settle(at.want);
    for (const bool to_all : {false, true}) {
      CHECK(renew(at.a, at.address(at.a), net1, to_all).type == dhcp_ack);
      CHECK(renew(at.b, at.address(at.b), net1, to_all).lease_s == lease_s);
    }
  }
  SECTION("another address: the old one is refused, the new one given; the neighbours notice nothing") {
    at.port(at.a).addresses[0].address = *Ipv4::parse("10.0.1.41");
    at.agent.settle(at.want, {&at.a});
    CHECK(dnsmasqs() == pids);
    CHECK_FALSE(at.a.pings(at.address(at.b), 1));
    CHECK(renew(at.a, at.address(at.a), net1, GENERATE(false, true)).type == dhcp_nak);
    CHECK(renew(at.b, at.address(at.b), net1).type == dhcp_ack);
    run(within(at.a.netns(), {"/usr/sbin/ip", "address", "flush", "dev", "eth0"}));
    CHECK(at.a.dhcp().find("ip=10.0.1.41\n") != std::string::npos);
    CHECK(at.a.pings(at.address(at.b)));
  }
  SECTION("two ports change their addresses over") {
    std::swap(at.port(at.a).addresses, at.port(at.b).addresses);
    at.agent.settle(at.want, {&at.a, &at.b});
    for (auto* guest : {&at.a, &at.b}) {
      CHECK(renew(*guest, at.address(*guest), net1).type == dhcp_nak);
      run(within(guest->netns(), {"/usr/sbin/ip", "address", "flush", "dev", "eth0"}));
    }
    CHECK(at.a.dhcp().find("ip=10.0.1.22\n") != std::string::npos);
    CHECK(at.b.dhcp().find("ip=10.0.1.21\n") != std::string::npos);
    CHECK(at.a.pings(*Ipv4::parse("10.0.1.21")));
  }
  SECTION("another MAC") {
    at.port(at.a).mac = *Mac::parse("52:54:00:00:00:77");
    at.agent.settle(at.want);
    CHECK_FALSE(at.a.pings(at.address(at.b), 1));
    CHECK(renew(at.b, at.address(at.b), net1).type == dhcp_ack);
    run(within(at.a.netns(), {"/usr/sbin/ip", "link", "set", "eth0", "address", "52:54:00:00:00:77"}));
    CHECK(at.a.dhcp().find("ip=10.0.1.21\n") != std::string::npos);
    CHECK(at.a.pings(at.address(at.b)));
  }
}

TEST_CASE("a network without DHCP has no namespace, and its ports are ready") {
  Leased at;
  NetworkWant& net = at.want.networks.at(net1.id);
  net.subnets[0].dhcp = false;
  SECTION("its DHCP port is still there") {}
  SECTION("its DHCP port is gone too") {
    net.subnets[0].dhcp_address = {};
    net.dhcp_port = {};
    net.dhcp_mac = {};
  }
  at.agent.settle(at.want, {&at.a, &at.b, &at.c});
  CHECK(dnsmasqs().size() == 1);
  CHECK(netns_with_prefix("rp-") == std::vector<std::string>{namespace_name(net2.id)});
  CHECK(interfaces().find(leg_name(net1.id)) == std::string::npos);
  CHECK(at.a.pings(at.address(at.b)));
  CHECK(renew(at.c, at.address(at.c), net2).type == dhcp_ack);

  Guest d(port_want(24, 2));  // and the others go on
  d.plug();
  at.want.ports[d.port.id] = d.port;
  at.agent.settle(at.want, {&d});
  CHECK_FALSE(d.dhcp().empty());

  at.want.networks.at(net1.id) = net1;
  at.agent.settle(at.want, {&at.a, &at.b});
  CHECK(renew(at.a, at.address(at.a), net1).type == dhcp_ack);
}

TEST_CASE("one of a network's two subnets has DHCP no more") {
  Agent agent;
  NetworkWant net = net1;
  SubnetWant second = net2.subnets[0];
  net.subnets.push_back(second);
  Guest a(port_want(21, 1));
  PortWant other = port_want(22, 1);
  other.addresses = {{second.id, *Ipv4::parse("10.0.2.22")}};
  Guest b(other);
  Want want = want_of({net}, {a.port, b.port});
  agent.settle(want);
  for (auto* guest : {&a, &b}) guest->plug();
  agent.settle(want, {&a, &b});
  CHECK(a.dhcp().find("ip=10.0.1.21\n") != std::string::npos);
  CHECK(b.dhcp().find("ip=10.0.2.22\n") != std::string::npos);
  want.networks.at(net.id).subnets[1].dhcp = false;
  agent.settle(want, {&a, &b});
  CHECK(renew(a, a.port.addresses[0].address, net).type == dhcp_ack);
  CHECK(dnsmasqs().size() == 1);
}

TEST_CASE("what may be over in a moment is tried again, and is no error yet") {
  OvsConfig config = config_of();
  config.patience = std::chrono::hours(1);
  Agent agent(config);
  const Want want = present(want_of({net1}, {port_want(21, 1)}));
  set_dnsmasq(net1.id, "die");
  CHECK(agent.driver.perform(apply_all(want)).ok());
  const auto have = agent.driver.observe();
  REQUIRE(have.ok());
  CHECK(have->troubles == std::map<AnyId, std::string>{{net1.id.as<AnyId>(), ""}});
  CHECK(next_action(want, *have)->retried == net1.id.as<AnyId>());
  set_dnsmasq(net1.id, "");
  agent.settle(want);
}

// The core gives the driver what was last in force, although the log cannot be asked.
TEST_CASE("cut off from the log, what was in force is put back at once") {
  auto first = std::make_unique<Agent>();
  Guest a(port_want(21, 1)), b(port_want(22, 1));
  const Want want = want_of({net1}, {a.port, b.port});
  first->settle(Want{});
  for (auto* guest : {&a, &b}) {
    guest->plug();
    guest->use_address();
  }
  first->settle(want, {&a, &b});
  const Ipv4 ib = b.port.addresses[0].address;
  REQUIRE(a.pings(ib));
  const auto killed = GENERATE(std::vector<std::string>{"ovs-vswitchd"}, std::vector<std::string>{"ovsdb-server"},
                               std::vector<std::string>{"ovsdb-server", "ovs-vswitchd"});
  INFO(fmt::format("killed: {}", fmt::join(killed, " and ")));

  SECTION("by the process that applied it") {
    const auto seen = first->wakes();
    for (const auto& name : killed) kill_and_wait(OvsHost::get().pid(name));
    CHECK(takes_less(milliseconds(2'000), [&] { first->wait_after(seen); }));
    for (const auto& name : killed) (void)OvsHost::get().pid(name);
    if (killed.back() == "ovs-vswitchd")
      for (std::uint64_t now = first->wakes();; now = first->wait_after(now))
        if (const auto have = first->driver.observe(); have && !have->in_force) break;
    CHECK(takes_less(milliseconds(4'000), [&] { first->settle(want, {&a, &b}); }));
    CHECK(a.pings(ib));
  }
  SECTION("by one that was started meanwhile, which tears nothing down before") {
    first->wipe_at_end = false;
    first.reset();
    Agent second;
    for (std::uint64_t now = second.wakes();; now = second.wait_after(now)) {
      const auto have = second.driver.observe();
      if (!have || have->ports.size() != 2) continue;
      if (have->ports.at({a.port.id, a.port.born}).ready) break;
    }
    CHECK(a.pings(ib));
    for (const auto& name : killed) kill_and_wait(OvsHost::get().pid(name));
    for (const auto& name : killed) (void)OvsHost::get().pid(name);
    if (killed.back() == "ovsdb-server") CHECK(a.pings(ib, 15));  // all is there, nobody had to apply
    const auto have = second.driver.observe();
    if (have) CHECK_FALSE(have->in_force);
    second.settle(want, {&a, &b});
    CHECK(a.pings(ib));
  }
}

TEST_CASE("a daemon that hangs is said within the deadline, and heals when it goes on") {
  OvsConfig config = config_of();
  config.look_within = milliseconds(300);
  config.apply_within = milliseconds(500);
  Agent agent(config);
  Guest a(port_want(21, 1));
  Want want = want_of({net1, net2}, {a.port, port_want(23, 2)});
  agent.settle(want);
  a.plug();
  agent.settle(want, {&a});
  Want more = want;
  more.ports[port_want(22, 1).id] = port_want(22, 1);
  more.networks[network_want(3).id] = network_want(3);

  SECTION("Open vSwitch's") {
    const std::string name = GENERATE("ovs-vswitchd", "ovsdb-server");
    const pid_t pid = OvsHost::get().pid(name);
    REQUIRE(kill(pid, SIGSTOP) == 0);
    for (int twice = 0; twice < 2; ++twice) {
      CHECK(takes_less(milliseconds(2'000), [&] {
        const auto have = agent.driver.observe();
        if (have && name == "ovs-vswitchd") CHECK_FALSE(have->in_force);
      }));
      CHECK(takes_less(milliseconds(5'000), [&] {
        const auto done = agent.driver.perform(apply_all(more));
        REQUIRE_FALSE(done.ok());
        const bool tells_whose = done.error().text.find(name) != std::string::npos ||
                                 done.error().text.find("database") != std::string::npos;
        CHECK(tells_whose);
      }));
    }
    REQUIRE(kill(pid, SIGCONT) == 0);
  }
  SECTION("dnsmasq: only its own network is not ready, and it is replaced") {
    const auto pids = dnsmasqs();
    REQUIRE(pids.size() == 2);
    siginfo_t stopped;
    REQUIRE(kill(pids[0], SIGSTOP) == 0);
    REQUIRE(waitid(P_PID, static_cast<id_t>(pids[0]), &stopped, WSTOPPED) == 0);
    const auto have = agent.driver.observe();
    REQUIRE(have.ok());
    CHECK_FALSE(have->in_force);
    CHECK(std::ranges::count_if(have->ports, [](const auto& port) { return port.second.ready; }) == 1);
  }
  agent.settle(more, {&a});
  CHECK(a.dhcp().find("ip=10.0.1.21\n") != std::string::npos);
}

TEST_CASE("what is lost, foreign or full on the host is said, nothing is called absent, and it heals") {
  Leased at;
  Want more = at.want;
  more.ports[port_want(31, 1).id] = port_want(31, 1);
  more.networks[network_want(3).id] = network_want(3);
  more.ports[port_want(33, 3).id] = port_want(33, 3);
  const std::string aside = std::string(run_dir) + ".aside", fill = "/run/test/ovs/fill";
  std::function<void()> mend = [] {};
  bool on_its_own = true;  // a part of it that goes on
  std::string says;

  SECTION("the agent's folder is lost") { fs::remove_all(run_dir); }
  SECTION("the agent's folder is a file") {
    fs::rename(run_dir, aside);
    std::ofstream(run_dir) << "mine\n";
    mend = [] { fs::remove(run_dir); };
    says = "cannot make the folder";
  }
  SECTION("the agent's folder is read-only") {
    REQUIRE(mount(run_dir, run_dir, nullptr, MS_BIND, nullptr) == 0);
    REQUIRE(mount(nullptr, run_dir, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
    mend = [] { REQUIRE(umount2(run_dir, MNT_DETACH) == 0); };
    says = "Read-only";
  }
  SECTION("no namespace can be made") {
    REQUIRE(mount(nullptr, "/run/netns", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
    mend = [] { REQUIRE(mount(nullptr, "/run/netns", nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0); };
    says = "Read-only";
  }
  SECTION("Open vSwitch's database is full") {
    std::ofstream file(fill);
    const std::string page(4096, 'x');
    while (file.write(page.data(), static_cast<std::streamsize>(page.size())).flush()) {
    }
    for (unsigned n = 40; n < 56; ++n) more.networks[network_want(n).id] = network_want(n);  // past its last page
    mend = [fill] { fs::remove(fill); };
    says = "database";
    on_its_own = false;
  }

  const auto done = at.agent.driver.perform(apply_all(more));
  CHECK(done.ok() == on_its_own);
  auto have = at.agent.driver.observe();
  REQUIRE(have.ok());
  for (const auto* guest : {&at.a, &at.b, &at.c}) CHECK(have->ports.contains({guest->port.id, guest->port.born}));
  std::string said = done ? "" : done.error().text;
  for (const auto& [id, why] : have->troubles) said += "\n" + why;
  INFO(said);
  CHECK(said.find(says) != std::string::npos);
  CHECK(at.a.pings(at.address(at.b)));  // what runs keeps running

  mend();
  at.agent.settle(more, {&at.a, &at.b, &at.c});
  have = at.agent.driver.observe();
  REQUIRE(have.ok());
  for (const auto& [key, port] : have->ports) CHECK(port.ready);
  CHECK(have->ports.size() == 5);
  CHECK(renew(at.a, at.address(at.a), net1).type == dhcp_ack);
  fs::remove_all(aside);
}

}  // namespace reprise::network
