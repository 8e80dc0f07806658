#include <fmt/format.h>

#include "controlplane/api/console_text.h"
#include "controlplane/api/name_pattern.h"
#include "controlplane/api/server_create.h"
#include "tests/unit/api_cloud.h"

namespace reprise::api {
namespace {

Headers version(std::string minor) { return {{"X-OpenStack-Nova-API-Version", "2." + minor}}; }
Headers token(const std::string& token) { return {{"X-Auth-Token", token}}; }

std::string server_body(const ApiCloud& cloud, std::string_view name, std::string_view more = {}) {
  return fmt::format(R"({{"server":{{"name":"{}","flavorRef":"{}","imageRef":"{}"{}}}}})", name, cloud.flavor,
                     cloud.image, more);
}

TEST_CASE("the compute api says which microversions it has, and keeps to them") {
  ApiCloud cloud(0);
  const auto root = cloud.ask("GET", "/compute/", {}, {{"X-Auth-Token", ""}});
  CHECK(root.status() == 200);
  CHECK(root.text("versions.0.id") == "v2.1");
  CHECK(root.text("versions.0.version") == "2.79");
  CHECK(root.text("versions.0.min_version") == "2.1");
  CHECK(cloud.ask("GET", "/compute/v2.1/", {}, {{"X-Auth-Token", ""}}).text("version.links.0.href") ==
        "http://cloud:8700/compute/v2.1/");

  const auto plain = cloud.ask("GET", "/compute/v2.1/flavors");
  CHECK(plain.header("OpenStack-API-Version") == "compute 2.1");
  CHECK(plain.header("X-OpenStack-Nova-API-Version") == "2.1");
  const auto both = cloud.ask(
      "GET", "/compute/v2.1/flavors", {},
      {{"OpenStack-API-Version", "volume 3.1, compute 2.61"}, {"X-OpenStack-Nova-API-Version", "2.3"}});
  CHECK(both.header("OpenStack-API-Version") == "compute 2.61");
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors", {}, {{"OpenStack-API-Version", "compute latest"}})
            .header("OpenStack-API-Version") == "compute 2.79");
  const auto late = cloud.ask("GET", "/compute/v2.1/flavors", {}, version("80"));
  CHECK(late.status() == 406);
  CHECK(late.text("notAcceptable.message") ==
        "Version 2.80 is not supported by the API. Minimum is 2.1 and maximum is 2.79.");
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors", {}, version("0")).status() == 406);
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors", {}, version("x")).status() == 400);
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors", {}, version("")).status() == 400);
}

TEST_CASE("flavors are made, listed, shown and deleted") {
  ApiCloud cloud(0);
  const auto made = cloud.ask(
      "POST", "/compute/v2.1/flavors",
      R"({"flavor":{"name":"mine","id":"900","vcpus":2,"ram":"1024","disk":10,"swap":0,"OS-FLV-EXT-DATA:ephemeral":0,"rxtx_factor":1.0}})");
  REQUIRE(made.status() == 200);
  CHECK(made.text("flavor.id") == "900");
  CHECK(made.text("flavor.ram") == "1024");
  CHECK(made.text("flavor.os-flavor-access:is_public") == "true");
  CHECK(made.text("flavor.swap") == "");
  CHECK(cloud
            .ask("POST", "/compute/v2.1/flavors",
                 R"({"flavor":{"name":"other","id":"900","vcpus":2,"ram":1024,"disk":10}})")
            .status() == 409);
  CHECK(cloud
            .ask("POST", "/compute/v2.1/flavors",
                 R"({"flavor":{"name":"mine","vcpus":2,"ram":1024,"disk":10}})")
            .status() == 409);
  const auto wrong = cloud.ask("POST", "/compute/v2.1/flavors",
                               R"({"flavor":{"name":"","vcpus":0,"ram":-1,"colour":"red","swap":5}})");
  CHECK(wrong.status() == 400);
  for (const auto* part :
       {"flavor.name", "flavor.vcpus", "flavor.ram", "flavor.disk", "flavor.colour", "flavor.swap"})
    CHECK(wrong.text("badRequest.message").find(part) != std::string::npos);

  cloud.ask("POST", "/compute/v2.1/flavors",
            R"({"flavor":{"name":"hidden","vcpus":1,"ram":1,"disk":0,"os-flavor-access:is_public":false}})");
  const auto open = cloud.ask("GET", "/compute/v2.1/flavors").size("flavors");
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors/detail?is_public=None").size("flavors") == open + 1);
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors?is_public=False").text("flavors.0.name") == "hidden");
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors?minRam=1000000").size("flavors") == 0);
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors?minRam=x").status() == 400);
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors?sort_key=name&sort_dir=desc&limit=1").size("flavors") == 1);
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors/detail?is_public=None&limit=1").text("flavors_links.0.rel") ==
        "next");
  const auto new_form = cloud.ask("GET", "/compute/v2.1/flavors/900", {}, version("75"));
  CHECK(new_form.text("flavor.extra_specs") == "{}");
  CHECK(new_form.text("flavor.swap") == "0");

