#include <fmt/format.h>

#include <set>

#include "tests/unit/api_rig.h"

namespace reprise::api {
namespace {

const std::string v2 = "/network/v2.0";

std::string add_network(ApiRig& rig, const std::string& more = "", Headers headers = {}) {
  const auto made = rig.ask("POST", v2 + "/networks",
                            fmt::format(R"({{"network":{{"name":"net"{}}}}})", more), std::move(headers));
  REQUIRE(made.status() == 201);
  return made.text("network.id");
}
RigAnswer add_subnet(ApiRig& rig, const std::string& network,
                     const std::string& more = R"("cidr":"10.0.0.0/24")", Headers headers = {}) {
  return rig.ask("POST", v2 + "/subnets",
                 fmt::format(R"({{"subnet":{{"network_id":"{}","ip_version":4,{}}}}})", network, more),
                 std::move(headers));
}
RigAnswer add_port(ApiRig& rig, const std::string& network, const std::string& more = "",
                   Headers headers = {}) {
  return rig.ask("POST", v2 + "/ports", fmt::format(R"({{"port":{{"network_id":"{}"{}}}}})", network, more),
                 std::move(headers));
}
std::string message(const RigAnswer& answer) { return answer.text("NeutronError.message"); }

}  // namespace

TEST_CASE("A network: as asked, changed, in use, gone", "[network]") {
  ApiRig rig;
  const auto id = add_network(rig, R"(,"description":"d","mtu":1400,"admin_state_up":false)");
  const auto shown = rig.ask("GET", v2 + "/networks/" + id);
  CHECK(shown.text("network.status") == "ACTIVE");
  CHECK(shown.text("network.mtu") == "1400");
  CHECK(shown.text("network.admin_state_up") == "false");
  CHECK(shown.text("network.provider:network_type") == "vlan");
  CHECK(shown.text("network.project_id") == rig.genesis.project.hex());
  CHECK(rig.ask("PUT", v2 + "/networks/" + id, R"({"network":{"name":"other","admin_state_up":true}})")
            .text("network.name") == "other");
  CHECK(rig.ask("PUT", v2 + "/networks/" + id, R"({"network":{"mtu":1500}})").status() == 400);

  REQUIRE(add_subnet(rig, id).status() == 201);
  CHECK(rig.ask("GET", v2 + "/networks/" + id).size("network.subnets") == 1);
  const auto port = add_port(rig, id);
  REQUIRE(port.status() == 201);
  const auto used = rig.ask("DELETE", v2 + "/networks/" + id);
  CHECK(used.status() == 409);
  CHECK(used.text("NeutronError.type") == "NetworkInUse");
  CHECK(rig.ask("DELETE", v2 + "/ports/" + port.text("port.id")).status() == 204);
  CHECK(rig.ask("DELETE", v2 + "/networks/" + id).status() == 204);
  CHECK(rig.ask("GET", v2 + "/networks").size("networks") == 0);
  CHECK(rig.ask("GET", v2 + "/subnets").size("subnets") == 0);
  CHECK(rig.ask("GET", v2 + "/ports").size("ports") == 0);
}

TEST_CASE("Only admins see and choose what a network is made of", "[network]") {
  ApiRig rig;
  const Headers member{{"X-Auth-Token", rig.add_project("eve")}};
  const auto id = add_network(rig, "", member);
  CHECK(rig.ask("GET", v2 + "/networks/" + id, "", member).text("network.provider:segmentation_id").empty());
  const auto vlan = rig.ask("GET", v2 + "/networks/" + id).text("network.provider:segmentation_id");
  CHECK_FALSE(vlan.empty());
  const auto chosen =
      R"({"network":{"name":"x","provider:network_type":"vlan","provider:segmentation_id":)" + vlan + "}}";
  CHECK(rig.ask("POST", v2 + "/networks", chosen, member).status() == 403);
  const auto taken = rig.ask("POST", v2 + "/networks", chosen);
  CHECK(taken.status() == 409);
  CHECK(taken.text("NeutronError.type") == "VlanIdInUse");
  CHECK(rig.ask("POST", v2 + "/networks", R"({"network":{"provider:network_type":"vxlan"}})").status() ==
        400);
  CHECK(rig.ask("POST", v2 + "/networks", R"({"network":{"shared":true}})", member).status() == 403);

  const auto shared = add_network(rig, R"(,"shared":true)");
  REQUIRE(add_subnet(rig, shared).status() == 201);
  CHECK(rig.ask("GET", v2 + "/networks", "", member).size("networks") == 2);
  CHECK(rig.ask("GET", v2 + "/subnets", "", member).size("subnets") == 1);
  CHECK(add_port(rig, shared, "", member).status() == 201);
  CHECK(add_subnet(rig, shared, R"("cidr":"10.9.0.0/24")", member).status() == 404);
  CHECK(rig.ask("DELETE", v2 + "/networks/" + shared, "", member).status() == 404);
}

TEST_CASE("A subnet: neutron's defaults, its own choices, and what is refused", "[network]") {
  ApiRig rig;
  const auto net = add_network(rig);
  const auto plain = add_subnet(rig, net);
  REQUIRE(plain.status() == 201);
  CHECK(plain.text("subnet.gateway_ip") == "10.0.0.1");
  CHECK(plain.text("subnet.enable_dhcp") == "true");
  CHECK(plain.text("subnet.allocation_pools.0.start") == "10.0.0.2");
  CHECK(plain.text("subnet.allocation_pools.0.end") == "10.0.0.254");
  const auto dhcp = rig.ask("GET", v2 + "/ports?device_owner=network:dhcp");
  REQUIRE(dhcp.size("ports") == 1);
  CHECK(dhcp.text("ports.0.fixed_ips.0.subnet_id") == plain.text("subnet.id"));

  const auto own = add_subnet(
      rig, net,
      R"("cidr":"10.1.0.0/24","gateway_ip":null,"enable_dhcp":false,"dns_nameservers":["9.9.9.9"],)"
      R"("allocation_pools":[{"start":"10.1.0.50","end":"10.1.0.60"},{"start":"10.1.0.10","end":"10.1.0.20"}])");
  REQUIRE(own.status() == 201);
  CHECK(own.text("subnet.gateway_ip") == "null");
  CHECK(own.text("subnet.dns_nameservers.0") == "9.9.9.9");
  CHECK(own.text("subnet.allocation_pools.0.start") == "10.1.0.10");

  for (const char* bad :
       {R"("cidr":"10.2.0.0")", R"("cidr":"10.2.0.0/33")", R"("cidr":"10.2.0.1/24")", R"("cidr":"fd00::/64")",
        R"("cidr":"10.2.0.0/31")", R"("cidr":"10.2.0.0/24","gateway_ip":"10.3.0.1")",
        R"("cidr":"10.2.0.0/24","allocation_pools":[{"start":"10.2.0.9","end":"10.2.0.5"}])",
        R"("cidr":"10.2.0.0/24","dns_nameservers":["x"])",
        R"("cidr":"10.2.0.0/24","host_routes":[{"destination":"0.0.0.0/0","nexthop":"10.2.0.1"}])",
        R"("cidr":"10.0.0.128/25")"}) {
    INFO(bad);
    const auto refused = add_subnet(rig, net, bad);
    CHECK(refused.status() == 400);
    CHECK(message(refused).size() > 10);
  }
  CHECK(add_subnet(rig, "6e2c1e2a-0000-4000-8000-000000000000").status() == 404);

  const auto path = v2 + "/subnets/" + own.text("subnet.id");
  CHECK(rig.ask("PUT", path, R"({"subnet":{"name":"s","dns_nameservers":[],"gateway_ip":null}})")
            .size("subnet.dns_nameservers") == 0);
  CHECK(rig.ask("PUT", path, R"({"subnet":{"enable_dhcp":true}})").status() == 400);
  CHECK(rig.ask("PUT", path, R"({"subnet":{"gateway_ip":"10.1.0.1"}})").status() == 400);
  CHECK(rig.ask("DELETE", path).status() == 204);
  CHECK(rig.ask("GET", path).status() == 404);
}

// Each address that no host can have, in each place that takes one, by each way in.
TEST_CASE("Addresses that cannot be are refused wherever one is given", "[network]") {
  ApiRig rig;
  const auto net = add_network(rig);
  for (const char* cidr : {"0.0.0.0/8", "0.1.0.0/16", "127.0.0.0/8", "127.1.2.0/24", "169.254.0.0/16", "169.254.169.0/24",
                           "224.0.0.0/24", "239.255.255.0/24", "240.0.0.0/8", "255.255.255.0/24", "0.0.0.0/0", "128.0.0.0/1",
                           "10.2.0.0/31", "10.2.0.0/32"})
    for (const char* dhcp : {"true", "false"}) {
      INFO(cidr << " dhcp " << dhcp);
      const auto refused = add_subnet(rig, net, fmt::format(R"("cidr":"{}","enable_dhcp":{})", cidr, dhcp));
      CHECK(refused.status() == 400);
      CHECK(message(refused).size() > 10);
    }
  const char* nobodys[] = {"0.0.0.0", "0.0.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255",
                           "10.2.0.0", "10.2.0.255", "256.1.1.1", "10.2.0", "10.2.0.01", "fd00::1"};
  const auto subnet = [&](const std::string& more) { return add_subnet(rig, net, R"("cidr":"10.2.0.0/24",)" + more); };
  const auto good = subnet(R"("name":"good")");
  REQUIRE(good.status() == 201);
  const auto other = add_network(rig);
  for (const std::string address : nobodys) {
    INFO(address);
    const bool outside = !address.starts_with("10.2.0.") || address == "10.2.0.01";
    const auto elsewhere = [&](const std::string& more) { return add_subnet(rig, other, R"("cidr":"10.2.0.0/24",)" + more); };
    CHECK(elsewhere(fmt::format(R"("gateway_ip":"{}")", address)).status() == 400);
    CHECK(elsewhere(fmt::format(R"("allocation_pools":[{{"start":"{}","end":"10.2.0.9"}}])", address)).status() == 400);
    CHECK(elsewhere(fmt::format(R"("allocation_pools":[{{"start":"10.2.0.9","end":"{}"}}])", address)).status() == 400);
    CHECK(add_port(rig, net, fmt::format(R"(,"fixed_ips":[{{"ip_address":"{}"}}])", address)).status() == 400);
    CHECK(add_port(rig, net, fmt::format(R"(,"fixed_ips":[{{"subnet_id":"{}","ip_address":"{}"}}])", good.text("subnet.id"), address))
              .status() == 400);
    if (!outside) continue;  // a network's own or broadcast address is a name server's somewhere else
    const auto dns = fmt::format(R"("dns_nameservers":["{}"])", address);
    CHECK(elsewhere(dns).status() == 400);
    CHECK(rig.ask("PUT", v2 + "/subnets/" + good.text("subnet.id"), fmt::format(R"({{"subnet":{{{}}}}})", dns)).status() == 400);
  }
  CHECK(subnet(R"("dns_nameservers":["9.9.9.9","9.9.9.9"])").status() == 400);
  for (const char* mac : {"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "fa:16:3e:00:00", "x"})
    CHECK(add_port(rig, net, fmt::format(R"(,"mac_address":"{}")", mac)).status() == 400);
  CHECK(rig.ask("GET", v2 + "/subnets").size("subnets") == 1);
  CHECK(rig.ask("GET", v2 + "/ports?device_owner=").size("ports") == 0);
}

TEST_CASE("A port: any address, a wished one, none; never one twice", "[network]") {
  ApiRig rig;
  const auto net = add_network(rig);
  const auto subnet = add_subnet(rig, net).text("subnet.id");
  const auto any = add_port(rig, net, R"(,"name":"p","security_groups":[])");
  REQUIRE(any.status() == 201);
  CHECK(any.text("port.status") == "DOWN");
  CHECK(any.size("port.fixed_ips") == 1);
  const auto wished =
      add_port(rig, net, R"(,"fixed_ips":[{"ip_address":"10.0.0.77"}],"mac_address":"fa:16:3e:00:00:77")");
  REQUIRE(wished.status() == 201);
  CHECK(wished.text("port.fixed_ips.0.ip_address") == "10.0.0.77");
  CHECK(wished.text("port.fixed_ips.0.subnet_id") == subnet);
  CHECK(wished.text("port.mac_address") == "fa:16:3e:00:00:77");
  CHECK(add_port(rig, net, R"(,"fixed_ips":[])").size("port.fixed_ips") == 0);

  const auto taken = add_port(rig, net, R"(,"fixed_ips":[{"ip_address":"10.0.0.77"}])");
  CHECK(taken.status() == 409);
  CHECK(taken.text("NeutronError.type") == "IpAddressInUse");
  CHECK(add_port(rig, net, R"(,"mac_address":"fa:16:3e:00:00:77")").status() == 409);
  CHECK(add_port(rig, net, R"(,"fixed_ips":[{"ip_address":"10.7.0.1"}])").status() == 400);
  CHECK(add_port(rig, net, R"(,"mac_address":"01:00:5e:00:00:01")").status() == 400);
  CHECK(add_port(rig, net, R"(,"security_groups":["x"])").status() == 400);
  CHECK(add_port(rig, net, R"(,"fixed_ips":[{}])").status() == 400);

  const auto path = v2 + "/ports/" + any.text("port.id");
  CHECK(rig.ask("PUT", path, R"({"port":{"name":"q"}})").text("port.name") == "q");
  CHECK(rig.ask("PUT", path, R"({"port":{"fixed_ips":[]}})").status() == 400);
  const auto dhcp = rig.ask("GET", v2 + "/ports?device_owner=network:dhcp").text("ports.0.id");
  CHECK(rig.ask("DELETE", v2 + "/ports/" + dhcp).status() == 409);
  const auto in_use = rig.ask("DELETE", v2 + "/subnets/" + subnet);
  CHECK(in_use.status() == 409);
  CHECK(in_use.text("NeutronError.type") == "SubnetInUse");
}

TEST_CASE("Lists are filtered, sorted, cut and shown as the query says", "[network]") {
  ApiRig rig;
  std::set<std::string> ids;
  for (const char* name : {"b", "a", "c"})
    ids.insert(rig.ask("POST", v2 + "/networks", fmt::format(R"({{"network":{{"name":"{}"}}}})", name))
                   .text("network.id"));
  const auto get = [&](const std::string& query) { return rig.ask("GET", v2 + "/networks?" + query); };
  CHECK(get("name=a").size("networks") == 1);
  CHECK(get("name=a&name=b").size("networks") == 2);
  CHECK(get("name=a&admin_state_up=False").size("networks") == 0);
  CHECK(get("router:external=True").size("networks") == 0);
  CHECK(get("router%3Aexternal=false&shared=0").size("networks") == 3);
  CHECK(get("sort_key=name&sort_dir=desc").text("networks.0.name") == "c");
  CHECK(get("fields=id&fields=name").size("networks.0") == 2);
  CHECK(get("tags=x").size("networks") == 0);
  CHECK(get("project_id=" + rig.genesis.project.str()).size("networks") == 3);
  CHECK(get("colour=red").status() == 400);
  CHECK(get("sort_key=colour").status() == 400);
  CHECK(get("limit=x").status() == 400);
  CHECK(get("marker=6e2c1e2a-0000-4000-8000-000000000000").status() == 400);

  std::set<std::string> seen;
  std::string target = v2 + "/networks?limit=1";
  for (int page = 0; page < 3; ++page) {
    const auto answer = rig.ask("GET", target);
    REQUIRE(answer.size("networks") == 1);
    seen.insert(answer.text("networks.0.id"));
    const auto next = answer.text("networks_links.0.href");
    CHECK(next.empty() == (page == 2));
    if (!next.empty()) target = next.substr(std::string("http://cloud:8700").size());
  }
  CHECK(seen == ids);

  const auto net = *ids.begin();
  REQUIRE(add_subnet(rig, net).status() == 201);
  REQUIRE(add_port(rig, net, R"(,"fixed_ips":[{"ip_address":"10.0.0.9"}])").status() == 201);
  CHECK(rig.ask("GET", v2 + "/ports?network_id=" + net).size("ports") == 2);
  CHECK(rig.ask("GET", v2 + "/ports?fixed_ips=ip_address=10.0.0.9").size("ports") == 1);
  CHECK(rig.ask("GET", v2 + "/ports?device_id=6e2c1e2a-0000-4000-8000-000000000000").size("ports") == 0);
}

TEST_CASE("On another's shared network nobody chooses an address or a MAC, but its owner and admins", "[network]") {
  ApiRig rig;
  const auto owner = rig.add_project("owner"), guest = rig.add_project("guest");
  const auto network = add_network(rig, "", {{"X-Auth-Token", owner}});
  const auto subnet = add_subnet(rig, network, R"("cidr":"10.0.0.0/24")", {{"X-Auth-Token", owner}}).text("subnet.id");
  REQUIRE(rig.ask("PUT", v2 + "/networks/" + network, R"({"network":{"shared":true}})").status() == 200);
  const Headers as_guest{{"X-Auth-Token", guest}}, as_owner{{"X-Auth-Token", owner}};
  for (const auto& more : {std::string(R"(,"mac_address":"fa:16:3e:00:00:01")"), std::string(R"(,"fixed_ips":[{"ip_address":"10.0.0.9"}])"),
                           fmt::format(R"(,"fixed_ips":[{{"subnet_id":"{}","ip_address":"10.0.0.9"}}])", subnet)}) {
    INFO(more);
    const auto refused = add_port(rig, network, more, as_guest);
    CHECK(refused.status() == 403);
    CHECK(message(refused).find("leave it out") != std::string::npos);
  }
  CHECK(add_port(rig, network, "", as_guest).status() == 201);
  CHECK(add_port(rig, network, fmt::format(R"(,"fixed_ips":[{{"subnet_id":"{}"}}])", subnet), as_guest).status() == 201);
  CHECK(add_port(rig, network, R"(,"mac_address":"fa:16:3e:00:00:01","fixed_ips":[{"ip_address":"10.0.0.9"}])", as_owner).status() == 201);
  CHECK(add_port(rig, network, R"(,"mac_address":"fa:16:3e:00:00:02","fixed_ips":[{"ip_address":"10.0.0.10"}])").status() == 201);
}

TEST_CASE("Admins make networks and ports for other projects, and nobody else", "[network]") {
  ApiRig rig;
  const auto member = rig.add_project("other"), stranger = rig.add_project("stranger");
  const auto project = rig.ask("GET", "/identity/v3/projects?name=other").text("projects.0.id");
  for (const char* key : {"tenant_id", "project_id"}) {
    const auto more = fmt::format(R"(,"{}":"{}")", key, project);
    const auto network = add_network(rig, more);
    CHECK(rig.ask("GET", v2 + "/networks/" + network, "", {{"X-Auth-Token", member}}).text("network.project_id") == project);
    CHECK(add_port(rig, network, more).text("port.project_id") == project);
    CHECK(rig.ask("PUT", v2 + "/networks/" + network, fmt::format(R"({{"network":{{"name":"m"{}}}}})", more)).status() == 200);
    CHECK(rig.ask("PUT", v2 + "/networks/" + network, fmt::format(R"({{"network":{{"{}":"{}"}}}})", key, rig.genesis.project.hex())).status() == 400);
    const auto refused = rig.ask("POST", v2 + "/networks", fmt::format(R"({{"network":{{"name":"n"{}}}}})", more), {{"X-Auth-Token", stranger}});
    CHECK(refused.status() == 400);
    CHECK(message(refused).find("needs an admin") != std::string::npos);
  }
  const auto nobody = fmt::format(R"({{"network":{{"project_id":"{}"}}}})", std::string(32, '1'));
  CHECK(rig.ask("POST", v2 + "/networks", nobody).status() == 404);
}

TEST_CASE("What was shared once and is not any more, is not shown in the past either", "[network]") {
  ApiRig rig;
  const auto owner = rig.add_project("owner"), guest = rig.add_project("guest");
  const Headers as_owner{{"X-Auth-Token", owner}}, as_guest{{"X-Auth-Token", guest}};
  const auto network = add_network(rig, "", as_owner);
  const auto subnet = add_subnet(rig, network, R"("cidr":"10.0.0.0/24")", as_owner).text("subnet.id");
  REQUIRE(rig.ask("PUT", v2 + "/networks/" + network, R"({"network":{"shared":true}})").status() == 200);
  const auto then = fmt::format("/at/{}", rig.projection->head().seq) + v2;
  const auto sees = [&](const Headers& headers) {
    const bool network_there = rig.ask("GET", then + "/networks/" + network, "", headers).status() == 200;
    CHECK((rig.ask("GET", then + "/subnets/" + subnet, "", headers).status() == 200) == network_there);
    CHECK(rig.ask("GET", then + "/networks", "", headers).size("networks") == (network_there ? 1 : 0));
    CHECK(rig.ask("GET", then + "/subnets", "", headers).size("subnets") == (network_there ? 1 : 0));
    return network_there;
  };
  CHECK(sees(as_guest));
  REQUIRE(rig.ask("PUT", v2 + "/networks/" + network, R"({"network":{"shared":false}})").status() == 200);
  CHECK_FALSE(sees(as_guest));
  CHECK(sees(as_owner));
}

TEST_CASE("Lists are whole, however long; what a limit leaves off has a link", "[network]") {
  ApiRig rig;
  const auto id = add_network(rig);
  REQUIRE(rig.ask("PUT", v2 + "/quotas/" + rig.genesis.project.hex(), R"({"quota":{"port":-1}})").status() == 200);
  std::vector<std::future<Response>> made;
  for (int i = 0; i < 1001; ++i)
    made.push_back(rig.send("POST", v2 + "/ports", fmt::format(R"({{"port":{{"network_id":"{}"}}}})", id)));
  for (auto& one : made) REQUIRE(rig.wait(std::move(one)).status() == 201);
  const auto all = rig.ask("GET", v2 + "/ports");
  CHECK(all.size("ports") == 1001);
  CHECK(all.size("ports_links") == 0);
  // As many values and orders as a query holds cost what one does.
  std::string many = v2 + "/ports?admin_state_up=true";
  for (int i = 0; i < 250; ++i) many += "&name=&sort_key=status";
  CHECK(rig.ask("GET", many).size("ports") == 1001);
  std::size_t seen = 0;
  for (std::string target = v2 + "/ports?limit=400"; !target.empty();) {
    const auto page = rig.ask("GET", target);
    seen += page.size("ports");
    const auto next = page.text("ports_links.0.href");
    target = next.empty() ? "" : next.substr(std::string("http://cloud:8700").size());
  }
  CHECK(seen == 1001);
}

TEST_CASE("Quotas: shown, set, kept, reset", "[network]") {
  ApiRig rig;
  const Headers member{{"X-Auth-Token", rig.add_project("eve")}};
  const auto project = rig.ask("GET", "/identity/v3/projects?name=eve").text("projects.0.id");
  const auto path = v2 + "/quotas/" + project;
  CHECK(rig.ask("GET", path, "", member).text("quota.network") == "100");
  CHECK(rig.ask("PUT", path, R"({"quota":{"network":1}})", member).status() == 403);
  CHECK(rig.ask("PUT", path, R"({"quota":{"network":1}})").text("quota.network") == "1");
  CHECK(rig.ask("PUT", path, R"({"quota":{"network":-2}})").status() == 400);
  add_network(rig, "", member);
  CHECK(rig.ask("GET", path + "/details", "", member).text("quota.network.used") == "1");
  const auto over = rig.ask("POST", v2 + "/networks", R"({"network":{}})", member);
  CHECK(over.status() == 409);
  CHECK(over.text("NeutronError.type") == "OverQuota");
  CHECK(rig.ask("DELETE", path).status() == 204);
  CHECK(rig.ask("GET", path).text("quota.network") == "100");
  CHECK(rig.ask("GET", v2 + "/quotas/" + rig.genesis.project.hex(), "", member).status() == 404);
}

TEST_CASE("Versions, extensions, and what neutron has and this has not", "[network]") {
  ApiRig rig;
  const Headers nobody{{"X-Auth-Token", ""}};
  CHECK(rig.ask("GET", "/network", "", nobody).text("versions.0.id") == "v2.0");
  CHECK(rig.ask("GET", v2, "", nobody).size("resources") == 4);
  CHECK(rig.ask("GET", v2 + "/extensions").size("extensions") > 5);
  CHECK(rig.ask("GET", v2 + "/extensions/quotas").text("extension.alias") == "quotas");
  CHECK(rig.ask("GET", v2 + "/extensions/none").status() == 404);
  const auto routers = rig.ask("GET", v2 + "/routers");
  CHECK(routers.status() == 404);
  CHECK_FALSE(message(routers).empty());
}

}  // namespace reprise::api
