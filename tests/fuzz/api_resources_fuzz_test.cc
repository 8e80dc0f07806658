// Routes of compute, image and volume, with bodies and queries that were damaged in a reproducible way:
// whatever is sent, the answer is a clear one, well-formed, and no 5xx but 501; the process lives, and the
// counters agree.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "tests/fuzz/damage.h"
#include "tests/unit/api_cloud.h"

namespace reprise::api {
namespace {

struct Seed {
  const char* method;
  const char* target;
  const char* body;
};
constexpr Seed seeds[] = {
    {"POST", "/compute/v2.1/flavors",
     R"({"flavor":{"name":"f%","id":"%","vcpus":1,"ram":512,"disk":1,"swap":0,"os-flavor-access:is_public":true}})"},
    {"GET", "/compute/v2.1/flavors/detail?is_public=None&minRam=5&sort_key=name&sort_dir=asc&limit=2", ""},
    {"POST", "/compute/v2.1/os-keypairs",
     R"({"keypair":{"name":"k%","public_key":)"
     R"("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3mF0n0bTn3p9d0m2m0JQy8rW7oI3P4h2gq1mXl6Yk5 me","type":"ssh","user_id":"@user"}})"},
    {"POST", "/compute/v2.1/servers",
     R"({"server":{"name":"s%","flavorRef":"@flavor","imageRef":"@image",)"
     R"("networks":[{"uuid":"@network","fixed_ip":"10.0.0.%"}],"user_data":"aGVsbG8=",)"
     R"("metadata":{"a":"b"},"min_count":1,"max_count":1,"availability_zone":"nova","config_drive":true},"os:scheduler_hints":{}})"},
    {"GET",
     "/compute/v2.1/servers/"
     "detail?name=s.*%&status=ACTIVE&limit=3&sort_key=uuid&sort_dir=desc&changes-since=2020-01-01T00:00:00Z&"
     "ip=10.0",
     ""},
    {"GET", "/compute/v2.1/servers?host=node-1&all_tenants=1&marker=@server", ""},
    {"PUT", "/compute/v2.1/servers/@server", R"({"server":{"name":"n%","description":"d"}})"},
    {"POST", "/compute/v2.1/servers/@server/action", R"({"reboot":{"type":"SOFT"}})"},
    {"POST", "/compute/v2.1/servers/@server/action", R"({"os-stop":null})"},
    {"POST", "/compute/v2.1/servers/@server/action", R"({"os-start":null})"},
    {"POST", "/compute/v2.1/servers/@server/os-volume_attachments",
     R"({"volumeAttachment":{"volumeId":"@volume","device":"/dev/vdb"}})"},
    {"GET", "/compute/v2.1/servers/@server/os-instance-actions?limit=1", ""},
    {"PUT", "/compute/v2.1/os-quota-sets/@project",
     R"({"quota_set":{"instances":900,"cores":900,"ram":900000,"key_pairs":900,"force":true}})"},
    {"PUT", "/compute/v2.1/os-services/enable", R"({"host":"node-1","binary":"nova-compute"})"},
    {"GET", "/compute/v2.1/os-hypervisors/detail?limit=1&with_servers=1", ""},
    {"POST", "/image/v2/images",
     R"({"name":"i%","disk_format":"raw","container_format":"bare","visibility":"private","min_disk":1,"min_ram":1,"tags":["a"],"protected":false,"p":"v"})"},
    {"PATCH", "/image/v2/images/@image",
     R"([{"op":"replace","path":"/name","value":"i%"},{"op":"add","path":"/x","value":"y"},{"op":"remove","path":"/x"}])"},
    {"GET",
     "/image/v2/"
     "images?limit=2&sort=name:asc,id:desc&name=in:a,b&created_at=gt:2020-01-01T00:00:00Z&size_min=1&tag=x&"
     "visibility=all",
     ""},
    {"PUT", "/image/v2/images/@image/tags/t%", ""},
    {"GET", "/image/v2/images/@image/file", ""},
    {"POST", "/volume/v3/@project/volumes",
     R"({"volume":{"size":1,"name":"v%","imageRef":null,"volume_type":"local","metadata":{"a":"b"},"availability_zone":"nova","multiattach":false}})"},
    {"GET",
     "/volume/v3/@project/volumes/"
     "detail?name=v%&status=available&sort=size:asc&limit=1&offset=1&metadata={'a':'b'}",
     ""},
    {"PUT", "/volume/v3/@project/volumes/@volume", R"({"volume":{"name":"w%","description":"d"}})"},
    {"POST", "/volume/v3/@project/volumes/@volume/action", R"({"os-extend":{"new_size":2}})"},
    {"PUT", "/volume/v3/@project/os-quota-sets/@project",
     R"({"quota_set":{"volumes":900,"gigabytes":90000,"force":true}})"},
    {"GET", "/at/9/compute/v2.1/servers/detail?limit=1", ""},
};
constexpr const char* versions[] = {"2.1", "2.3", "2.19", "2.37", "2.53", "2.79"};

bool well_formed(const Response& response) {
  const auto type = response.header_value("Content-Type").value_or("");
  if (response.file || !type.starts_with("application/json")) return true;
  boost::json::error_code failed;
  boost::json::parse(response.body, failed);
  return !failed;
}

}  // namespace

TEST_CASE("Damaged requests for servers, images and volumes get clear answers", "[fuzz]") {
  ApiCloud cloud;
  const auto network = cloud.add_network();
  const auto server = cloud.add_server("victim");
  const auto project = cloud.rig.genesis.project.hex();
  const auto volume =
      cloud.ask("POST", "/volume/v3/" + project + "/volumes", R"({"volume":{"size":1}})").text("volume.id");
  Damage damage(20261104);
  int good = 0, refused = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto& seed = seeds[damage.below(std::size(seeds))];
    std::string target = seed.target, body = seed.body;
    for (auto* text : {&target, &body}) {
      replace_all(*text, "@project", project);
      replace_all(*text, "@user", cloud.rig.genesis.user.hex());
      replace_all(*text, "@flavor", cloud.flavor);
      replace_all(*text, "@image", cloud.image);
      replace_all(*text, "@network", network);
      replace_all(*text, "@server", server);
      replace_all(*text, "@volume", volume);
      replace_all(*text, "%", std::to_string(round % 250));
    }
    if (damage.below(3) != 0) body = damage.damage(std::move(body));
    if (damage.below(3) == 0) target = damage.damage(std::move(target));
    Request probe;  // what the HTTP server refuses by itself never comes here
    if (!probe.set_target(target)) continue;
    INFO(seed.method << " " << target << "\n" << body);
    Headers headers{{"X-OpenStack-Nova-API-Version", versions[damage.below(std::size(versions))]}};
    if (seed.method == std::string_view("PATCH"))
      headers.emplace_back("Content-Type", "application/openstack-images-v2.1-json-patch");
    const auto answer = cloud.ask(seed.method, target, body, std::move(headers));
    INFO(answer.body());
    REQUIRE((answer.status() < 500 || answer.status() == 501));
    REQUIRE(well_formed(answer.response));
    (answer.status() < 400 ? good : refused) += 1;
  }
  CHECK(good > 300);
  CHECK(refused > 300);
  CHECK(cloud.rig.projection->status().broken.empty());
  CHECK(
      cloud.rig.projection->with_state([](const State& state, const Head&) { return check_counters(state); })
          .empty());
}

}  // namespace reprise::api
