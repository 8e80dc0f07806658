// The flow table and dnsmasq's files, as text against text. BLESS=1 prints what a golden should be now.
#include <fmt/format.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

#include "agents/network/dhcp_files.h"
#include "agents/network/flows.h"
#include "agents/network/plan.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::network;

namespace {

Ipv4 ip(const char* text) { return *Ipv4::parse(text); }
NetworkId network_id(std::uint64_t n) { return {0xaaaa000000000000u | n, n}; }
PortId port_id(std::uint64_t n) { return {0xbbbb000000000000u | n, n}; }
SubnetId subnet_id(std::uint64_t n) { return {0xcccc000000000000u | n, n}; }

NetworkWant net_want(std::uint64_t n, std::uint16_t vlan) {
  NetworkWant want;
  want.id = network_id(n);
  want.born = {10 + n, 0};
  want.vlan = vlan;
  want.mtu = 1450;
  want.dhcp_mac = Mac{0xfa163e000000u | n};
  SubnetWant subnet;
  subnet.id = subnet_id(n);
  subnet.base = Ipv4{(10u << 24) | (static_cast<std::uint32_t>(n) << 8)};
  subnet.gateway = Ipv4{subnet.base.value + 1};
  subnet.dhcp_address = Ipv4{subnet.base.value + 2};
  want.subnets.push_back(subnet);
  return want;
}

PortWant port(std::uint64_t n, std::uint64_t net, std::vector<const char*> addresses,
              const char* hostname = "") {
  PortWant want;
  want.id = port_id(n);
  want.born = {20 + n, 1};
  want.network = network_id(net);
  want.mac = Mac{0x525400000000u | n};
  for (const char* address : addresses) want.addresses.push_back({subnet_id(net), ip(address)});
  want.hostname = hostname;
  return want;
}

Want want_of(std::vector<NetworkWant> networks, std::vector<PortWant> ports) {
  Want want;
  for (auto& one : networks) want.networks[one.id] = one;
  for (auto& one : ports) want.ports[one.id] = one;
  return want;
}

std::string text_of(const Want& want, const Ofports& ofports) {
  std::string text = "\n";
  for (const auto& flow : flows(want, ofports)) text += flow.text + "\n";
  return text;
}

void same(const std::string& got, const std::string& golden) {
  if (std::getenv("BLESS")) std::cout << got;
  CHECK(got == golden);
}

bool any_line(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("one guest on a single machine") {
  same(text_of(want_of({net_want(1, 101)}, {port(1, 1, {"10.0.1.21"})}),
               {{{port_id(1), 5}}, {{network_id(1), 2}}, {}}),
       R"(
table=0,priority=100,in_port=2,actions=set_field:101->reg5,resubmit(,30)
table=30,priority=100,reg5=101,dl_dst=fa:16:3e:00:00:01,actions=output:2
table=30,priority=97,reg5=101,arp,arp_tpa=10.0.1.2,actions=output:2
table=30,priority=97,reg5=101,arp,arp_tpa=169.254.169.254,actions=output:2
table=30,priority=97,reg5=101,udp,nw_dst=255.255.255.255,tp_src=68,tp_dst=67,actions=output:2
table=30,priority=20,reg5=101,in_port=2,actions=drop
table=30,priority=96,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,in_port=2,arp,actions=output:5
table=30,priority=96,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,in_port=2,udp,tp_src=67,tp_dst=68,actions=output:5
table=30,priority=95,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,in_port=2,actions=drop
table=30,priority=94,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,arp,actions=output:5,output:2
table=30,priority=90,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=output:2
table=0,priority=100,in_port=5,vlan_tci=0x0000/0x1fff,actions=set_field:101->reg5,resubmit(,10)
table=10,priority=50,in_port=5,udp,tp_src=67,actions=drop
table=10,priority=40,in_port=5,dl_src=52:54:00:00:00:01,arp,arp_sha=52:54:00:00:00:01,arp_spa=0.0.0.0,actions=resubmit(,30)
table=10,priority=40,in_port=5,dl_src=52:54:00:00:00:01,udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,tp_src=68,tp_dst=67,actions=resubmit(,30)
table=10,priority=35,in_port=5,dl_src=52:54:00:00:00:01,udp,tp_src=68,tp_dst=67,dl_dst=fa:16:3e:00:00:01,actions=resubmit(,30)
table=10,priority=35,in_port=5,dl_src=52:54:00:00:00:01,udp,tp_src=68,tp_dst=67,dl_dst=ff:ff:ff:ff:ff:ff,nw_dst=255.255.255.255,actions=resubmit(,30)
table=10,priority=40,in_port=5,dl_src=52:54:00:00:00:01,arp,arp_sha=52:54:00:00:00:01,arp_spa=10.0.1.21,actions=resubmit(,30)
table=10,priority=30,in_port=5,dl_src=52:54:00:00:00:01,ip,nw_src=10.0.1.21,actions=resubmit(,30)
table=30,priority=100,reg5=101,dl_dst=52:54:00:00:00:01,actions=output:5
)");
}

TEST_CASE("with an uplink the DHCP namespace stays on its node") {
  same(text_of(want_of({net_want(1, 101)}, {}), {{}, {{network_id(1), 2}}, 1}), R"(
table=0,priority=110,in_port=1,dl_vlan=101,dl_src=fa:16:3e:00:00:01,actions=drop
table=0,priority=110,in_port=1,dl_vlan=101,dl_dst=fa:16:3e:00:00:01,actions=drop
table=0,priority=110,in_port=1,dl_vlan=101,arp,arp_tpa=10.0.1.2,actions=drop
table=0,priority=110,in_port=1,dl_vlan=101,arp,arp_tpa=169.254.169.254,actions=drop
table=0,priority=109,in_port=1,dl_vlan=101,udp,tp_src=67,tp_dst=68,actions=drop
table=0,priority=100,in_port=1,dl_vlan=101,actions=strip_vlan,set_field:101->reg5,resubmit(,30)
table=30,priority=10,reg5=101,actions=push_vlan:0x8100,set_field:4197->vlan_vid,output:1
table=0,priority=100,in_port=2,actions=set_field:101->reg5,resubmit(,30)
table=30,priority=100,reg5=101,dl_dst=fa:16:3e:00:00:01,actions=output:2
table=30,priority=97,reg5=101,arp,arp_tpa=10.0.1.2,actions=output:2
table=30,priority=97,reg5=101,arp,arp_tpa=169.254.169.254,actions=output:2
table=30,priority=97,reg5=101,udp,nw_dst=255.255.255.255,tp_src=68,tp_dst=67,actions=output:2
table=30,priority=20,reg5=101,in_port=2,actions=drop
table=30,priority=96,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,in_port=2,arp,actions=drop
table=30,priority=96,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,in_port=2,udp,tp_src=67,tp_dst=68,actions=drop
table=30,priority=95,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,in_port=2,actions=drop
table=30,priority=94,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,arp,actions=output:2,push_vlan:0x8100,set_field:4197->vlan_vid,output:1
table=30,priority=90,reg5=101,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=output:2,push_vlan:0x8100,set_field:4197->vlan_vid,output:1
)");
}

TEST_CASE("a port that is down only drops, and no group reaches it") {
  auto down = port(1, 1, {"10.0.1.21"});
  down.admin_up = false;
  const auto text = text_of(want_of({net_want(1, 101)}, {down, port(2, 1, {"10.0.1.22"})}),
                            {{{port_id(1), 5}, {port_id(2), 6}}, {}, 1});
  CHECK(any_line(text, "table=0,priority=100,in_port=5,actions=drop\n"));
  CHECK(any_line(text, "table=30,priority=100,reg5=101,dl_dst=52:54:00:00:00:01,actions=drop\n"));
  CHECK(any_line(text, "arp,actions=output:6,push_vlan"));
  CHECK_FALSE(any_line(text, "output:5"));
  CHECK_FALSE(any_line(text, "table=10,priority=50,in_port=5"));
}

TEST_CASE("a network without DHCP has nothing of a DHCP namespace") {
  const auto flows_of = [](NetworkWant net) {
    return text_of(want_of({std::move(net)}, {port(1, 1, {"10.0.1.21"})}), {{{port_id(1), 5}}, {{network_id(1), 2}}, 1});
  };
  NetworkWant off = net_want(1, 101), none = off, bare = off;
  off.subnets[0].dhcp = false;  // the DHCP port is still there
  none.subnets[0].dhcp = false;
  none.subnets[0].dhcp_address = {};
  none.dhcp_mac = {};
  bare.subnets.clear();
  bare.dhcp_mac = {};
  for (const auto& net : {off, none, bare}) {
    const std::string text = flows_of(net);
    INFO(text);
    for (const char* part : {"in_port=2", "output:2", "fa:16:3e:00:00:01", "=00:00:00:00:00:00", "10.0.1.2,", "tp_src=68,tp_dst=67,dl_dst"})
      CHECK_FALSE(any_line(text, part));
    CHECK(any_line(text, "table=30,priority=100,reg5=101,dl_dst=52:54:00:00:00:01,actions=output:5\n"));
    CHECK(any_line(text, "nw_src=10.0.1.21,actions=resubmit(,30)\n"));
  }
}

TEST_CASE("of two that cannot both be, the lines of the younger come later") {
  auto old_net = net_want(9, 101), new_net = net_want(1, 101);
  old_net.born = {5, 0};
  auto old_port = port(8, 9, {"10.0.9.21"}), new_port = port(2, 9, {"10.0.9.22"});
  old_port.born = {6, 0};
  new_port.mac = old_port.mac;
  const auto lines = flows(want_of({old_net, new_net}, {old_port, new_port}),
                           {{{old_port.id, 5}, {new_port.id, 6}}, {}, 1});
  std::map<std::string, AnyId> first;
  std::set<AnyId> late;
  for (const auto& flow : lines) {
    const auto match = flow.text.substr(0, flow.text.find(",actions="));
    if (!first.try_emplace(match, flow.owner()).second) late.insert(flow.owner());
  }
  CHECK(late == std::set<AnyId>{new_net.id.as<AnyId>(), new_port.id.as<AnyId>()});
}

TEST_CASE("the plan: all at once, or the next one in trouble") {
  Want want = want_of({net_want(1, 101)}, {port(1, 1, {"10.0.1.21"})});
  Have have;
  const AnyId all{}, one{1, 1}, two{2, 2};
  const auto retried = [&](const std::set<AnyId>& skip) -> std::optional<AnyId> {
    const auto action = next_action(want, have, skip);
    if (action) CHECK(action->want == present(want));
    return action ? std::optional(action->retried) : std::nullopt;
  };
  CHECK(retried({}) == all);
  CHECK(retried({one}) == all);
  CHECK(retried({all}) == std::nullopt);
  have.applied = present(want);
  CHECK(retried({}) == all);
  have.in_force = true;
  CHECK(retried({}) == std::nullopt);
  have.troubles = {{one, "why"}, {two, "why"}};
  CHECK(retried({}) == one);
  CHECK(retried({all, one}) == two);
  CHECK(retried({one, two}) == std::nullopt);
  want.ports.begin()->second.admin_up = false;
  CHECK(retried({one, two}) == all);
  CHECK(next_action(want, have)->retried == all);
}

TEST_CASE("several addresses of one port may each be used, no other") {
  const auto text = text_of(want_of({net_want(1, 101)}, {port(1, 1, {"10.0.1.21", "10.0.1.77"})}),
                            {{{port_id(1), 5}}, {}, {}});
  for (const char* address : {"10.0.1.21", "10.0.1.77"}) {
    CHECK(any_line(text, fmt::format("ip,nw_src={},actions=resubmit(,30)\n", address)));
    CHECK(
        any_line(text, fmt::format("arp_sha=52:54:00:00:00:01,arp_spa={},actions=resubmit(,30)\n", address)));
  }
}

TEST_CASE("networks are kept apart by reg5, ports without tap or network have no flow") {
  const auto want =
      want_of({net_want(1, 101), net_want(2, 102)}, {port(1, 1, {"10.0.1.21"}), port(2, 2, {"10.0.2.22"}),
                                                     port(3, 1, {"10.0.1.23"}), port(4, 9, {"10.0.9.24"})});
  const auto lines = flows(
      want,
      {{{port_id(1), 5}, {port_id(2), 6}, {port_id(4), 8}}, {{network_id(1), 2}, {network_id(2), 3}}, {}});
  for (const auto& flow : lines) {
    INFO(flow.text);
    CHECK(flow.port != port_id(3));
    CHECK(flow.port != port_id(4));
    CHECK_FALSE(any_line(flow.text, "NORMAL"));
    if (any_line(flow.text, "table=30")) {
      const bool of_first = any_line(flow.text, "reg5=101,");
      CHECK(of_first != any_line(flow.text, "reg5=102,"));
      CHECK_FALSE(any_line(flow.text, of_first ? "output:6" : "output:5"));
      CHECK_FALSE(any_line(flow.text, of_first ? "output:3" : "output:2"));
    }
  }
}

TEST_CASE("nothing wanted, no flow") { CHECK(flows(Want{}, {{{port_id(1), 5}}, {}, 1}).empty()); }

TEST_CASE("dnsmasq's files") {
  auto net = net_want(1, 101);
  net.subnets[0].dns = {ip("9.9.9.9"), ip("8.8.8.8")};
  auto second = net.subnets[0];  // without a gateway, without DNS
  second.id = subnet_id(7);
  second.base = ip("10.0.7.0");
  second.prefix = 28;
  second.gateway = {};
  second.dhcp_address = ip("10.0.7.2");
  second.dns = {};
  auto third = second;  // no DHCP in it
  third.id = subnet_id(8);
  third.dhcp = false;
  third.dhcp_address = {};
  net.subnets.push_back(second);
  net.subnets.push_back(third);

  auto a = port(1, 1, {"10.0.1.21"}, "web-1");
  auto b = port(2, 1, {}, "only-in-third");
  b.addresses.push_back({subnet_id(8), ip("10.0.8.9")});
  auto c = port(3, 7, {"10.0.7.5", "10.0.7.6"}, "infinite");
  same("\n" + dhcp_hosts(net, {&a, &b, &c}), R"(
# network aaaa0000-0000-0001-0000-000000000001 born 11.0
# port bbbb0000-0000-0001-0000-000000000001 born 21.1
52:54:00:00:00:01,10.0.1.21,web-1,86400
# port bbbb0000-0000-0002-0000-000000000002 born 22.1
# port bbbb0000-0000-0003-0000-000000000003 born 23.1
52:54:00:00:00:03,10.0.7.5,86400
)");
  same("\n" + dhcp_options(net), R"(
tag:scccc0000000000010000000000000001,option:router,10.0.1.1
tag:scccc0000000000010000000000000001,option:dns-server,9.9.9.9,8.8.8.8
tag:scccc0000000000010000000000000001,option:classless-static-route,169.254.169.254/32,10.0.1.2,0.0.0.0/0,10.0.1.1
tag:scccc0000000000010000000000000001,option:mtu,1450
tag:scccc0000000000070000000000000007,option:router
tag:scccc0000000000070000000000000007,option:dns-server
tag:scccc0000000000070000000000000007,option:classless-static-route,169.254.169.254/32,10.0.7.2
tag:scccc0000000000070000000000000007,option:mtu,1450
)");
  std::string told = "\n";
  for (const auto& argument : dhcp_argv(net, "/usr/sbin/dnsmasq", "/run/x"))
    for (const char* option : {"--dhcp-range", "--user", "--group"})
      if (argument.starts_with(option)) told += argument + "\n";
  same(told, R"(
--dhcp-range=set:scccc0000000000010000000000000001,10.0.1.0,static,255.255.255.0,86400s
--dhcp-range=set:scccc0000000000070000000000000007,10.0.7.0,static,255.255.255.240,86400s
--user=dnsmasq
--group=nogroup
)");
}

TEST_CASE("a hosts file says whose it is") {
  const auto net = net_want(1, 101);
  const auto a = port(1, 1, {"10.0.1.21"}, "web"), b = port(2, 1, {"10.0.1.22"});
  const auto says = read_dhcp_hosts(dhcp_hosts(net, {&a, &b}));
  CHECK((says.network == NetworkHave{net.id, net.born}));
  REQUIRE(says.ports.size() == 2);
  CHECK(says.ports.at({a.id, a.born}) == "52:54:00:00:00:01,10.0.1.21,web,86400\n");
  CHECK(says.ports.at({b.id, b.born}) == "52:54:00:00:00:02,10.0.1.22,86400\n");
  CHECK(read_dhcp_hosts("# network nonsense born x\n# port 1 born 2.0\n,,\n").ports.empty());
}

TEST_CASE("a hostname that dnsmasq would read as something else is left out") {
  const auto net = net_want(1, 101);
  for (const char* name :
       {"", "infinite", "ignore", "12h", "10.0.0.9", "a b", "a,b", "a\n52:54:00:00:00:99,10.0.1.99,infinite",
        "set:x", "id:*", "-a", "a-", "a#b", "aa:bb"}) {
    const auto one = port(1, 1, {"10.0.1.21"}, name);
    INFO(name);
    CHECK(any_line(dhcp_hosts(net, {&one}), "\n52:54:00:00:00:01,10.0.1.21,86400\n"));
    CHECK(read_dhcp_hosts(dhcp_hosts(net, {&one})).ports.size() == 1);
  }
}