  const auto member = cloud.rig.add_project("green");
  CHECK(cloud.ask("GET", "/compute/v2.1/flavors/detail?is_public=None", {}, token(member)).size("flavors") ==
        open);
  CHECK(cloud.ask("DELETE", "/compute/v2.1/flavors/900", {}, token(member)).status() == 403);
  CHECK(cloud.ask("DELETE", "/compute/v2.1/flavors/900").status() == 202);
  const auto gone = cloud.ask("GET", "/compute/v2.1/flavors/900");
  CHECK(gone.status() == 404);
  CHECK(gone.text("itemNotFound.message") == "Flavor 900 could not be found.");
}

TEST_CASE("key pairs are given or made, and belong to their user") {
  ApiCloud cloud(0);
  const std::string key =
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3mF0n0bTn3p9d0m2m0JQy8rW7oI3P4h2gq1mXl6Yk5 me";
  const auto given = cloud.ask("POST", "/compute/v2.1/os-keypairs",
                               fmt::format(R"({{"keypair":{{"name":"mine","public_key":"{}"}}}})", key));
  INFO(given.body());
  REQUIRE(given.status() == 200);
  CHECK(given.text("keypair.fingerprint").size() == 47);
  CHECK(given.text("keypair.private_key") == "");
  CHECK(given.text("keypair.type") == "");
  CHECK(cloud
            .ask("POST", "/compute/v2.1/os-keypairs",
                 fmt::format(R"({{"keypair":{{"name":"mine","public_key":"{}"}}}})", key))
            .status() == 409);
  CHECK(cloud
            .ask("POST", "/compute/v2.1/os-keypairs",
                 R"({"keypair":{"name":"bad","public_key":"ssh-rsa nonsense"}})")
            .status() == 400);
  CHECK(cloud.ask("POST", "/compute/v2.1/os-keypairs", R"({"keypair":{"name":"a/b"}})").status() == 400);

  const auto made = cloud.ask("POST", "/compute/v2.1/os-keypairs",
                              R"({"keypair":{"name":"made","type":"ssh"}})", version("10"));
  REQUIRE(made.status() == 201);
  CHECK(made.text("keypair.private_key").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
  CHECK(made.text("keypair.public_key").starts_with("ssh-rsa "));
  CHECK(made.text("keypair.type") == "ssh");
  const auto shown = cloud.ask("GET", "/compute/v2.1/os-keypairs/made");
  CHECK(shown.text("keypair.private_key") == "");
  CHECK(shown.text("keypair.created_at") != "");
  CHECK(cloud.ask("GET", "/compute/v2.1/os-keypairs").size("keypairs") == 2);
  CHECK(
      cloud.ask("GET", "/compute/v2.1/os-keypairs?limit=1", {}, version("35")).text("keypairs_links.0.rel") ==
      "next");

  const auto member = cloud.rig.add_project("green");
  CHECK(cloud.ask("GET", "/compute/v2.1/os-keypairs/made", {}, token(member)).status() == 404);
  CHECK(cloud.ask("GET", "/compute/v2.1/os-keypairs", {}, token(member)).size("keypairs") == 0);
  CHECK(cloud.ask("DELETE", "/compute/v2.1/os-keypairs/made", {}, version("10")).status() == 204);
  CHECK(cloud.ask("DELETE", "/compute/v2.1/os-keypairs/mine").status() == 202);
  CHECK(cloud.ask("DELETE", "/compute/v2.1/os-keypairs/mine").status() == 404);
}

TEST_CASE("a server is created, shown, acted upon and deleted") {
  ApiCloud cloud;
  const auto network = cloud.add_network();
  const auto id = cloud.add_server("web 1");
  const auto path = "/compute/v2.1/servers/" + id;
  const auto shown = cloud.ask("GET", path);
  CHECK(shown.text("server.addresses.net.0.version") == "4");
  CHECK(shown.text("server.addresses.net.0.OS-EXT-IPS:type") == "fixed");
  CHECK(shown.text("server.addresses.net.0.OS-EXT-IPS-MAC:mac_addr").size() == 17);
  CHECK(shown.text("server.OS-EXT-STS:vm_state") == "active");
  CHECK(shown.text("server.OS-EXT-STS:task_state") == "null");
  CHECK(shown.text("server.OS-EXT-STS:power_state") == "1");
  CHECK(shown.text("server.OS-EXT-SRV-ATTR:host") == "node-1");
  CHECK(shown.text("server.OS-EXT-AZ:availability_zone") == "nova");
  CHECK(shown.text("server.hostId").size() == 56);
  CHECK(shown.text("server.image.id") == cloud.image);
  CHECK(shown.text("server.flavor.id") == cloud.flavor);
  CHECK(shown.text("server.description") == "");
  CHECK(shown.text("server.fault") == "");
  const auto late = cloud.ask("GET", path, {}, version("79"));
  CHECK(late.text("server.flavor.original_name") == "small");
  CHECK(late.text("server.flavor.id") == "");
  CHECK(late.text("server.OS-EXT-SRV-ATTR:hostname") == "web-1");
  CHECK(late.text("server.locked_reason") == "null");
  CHECK(late.text("server.server_groups") == "[]");
  CHECK(late.text("server.host_status") == "UP");

  const auto act = [&](std::string_view body, Headers headers = {}) {
    return cloud.ask("POST", path + "/action", body, headers);
  };
  CHECK(act(R"({"os-start":null})").status() == 409);
  CHECK(act(R"({"os-start":null})")
            .text("conflictingRequest.message")
            .find("Cannot 'start' instance " + id + " while it is in vm_state active") == 0);
  REQUIRE(act(R"({"os-stop":null})").status() == 202);
  CHECK(cloud.until(path, "server.status", "SHUTOFF").text("server.OS-EXT-STS:power_state") == "4");
  REQUIRE(act(R"({"os-start":null})").status() == 202);
  cloud.until(path, "server.status", "ACTIVE");
  REQUIRE(act(R"({"reboot":{"type":"HARD"}})").status() == 202);
  cloud.until(path, "server.OS-EXT-STS:task_state", "null");
  CHECK(act(R"({"reboot":{"type":"WARM"}})").status() == 400);
  const auto paused = act(R"({"pause":null})");
  CHECK(paused.status() == 501);
  CHECK(paused.text("notImplemented.code") == "501");
  CHECK(act(R"({"dance":null})").status() == 400);
  CHECK(act(R"({"os-start":null,"os-stop":null})").status() == 400);

  const auto actions = cloud.ask("GET", path + "/os-instance-actions");
  CHECK(actions.size("instanceActions") == 4);
  CHECK(actions.text("instanceActions.3.action") == "create");
  const auto one =
      cloud.ask("GET", path + "/os-instance-actions/" + actions.text("instanceActions.3.request_id"));
  CHECK(one.text("instanceAction.events.0.result") == "Success");
  CHECK(cloud.ask("GET", path + "/os-interface").text("interfaceAttachments.0.net_id") == network);
  CHECK(cloud.ask("GET", path + "/ips").size("addresses.net") == 1);
  CHECK(cloud.ask("GET", path + "/ips/net").size("net") == 1);
  CHECK(cloud.ask("GET", path + "/ips/other").status() == 404);

  const auto renamed =
      cloud.ask("PUT", path, R"({"server":{"name":"db","description":"hello"}})", version("19"));
  CHECK(renamed.text("server.name") == "db");
  CHECK(renamed.text("server.description") == "hello");
  CHECK(cloud.ask("PUT", path, R"({"server":{"name":"   "}})").status() == 400);
  CHECK(cloud.ask("DELETE", path).status() == 204);
  cloud.until_status(path, 404);
  CHECK(cloud.ask("DELETE", path).status() == 404);
  CHECK(cloud.hosts[0]->servers().servers.empty());
}

TEST_CASE("a create that names something wrong changes nothing and says what") {
  ApiCloud cloud;
  cloud.flavor = cloud.add_flavor();
  cloud.image = cloud.add_image();
  const auto refused = [&](std::string_view body, int status, std::string_view words, Headers headers = {}) {
    const auto answer = cloud.ask("POST", "/compute/v2.1/servers", body, headers);
    INFO(body << "\n" << answer.body());
    CHECK(answer.status() == status);
    CHECK(answer.body().find(words) != std::string::npos);
  };
  const auto with = [&](std::string_view more) { return server_body(cloud, "s", more); };
  refused("{", 400, "line 1");
  refused("[]", 400, "must be a JSON object");
  refused(R"({"server":{}})", 400, "server.name: is required and missing; server.flavorRef: is required");
  refused(server_body(cloud, ""), 400, "server.name");
  refused(server_body(cloud, std::string(256, 'n')), 400, "server.name");
  refused(with(R"(,"colour":"red")"), 400, "server.colour: is not a field of this request");
  refused(with(R"(,"min_count":2,"max_count":2)"), 400, "server.min_count");
  refused(with(R"(,"user_data":"no base64!")"), 400, "server.user_data");
  refused(with(fmt::format(R"(,"user_data":"{}")", std::string(65536, 'A'))), 400, "server.user_data");
  refused(with(R"(,"networks":"auto")"), 400, "server.networks");
  refused(with(""), 400, "server.networks: is required", version("37"));
  refused(with(R"(,"networks":[{"fixed_ip":"10.0.0.4"}])"), 400, "server.networks[0].uuid");
  refused(with(R"(,"networks":[{"uuid":"5f1c1a7e-7d4f-4f63-9d1e-1f9a1e2a3b4c"}])"), 400,
          "could not be found");
  refused(with(R"(,"key_name":"nobody")"), 400, "Invalid key_name provided");
  refused(with(R"(,"availability_zone":"mars")"), 400, "The requested availability zone is not available");
  refused(with(R"(,"availability_zone":"nova:mars")"), 400, "Compute host mars could not be found");
  refused(with(R"(,"block_device_mapping_v2":[{"boot_index":0}])"), 400, "server.block_device_mapping_v2");
  refused(with(R"(,"security_groups":[{"name":"web"}])"), 400, "security_groups[0].name");
  refused(with(R"(,"metadata":{"k":5})"), 400, "server.metadata.k");
  refused(fmt::format(R"({{"server":{{"name":"s","flavorRef":"nope","imageRef":"{}"}}}})", cloud.image), 400,
          "Flavor nope could not be found");
  refused(
      fmt::format(
          R"({{"server":{{"name":"s","flavorRef":"{}","imageRef":"5f1c1a7e-7d4f-4f63-9d1e-1f9a1e2a3b4c"}}}})",
          cloud.flavor),
      400, "Image");
  refused(fmt::format(R"({{"server":{{"name":"s","flavorRef":"{}","imageRef":"nope"}}}})", cloud.flavor), 400,
          "server.imageRef");
  const auto big = cloud.add_flavor("big", 1000);
  refused(fmt::format(R"({{"server":{{"name":"s","flavorRef":"{}","imageRef":"{}"}}}})", big, cloud.image),
          403, "cores");
  const auto member = cloud.rig.add_project("green");
  refused(with(R"(,"availability_zone":"nova:node-1")"), 403, "forced_host", token(member));
  const auto reader = cloud.rig.add_project("readers", "reader");
  refused(with(""), 403, "member", token(reader));
  CHECK(cloud.ask("GET", "/compute/v2.1/servers?all_tenants=1").size("servers") == 0);
}

TEST_CASE("networks are chosen as nova chooses them, and ports taken as they are") {
  ApiCloud cloud;
  cloud.flavor = cloud.add_flavor();
  cloud.image = cloud.add_image();
  const auto create = [&](std::string_view more, Headers headers = {}) {
    return cloud.ask("POST", "/compute/v2.1/servers", server_body(cloud, "s", more), headers);
  };
  const auto bare = create("");
  REQUIRE(bare.status() == 202);
  CHECK(cloud.until("/compute/v2.1/servers/" + bare.text("server.id"), "server.status", "ACTIVE")
            .size("server.addresses") == 0);
  CHECK(create(R"(,"networks":"auto")", version("37")).status() == 400);

  const auto one = cloud.add_network("one", "10.0.1.0/24");
  CHECK(
      cloud
          .until("/compute/v2.1/servers/" + create(R"(,"networks":"auto")", version("37")).text("server.id"),
                 "server.status", "ACTIVE")
          .size("server.addresses.one") == 1);
  const auto two = cloud.add_network("two", "10.0.2.0/24");
  const auto several = create("");
  CHECK(several.status() == 409);
  CHECK(several.text("conflictingRequest.message") ==
        "Multiple possible networks found, use a Network ID to be more specific.");
  CHECK(
      cloud
          .until("/compute/v2.1/servers/" + create(R"(,"networks":"none")", version("37")).text("server.id"),
                 "server.status", "ACTIVE")
          .size("server.addresses") == 0);

  const auto port =
      cloud.ask("POST", "/network/v2.0/ports", fmt::format(R"({{"port":{{"network_id":"{}"}}}})", two))
          .text("port.id");
  const auto made = create(
      fmt::format(R"(,"networks":[{{"uuid":"{}","fixed_ip":"10.0.1.77"}},{{"port":"{}"}}])", one, port));
  REQUIRE(made.status() == 202);
  const auto path = "/compute/v2.1/servers/" + made.text("server.id");
  const auto shown = cloud.until(path, "server.status", "ACTIVE");
  CHECK(shown.text("server.addresses.one.0.addr") == "10.0.1.77");
  CHECK(shown.size("server.addresses.two") == 1);
  CHECK(create(fmt::format(R"(,"networks":[{{"port":"{}"}}])", port)).status() == 409);
  CHECK(create(fmt::format(R"(,"networks":[{{"uuid":"{}","fixed_ip":"10.0.1.77"}}])", one)).status() == 409);
  CHECK(cloud.ask("GET", "/compute/v2.1/servers/detail?ip=10.0.1.7").size("servers") == 1);
  cloud.ask("DELETE", path);
  cloud.until_status(path, 404);
  CHECK(cloud.ask("GET", "/network/v2.0/ports/" + port).text("port.device_id") == "");
}

TEST_CASE("user data is sealed with the project's key and comes out as it went in") {
  ApiCloud cloud;
  cloud.flavor = cloud.add_flavor();
  cloud.image = cloud.add_image();
  const std::string script = "#!/bin/sh\necho hello\n";
  const auto made =
      cloud.ask("POST", "/compute/v2.1/servers",
                server_body(cloud, "s",
                            fmt::format(R"(,"user_data":"{}","metadata":{{"a":"1"}},"config_drive":true)",
                                        encode_base64(script))));
  REQUIRE(made.status() == 202);
  const auto id = made.text("server.id");
  const auto row = cloud.rig.projection->view().find<Server>(*ServerId::parse(id));
  REQUIRE(row);
  const std::string sealed(row->user_data_sealed.begin(), row->user_data_sealed.end());
  CHECK(sealed.find("echo") == std::string::npos);
  CHECK(*cloud.rig.keyring->unseal(row->project, "user_data", sealed) == script);
  CHECK(cloud.ask("GET", "/compute/v2.1/servers/" + id, {}, version("3"))
            .text("server.OS-EXT-SRV-ATTR:user_data") == encode_base64(script));
  CHECK(cloud.ask("GET", "/compute/v2.1/servers/detail", {}, version("3"))
            .text("servers.0.OS-EXT-SRV-ATTR:user_data") == "null");
  CHECK(cloud.ask("GET", "/compute/v2.1/servers/" + id + "/metadata").text("metadata.a") == "1");
  CHECK(cloud.ask("GET", "/compute/v2.1/servers/" + id + "/metadata/a").text("meta.a") == "1");
  CHECK(
      cloud.ask("POST", "/compute/v2.1/servers/" + id + "/metadata", R"({"metadata":{"b":"2"}})").status() ==
      501);
}

TEST_CASE("an admin password is answered once, sealed with the project's key, and never shown again") {
  ApiCloud cloud;
  cloud.flavor = cloud.add_flavor();
  cloud.image = cloud.add_image();
  const auto body = server_body(cloud, "s", R"(,"adminPass":"open sesame")");
  const auto made = cloud.ask("POST", "/compute/v2.1/servers", body);
  REQUIRE(made.status() == 202);
  CHECK(made.text("server.adminPass") == "open sesame");
  const auto id = made.text("server.id");
  const auto row = cloud.rig.projection->view().find<Server>(*ServerId::parse(id));
  REQUIRE(row);
  const std::string sealed(row->admin_pass_sealed.begin(), row->admin_pass_sealed.end());
  CHECK(*cloud.rig.keyring->unseal(row->project, "user_data", sealed) == "open sesame");
  CHECK(cloud.ask("GET", "/compute/v2.1/servers/" + id).body().find("sesame") == std::string::npos);
  CHECK(read_all(*cloud.ask("GET", "/events?follow=false").response.lines).find("sesame") == std::string::npos);
}

TEST_CASE("lists of servers are paged, filtered and sorted") {
  ApiCloud cloud(2);
  std::vector<std::string> ids;
  for (const auto* name : {"alpha", "beta", "gamma"}) ids.push_back(cloud.add_server(name));
  const std::string all = "/compute/v2.1/servers/detail";
  CHECK(cloud.ask("GET", all).text("servers.0.name") == "gamma");
  const auto first = cloud.ask("GET", "/compute/v2.1/servers?limit=2");
  CHECK(first.size("servers") == 2);
  CHECK(first.text("servers.0.name") == "gamma");
  CHECK(first.text("servers.0.status") == "");
  CHECK(first.text("servers_links.0.href") ==
        "http://cloud:8700/compute/v2.1/servers?limit=2&marker=" + ids[1]);
  const auto rest = cloud.ask("GET", "/compute/v2.1/servers?limit=2&marker=" + ids[1]);
  CHECK(rest.size("servers") == 1);
  CHECK(rest.size("servers_links") == 0);
  CHECK(cloud.ask("GET", "/compute/v2.1/servers?marker=" + cloud.image).status() == 400);
  CHECK(cloud.ask("GET", "/compute/v2.1/servers?limit=-1").status() == 400);

  const auto count = [&](std::string_view query, Headers headers = {}) {
    const auto answer = cloud.ask("GET", all + "?" + std::string(query), {}, headers);
    INFO(query << " " << answer.body());
    CHECK(answer.status() == 200);
    return answer.size("servers");
  };
  CHECK(count("name=a") == 3);
  CHECK(count("name=%5Ea") == 1);
  CHECK(count("name=(alpha%7Cbeta)") == 2);
  CHECK(count("status=active") == 3);
  CHECK(count("status=SHUTOFF") == 0);
  CHECK(count("status=nonsense") == 0);
  CHECK(count("image=" + cloud.image) == 3);
  CHECK(count("flavor=other") == 0);
  CHECK(count("host=node-1") + count("host=node-2") == 3);
  CHECK(count("deleted=True") == 0);
  CHECK(count("deleted=False") == 3);
  CHECK(count("changes-since=2020-01-01T00:00:00Z") == 3);
  CHECK(count("changes-since=2120-01-01T00:00:00Z") == 0);
  CHECK(count("vm_state=active") == 3);
  CHECK(count("power_state=1") == 3);
  CHECK(count("tags=x", version("26")) == 0);
  CHECK(count("locked=False", version("73")) == 3);
  CHECK(count("surprise=1") == 3);
  CHECK(cloud.ask("GET", all + "?surprise=1", {}, version("75")).status() == 400);
  CHECK(cloud.ask("GET", all + "?status=nonsense", {}, version("38")).status() == 400);
  CHECK(cloud.ask("GET", all + "?name=(", {}).status() == 400);
  CHECK(cloud.ask("GET", all + "?changes-since=yesterday").status() == 400);
  CHECK(cloud.ask("GET", all + "?sort_key=colour").status() == 400);
  CHECK(cloud.ask("GET", all + "?sort_key=display_name&sort_dir=asc").text("servers.0.name") == "alpha");

  const auto member = cloud.rig.add_project("green");
  CHECK(count("", token(member)) == 0);
  CHECK(cloud.ask("GET", all + "?all_tenants=1", {}, token(member)).status() == 403);
  CHECK(cloud.ask("GET", "/compute/v2.1/servers/" + ids[0], {}, token(member)).status() == 404);
  CHECK(cloud.ask("DELETE", "/compute/v2.1/servers/" + ids[0], {}, token(member)).status() == 404);
  CHECK(cloud.ask("POST", "/compute/v2.1/servers/" + ids[0] + "/action", R"({"os-stop":null})", token(member))
            .status() == 404);
  const auto green = cloud.add_server("theirs", token(member));
  CHECK(count("") == 3);
  CHECK(count("all_tenants=True") == 4);
  CHECK(count("tenant_id=" + cloud.project("green")) == 1);
  const auto theirs = cloud.ask("GET", "/compute/v2.1/servers/" + green, {}, token(member));
  CHECK(theirs.text("server.OS-EXT-SRV-ATTR:host") == "");
  CHECK(theirs.text("server.hostId").size() == 56);
}

TEST_CASE("a list shows each server its own ports, whoever else has some") {
  ApiCloud cloud;
  cloud.add_network("net", "10.1.0.0/16");
  std::vector<std::string> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(cloud.add_server(fmt::format("s{:02}", i)));
  // A page of every third: what lies between is stepped over or jumped over.
  const auto list = cloud.ask("GET", "/compute/v2.1/servers/detail?name=s.%5B0369%5D");
  REQUIRE(list.size("servers") == 16);
  for (std::size_t i = 0; i < 16; ++i) {
    const auto id = list.text(fmt::format("servers.{}.id", i));
    const auto alone = cloud.ask("GET", "/compute/v2.1/servers/" + id);
    CHECK(list.text(fmt::format("servers.{}.addresses", i)) == alone.text("server.addresses"));
    CHECK(alone.size("server.addresses.net") == 1);
  }
}

TEST_CASE("volumes are attached to servers and detached again") {
  ApiCloud cloud;
  const auto server = cloud.add_server("s");
  const auto project = cloud.project("admin");
  const auto made =
      cloud.ask("POST", "/volume/v3/" + project + "/volumes", R"({"volume":{"size":1,"name":"v"}})");
  REQUIRE(made.status() == 202);
  const auto volume = made.text("volume.id");
  const auto volume_path = "/volume/v3/" + project + "/volumes/" + volume;
  const auto path = "/compute/v2.1/servers/" + server + "/os-volume_attachments";
  cloud.until(volume_path, "volume.status", "available");
  const auto body = fmt::format(R"({{"volumeAttachment":{{"volumeId":"{}","device":"/dev/vdx"}}}})", volume);
  const auto attached = cloud.ask("POST", path, body);
  INFO(attached.body());
  REQUIRE(attached.status() == 200);
  CHECK(attached.text("volumeAttachment.device") == "/dev/vdb");
  const auto used = cloud.until(volume_path, "volume.status", "in-use");
  CHECK(used.text("volume.attachments.0.server_id") == server);
  CHECK(used.text("volume.attachments.0.device") == "/dev/vdb");
  CHECK(cloud.ask("GET", "/compute/v2.1/servers/" + server)
            .text("server.os-extended-volumes:volumes_attached.0.id") == volume);
  CHECK(cloud.ask("GET", path).size("volumeAttachments") == 1);
  CHECK(cloud.ask("GET", path + "/" + volume, {}, version("79"))
            .text("volumeAttachment.delete_on_termination") == "false");
  CHECK(cloud.ask("POST", path, body).status() == 400);
  CHECK(cloud.ask("POST", path, R"({"volumeAttachment":{"volumeId":"5f1c1a7e-7d4f-4f63-9d1e-1f9a1e2a3b4c"}})")
            .status() == 404);
  const auto busy = cloud.ask("DELETE", volume_path);
  CHECK(busy.status() == 400);
  CHECK(busy.text("badRequest.message").find("Invalid volume: Volume status must be available or error") ==
        0);
  CHECK(cloud.ask("DELETE", path + "/" + volume).status() == 202);
  cloud.until(volume_path, "volume.status", "available");
  CHECK(cloud.ask("DELETE", path + "/" + volume).status() == 404);
}

TEST_CASE("the console's output comes from the node, as text") {
  ApiRig::Options options;
  options.console = [](ServerId, NodeId, std::size_t, Backend::Console callback) {
    callback(std::string("one\r\ntwo\x1b[0m\n\xff three\n"));
  };
  ApiCloud cloud(1, std::move(options));
  const auto id = cloud.add_server("s");
  const auto ask = [&](std::string_view body) {
    return cloud.ask("POST", "/compute/v2.1/servers/" + id + "/action", body);
  };
  CHECK(ask(R"({"os-getConsoleOutput":{}})").text("output") == "one\ntwo[0m\n\xef\xbf\xbd three\n");
  CHECK(ask(R"({"os-getConsoleOutput":{"length":1}})").text("output") == "\xef\xbf\xbd three\n");
  CHECK(ask(R"({"os-getConsoleOutput":{"length":"x"}})").status() == 400);

  CHECK(console_text("a\nb\nc", 2) == "b\nc");
  CHECK(console_text("a\nb\n", 0) == "");
  CHECK(console_text("\xc3", std::nullopt) == "\xef\xbf\xbd");
}

TEST_CASE("limits and quotas are those of the log") {
  ApiCloud cloud;
  cloud.add_server("s");
  const auto project = cloud.project("admin");
  const auto limits = cloud.ask("GET", "/compute/v2.1/limits");
  CHECK(limits.text("limits.absolute.totalInstancesUsed") == "1");
  CHECK(limits.text("limits.absolute.totalRAMUsed") == "512");
  CHECK(limits.text("limits.absolute.maxPersonality") == "0");
  CHECK(cloud.ask("GET", "/compute/v2.1/limits", {}, version("57")).text("limits.absolute.maxPersonality") ==
        "");
  const auto path = "/compute/v2.1/os-quota-sets/" + project;
  CHECK(cloud.ask("PUT", path, R"({"quota_set":{"instances":0}})").status() == 400);
  const auto set = cloud.ask("PUT", path, R"({"quota_set":{"instances":1,"cores":7}})");
  REQUIRE(set.status() == 200);
  CHECK(set.text("quota_set.cores") == "7");
  CHECK(cloud.ask("GET", path + "/detail").text("quota_set.instances.in_use") == "1");
  const auto over = cloud.ask("POST", "/compute/v2.1/servers", server_body(cloud, "t"));
  CHECK(over.status() == 403);
  CHECK(over.text("forbidden.message").find("instances") != std::string::npos);
  CHECK(cloud.ask("DELETE", path).status() == 202);
  CHECK(cloud.ask("GET", path).text("quota_set.cores") == "400");
  const auto member = cloud.rig.add_project("green");
  CHECK(cloud.ask("GET", path, {}, token(member)).status() == 403);
  CHECK(cloud.ask("PUT", path, R"({"quota_set":{"cores":1}})", token(member)).status() == 403);
}

TEST_CASE("nodes are hypervisors and services, and can be disabled") {
  ApiCloud cloud(2);
  const auto old_form = cloud.ask("GET", "/compute/v2.1/os-hypervisors/detail");
  CHECK(old_form.size("hypervisors") == 2);
  CHECK(old_form.text("hypervisors.0.vcpus") == "64");
  const auto number = old_form.text("hypervisors.0.id");
  CHECK(cloud.ask("GET", "/compute/v2.1/os-hypervisors/" + number).text("hypervisor.hypervisor_hostname") ==
        old_form.text("hypervisors.0.hypervisor_hostname"));
  const auto new_form = cloud.ask("GET", "/compute/v2.1/os-hypervisors", {}, version("53"));
  CHECK(new_form.text("hypervisors.0.id").size() == 36);
  CHECK(cloud.ask("GET", "/compute/v2.1/os-availability-zone").text("availabilityZoneInfo.0.zoneName") ==
        "nova");

  CHECK(cloud
            .ask("PUT", "/compute/v2.1/os-services/disable-log-reason",
                 R"({"host":"node-1","binary":"nova-compute","disabled_reason":"dust"})")
            .status() == 200);
  const auto services = cloud.ask("GET", "/compute/v2.1/os-services?host=node-1");
  CHECK(services.text("services.0.status") == "disabled");
  CHECK(services.text("services.0.disabled_reason") == "dust");
  cloud.flavor = cloud.add_flavor();
  cloud.image = cloud.add_image();
  const auto nowhere = cloud.ask("POST", "/compute/v2.1/servers",
                                 server_body(cloud, "s", R"(,"availability_zone":"nova:node-1")"));
  CHECK(nowhere.status() == 400);
  const auto id =
      cloud.ask("GET", "/compute/v2.1/os-services?host=node-1", {}, version("53")).text("services.0.id");
  CHECK(cloud.ask("PUT", "/compute/v2.1/os-services/" + id, R"({"status":"enabled"})", version("53"))
            .text("service.status") == "enabled");
  const auto member = cloud.rig.add_project("green");
  CHECK(cloud.ask("GET", "/compute/v2.1/os-hypervisors", {}, token(member)).status() == 403);
}

TEST_CASE("the past of servers is shown to unmodified clients") {
  ApiCloud cloud;
  const auto id = cloud.add_server("before");
  const auto seq = cloud.rig.projection->head().seq;
  cloud.ask("PUT", "/compute/v2.1/servers/" + id, R"({"server":{"name":"after"}})");
  const auto then = cloud.ask("GET", fmt::format("/at/{}/compute/v2.1/servers/{}", seq, id));
  CHECK(then.text("server.name") == "before");
  CHECK(then.text("server.links.0.href")
            .starts_with(fmt::format("http://cloud:8700/at/{}/compute/v2.1/servers/", seq)));
  CHECK(cloud.ask("DELETE", fmt::format("/at/{}/compute/v2.1/servers/{}", seq, id)).status() == 405);
}

TEST_CASE("a request sent twice under one key makes one server") {
  ApiCloud cloud;
  cloud.flavor = cloud.add_flavor();
  cloud.image = cloud.add_image();
  const Headers key{{"X-Reprise-Intent", "one"}};
  const auto body = server_body(cloud, "s", R"(,"user_data":"aGVsbG8=")");
  const auto first = cloud.ask("POST", "/compute/v2.1/servers", body, key);
  const auto again = cloud.ask("POST", "/compute/v2.1/servers", body, key);
  CHECK(first.status() == 202);
  CHECK(again.body() == first.body());
  CHECK(cloud.ask("POST", "/compute/v2.1/servers", server_body(cloud, "t"), key).status() == 409);
  CHECK(cloud.ask("GET", "/compute/v2.1/servers").size("servers") == 1);
}

TEST_CASE("names become host names, and patterns stay cheap") {
  const ServerId id{1, 2};
  CHECK(hostname_of("Web_Server 1.example", id) == "web-server-1-example");
  CHECK(hostname_of("--\xc3\xa4--", id) == "server-" + id.str());
  CHECK(hostname_of(std::string(100, 'a'), id).size() == 63);
  CHECK(NamePattern::make("a+b")->matches("xaaab"));
  CHECK_FALSE(NamePattern::make("^b$")->matches("ab"));
  CHECK(NamePattern::make("a.b")->matches("a-b"));
  CHECK_FALSE(NamePattern::make("(a)\\1"));
  CHECK_FALSE(NamePattern::make("a{1,5}"));
  CHECK_FALSE(NamePattern::make("["));
  CHECK_FALSE(NamePattern::make(std::string(256, 'a')));
}

}  // namespace
}  // namespace reprise::api
