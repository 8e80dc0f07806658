// The same object updated twice at once, each request naming another field: both are there afterwards. An update intent
// carries what was named and nothing else (design, 3), so neither is made of what the other was about to change.
#include <fmt/format.h>

#include <set>

#include "tests/unit/api_cloud.h"

namespace reprise::api {
namespace {

struct Field {
  const char* body;
  const char* path;   // in the answer to a GET of the object
  const char* value;  // there, afterwards
  const char* target = "";  // when it has one of its own
};
struct Updated {
  const char* method;
  const char* target;
  std::vector<Field> fields;
  const char* shown = "";  // where it is shown, when not at the target
};

// @p, @u, … are ids.
const Updated updates[] = {
    {"PATCH", "/identity/v3/projects/@p",
     {{R"({"project":{"name":"q"}})", "project.name", "q"},
      {R"({"project":{"description":"d"}})", "project.description", "d"},
      {R"({"project":{"enabled":false}})", "project.enabled", "false"}}},
    {"PATCH", "/identity/v3/users/@u",
     {{R"({"user":{"name":"v"}})", "user.name", "v"},
      {R"({"user":{"password":"another one"}})", "user.id", "@u"},
      {R"({"user":{"email":"e@f"}})", "user.email", "e@f"},
      {R"({"user":{"description":"d"}})", "user.description", "d"},
      {R"({"user":{"default_project_id":"@p"}})", "user.default_project_id", "@p"},
      {R"({"user":{"enabled":false}})", "user.enabled", "false"}}},
    {"PUT", "/compute/v2.1/os-quota-sets/@p",
     {{R"({"quota_set":{"instances":3}})", "quota_set.instances", "3"},
      {R"({"quota_set":{"cores":5}})", "quota_set.cores", "5"},
      {R"({"quota_set":{"ram":7}})", "quota_set.ram", "7"},
      {R"({"quota_set":{"key_pairs":9}})", "quota_set.key_pairs", "9"}}},
    {"PUT", "/network/v2.0/quotas/@p",
     {{R"({"quota":{"network":3}})", "quota.network", "3"},
      {R"({"quota":{"subnet":5}})", "quota.subnet", "5"},
      {R"({"quota":{"port":7}})", "quota.port", "7"}}},
    {"PUT", "/image/v2/quotas/@p",
     {{R"({"quota":{"image_count_total":3}})", "quota.image_count_total", "3"},
      {R"({"quota":{"image_size_total":5}})", "quota.image_size_total", "5"}}},
    {"PUT", "/volume/v3/@admin/os-quota-sets/@p",
     {{R"({"quota_set":{"volumes":3}})", "quota_set.volumes", "3"},
      {R"({"quota_set":{"gigabytes":5}})", "quota_set.gigabytes", "5"}}},
    {"PUT", "/network/v2.0/networks/@n",
     {{R"({"network":{"name":"m"}})", "network.name", "m"},
      {R"({"network":{"description":"d"}})", "network.description", "d"},
      {R"({"network":{"admin_state_up":false}})", "network.admin_state_up", "false"},
      {R"({"network":{"shared":true}})", "network.shared", "true"}}},
    {"PUT", "/network/v2.0/subnets/@s",
     {{R"({"subnet":{"name":"m"}})", "subnet.name", "m"},
      {R"({"subnet":{"description":"d"}})", "subnet.description", "d"},
      {R"({"subnet":{"dns_nameservers":["9.9.9.9"]}})", "subnet.dns_nameservers", R"(["9.9.9.9"])"}}},
    {"PUT", "/network/v2.0/ports/@o",
     {{R"({"port":{"name":"m"}})", "port.name", "m"},
      {R"({"port":{"description":"d"}})", "port.description", "d"},
      {R"({"port":{"admin_state_up":false}})", "port.admin_state_up", "false"}}},
    {"PUT", "/compute/v2.1/servers/@v",
     {{R"({"server":{"name":"m"}})", "server.name", "m"},
      {R"({"server":{"description":"d"}})", "server.description", "d"}}},
    {"PUT", "/volume/v3/@admin/volumes/@w",
     {{R"({"volume":{"name":"m"}})", "volume.name", "m"},
      {R"({"volume":{"description":"d"}})", "volume.description", "d"}}},
    {"PATCH", "/image/v2/images/@i",
     {{R"([{"op":"replace","path":"/name","value":"m"}])", "name", "m"},
      {R"([{"op":"replace","path":"/visibility","value":"private"}])", "visibility", "private"},
      {R"([{"op":"replace","path":"/protected","value":true}])", "protected", "true"},
      {R"([{"op":"replace","path":"/min_disk","value":3}])", "min_disk", "3"},
      {R"([{"op":"replace","path":"/min_ram","value":5}])", "min_ram", "5"},
      {R"([{"op":"add","path":"/x","value":"y"}])", "x", "y"},
      {R"([{"op":"replace","path":"/there","value":"z"}])", "there", "z"},
      {R"([{"op":"remove","path":"/old"}])", "old", ""},
      {R"([{"op":"add","path":"/gone","value":"1"},{"op":"remove","path":"/gone"}])", "gone", ""}}},
    {"PUT", "",
     {{"", "", "one", "/image/v2/images/@i/tags/one"},
      {"", "", "two", "/image/v2/images/@i/tags/two"},
      {"", "", "three", "/image/v2/images/@i/tags/three"},
      {"", "", "four", "/image/v2/images/@i/tags/four"}},
     "/image/v2/images/@i"},
};

// What has one field only, or none: nothing of it can be undone by another.
const std::set<std::string> of_one_field = {
    "PUT /identity/v3/projects/{}/users/{}/roles/{}", "PUT /image/v2/images/{}/file",
    "PUT /compute/v2.1/os-services/enable",           "PUT /compute/v2.1/os-services/disable",
    "PUT /compute/v2.1/os-services/disable-log-reason",
};

struct UpdatesCloud : ApiCloud {
  UpdatesCloud() {
    ids["admin"] = project("admin");
    make("p", "/identity/v3/projects", R"({"project":{"name":"p"}})", "project.id");
    make("u", "/identity/v3/users", R"({"user":{"name":"u","password":"secret"}})", "user.id");
    make("n", "/network/v2.0/networks", R"({"network":{"name":"n"}})", "network.id");
    make("s", "/network/v2.0/subnets", R"({"subnet":{"network_id":"@n","cidr":"10.0.0.0/24","ip_version":4}})", "subnet.id");
    make("o", "/network/v2.0/ports", R"({"port":{"network_id":"@n"}})", "port.id");
    make("i", "/image/v2/images", R"({"there":"x","old":"x","disk_format":"raw","container_format":"bare"})", "id");
    make("w", "/volume/v3/@admin/volumes", R"({"volume":{"size":1}})", "volume.id");
    ids["v"] = add_server("v", at_2_19);
  }
  void make(const std::string& name, const char* target, const char* body, const char* path) {
    const auto answer = ask("POST", filled(target), filled(body));
    INFO(target << " " << answer.body());
    REQUIRE(answer.status() / 100 == 2);
    ids[name] = answer.text(path);
  }
  std::string filled(std::string_view text) const { return with_names(text, ids); }
  Headers headers_of(std::string_view target) const {
    Headers headers = at_2_19;
    if (target.starts_with("/image/v2/images")) headers.emplace_back("Content-Type", "application/openstack-images-v2.1-json-patch");
    return headers;
  }
  static inline const Headers at_2_19{{"OpenStack-API-Version", "compute 2.19"}};
  std::map<std::string, std::string> ids;
};

}  // namespace

TEST_CASE("updates of different fields, made of the same moment, undo nothing of one another") {
  UpdatesCloud cloud;
  for (const auto& update : updates) {
    cloud.rig.stop_controller();  // all of them are made before any of them is decided
    std::vector<std::future<Response>> sent;
    for (const auto& field : update.fields) {
      const auto target = cloud.filled(*field.target ? field.target : update.target);
      sent.push_back(cloud.rig.send(update.method, target, cloud.filled(field.body), cloud.headers_of(target)));
    }
    cloud.rig.start_controller();
    for (auto& one : sent) {
      const auto answer = cloud.rig.wait(std::move(one));
      INFO(update.method << " " << update.target << " " << answer.body());
      CHECK(answer.status() / 100 == 2);
    }
    const auto shown = cloud.filled(*update.shown ? update.shown : update.target);
    const auto now = cloud.ask("GET", shown, "", UpdatesCloud::at_2_19);
    INFO(shown << " " << now.body());
    REQUIRE(now.status() == 200);
    for (const auto& field : update.fields) {
      if (*field.path) CHECK(now.text(field.path) == cloud.filled(field.value));
      else CHECK(now.text("tags").find(fmt::format("\"{}\"", field.value)) != std::string::npos);
    }
  }
}

TEST_CASE("every route that updates is among those that were tried, updates one thing, or refuses whatever is asked") {
  UpdatesCloud cloud;
  for (const auto& route : cloud.rig.router.routes()) {
    const auto name = std::string(route.substr(0, route.find(' ')));
    if (name != "PUT" && name != "PATCH") continue;
    INFO(route);
    bool tried = of_one_field.contains(std::string(route));
    for (const auto& update : updates)
      for (const auto& field : update.fields)
        tried = tried || (name == update.method && fits(std::string_view(route).substr(name.size() + 2),
                                                        std::string_view(*field.target ? field.target : update.target).substr(1)));
    if (tried) continue;
    auto target = std::string(route.substr(route.find(' ') + 1));
    for (std::size_t at; (at = target.find("{}")) != std::string::npos;)
      target.replace(at, 2, target.starts_with("/volume/v3/{}") ? cloud.ids["admin"] : "6e2c1e2a-0000-4000-8000-000000000000");
    const auto answer = cloud.ask(name, target, "{}");
    CHECK(answer.status() >= 400);
    CHECK(answer.status() <= 501);
  }
}

}  // namespace reprise::api
