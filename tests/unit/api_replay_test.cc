// Every request that writes, sent once, then everything deleted and made again under the same names, then the same
// requests with their keys: each is answered as it was, and touches nothing that is there now.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <latch>
#include <map>
#include <set>

#include "controlplane/api/image_store.h"
#include "tests/unit/api_cloud.h"

namespace reprise::api {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view image_id = "3a1f7c52-9d1e-4a63-8d1e-1f9a1e2a3b4c";

struct Step {
  const char* method;
  const char* target;
  const char* body;
  int status;
  const char* keep = "";    // "name path": what stands there is @name from then on
  const char* until = "";   // "path value": of a GET of the object that is asked again until it is so; "gone": until 404
  bool made_again = false;  // creates what is made again under its name
};

constexpr Step steps[] = {
    {"POST", "/identity/v3/projects", R"({"project":{"name":"p"}})", 201, "p project.id", "", true},
    {"PATCH", "/identity/v3/projects/@p", R"({"project":{"description":"d"}})", 200},
    {"POST", "/identity/v3/users", R"({"user":{"name":"u","password":"secret"}})", 201, "u user.id", "", true},
    {"PATCH", "/identity/v3/users/@u", R"({"user":{"email":"e","default_project_id":"@p"}})", 200},
    {"POST", "/identity/v3/roles", R"({"role":{"name":"r"}})", 201, "r role.id", "", true},
    {"PUT", "/identity/v3/projects/@p/users/@u/roles/@r", "", 204, "", "", true},
    {"DELETE", "/identity/v3/projects/@p/users/@u/roles/@r", "", 204},
    {"PUT", "/compute/v2.1/os-quota-sets/@p", R"({"quota_set":{"cores":7}})", 200, "", "", true},
    {"DELETE", "/compute/v2.1/os-quota-sets/@p", "", 202},
    {"PUT", "/network/v2.0/quotas/@p", R"({"quota":{"port":7}})", 200},
    {"DELETE", "/network/v2.0/quotas/@p", "", 204},
    {"PUT", "/image/v2/quotas/@p", R"({"quota":{"image_count_total":7}})", 200},
    {"DELETE", "/image/v2/quotas/@p", "", 204},
    {"PUT", "/volume/v3/@admin/os-quota-sets/@p", R"({"quota_set":{"volumes":7}})", 200},
    {"DELETE", "/volume/v3/@admin/os-quota-sets/@p", "", 200},
    {"POST", "/compute/v2.1/flavors", R"({"flavor":{"id":"f1","name":"f1","vcpus":1,"ram":64,"disk":1}})", 200, "", "", true},
    {"POST", "/compute/v2.1/os-keypairs", R"({"keypair":{"name":"k"}})", 200, "", "", true},
    {"POST", "/network/v2.0/networks", R"({"network":{"name":"n"}})", 201, "net network.id", "", true},
    {"PUT", "/network/v2.0/networks/@net", R"({"network":{"description":"d"}})", 200},
    {"POST", "/network/v2.0/subnets", R"({"subnet":{"network_id":"@net","cidr":"10.0.0.0/24","ip_version":4}})", 201,
     "sub subnet.id", "", true},
    {"PUT", "/network/v2.0/subnets/@sub", R"({"subnet":{"description":"d"}})", 200},
    {"POST", "/network/v2.0/ports", R"({"port":{"network_id":"@net"}})", 201, "port port.id", "", true},
    {"PUT", "/network/v2.0/ports/@port", R"({"port":{"description":"d"}})", 200},
    {"POST", "/image/v2/images", R"({"id":"@image","disk_format":"raw","container_format":"bare"})", 201, "", "", true},
    {"PATCH", "/image/v2/images/@image", R"([{"op":"add","path":"/x","value":"y"}])", 200},
    {"PUT", "/image/v2/images/@image/tags/t", "", 204, "", "", true},
    {"DELETE", "/image/v2/images/@image/tags/t", "", 204},
    {"PUT", "/image/v2/images/@image/file", "bytes", 204, "", "", true},
    {"POST", "/compute/v2.1/servers",
     R"({"server":{"name":"s","flavorRef":"f1","imageRef":"@image","key_name":"k","networks":[{"uuid":"@net"}]}})", 202,
     "s server.id", "server.status ACTIVE", true},
    {"PUT", "/compute/v2.1/servers/@s", R"({"server":{"name":"t"}})", 200},
    {"POST", "/compute/v2.1/servers/@s/action", R"({"os-stop":null})", 202, "", "server.status SHUTOFF"},
    {"POST", "/volume/v3/@admin/volumes", R"({"volume":{"size":1,"imageRef":"@image"}})", 202, "v volume.id",
     "volume.status available", true},
    {"PUT", "/volume/v3/@admin/volumes/@v", R"({"volume":{"name":"w"}})", 200},
    {"POST", "/compute/v2.1/servers/@s/os-volume_attachments", R"({"volumeAttachment":{"volumeId":"@v"}})", 200, "",
     "volume.status in-use"},
    {"DELETE", "/compute/v2.1/servers/@s/os-volume_attachments/@v", "", 202, "", "volume.status available"},
    {"PUT", "/compute/v2.1/os-services/disable", R"({"host":"node-1","binary":"nova-compute"})", 200},
    {"PUT", "/compute/v2.1/os-services/enable", R"({"host":"node-1","binary":"nova-compute"})", 200},
    {"DELETE", "/identity/v3/auth/tokens", "", 204},
    {"DELETE", "/volume/v3/@admin/volumes/@v", "", 202, "", "gone"},
    {"DELETE", "/compute/v2.1/servers/@s", "", 204, "", "gone"},
    {"DELETE", "/image/v2/images/@image", "", 204},
    {"DELETE", "/network/v2.0/ports/@port", "", 204},
    {"DELETE", "/network/v2.0/subnets/@sub", "", 204},
    {"DELETE", "/network/v2.0/networks/@net", "", 204},
    {"DELETE", "/compute/v2.1/os-keypairs/k", "", 202},
    {"DELETE", "/compute/v2.1/flavors/f1", "", 202},
    {"DELETE", "/identity/v3/roles/@r", "", 204},
    {"DELETE", "/identity/v3/users/@u", "", 204},
    {"DELETE", "/identity/v3/projects/@p", "", 204},
};

// Routes that no key can be given to, or that end the cloud.
const std::set<std::string> without_key = {
    "POST /identity/v3/auth/tokens",        // it has no actor yet
    "POST /identity/v3/users/{}/password",  // ends the very token that it is asked with
    "POST /log/seal",
};

class WholeBody final : public Upload {
 public:
  explicit WholeBody(std::string bytes) : bytes_(std::move(bytes)) {}
  void next(Then then) override { then(std::exchange(bytes_, {})); }
  std::optional<std::uint64_t> length() const override { return std::nullopt; }

 private:
  std::string bytes_;
};

struct Sent {
  const Step* step;
  std::string target, body;
  Headers headers;
};

struct ReplayCloud : ApiCloud {
  ReplayCloud() { names = {{"image", std::string(image_id)}, {"admin", project("admin")}}; }

  std::string named(std::string_view text) const { return with_names(text, names); }

  RigAnswer send(const Sent& sent) {
    if (std::string_view(sent.target).ends_with("/file"))
      return rig.wait(rig.send_upload(sent.target, std::make_shared<WholeBody>(sent.body), sent.headers));
    return ask(sent.step->method, sent.target, sent.body, sent.headers);
  }

  Sent prepare(const Step& step, std::string key) {
    Sent sent{&step, named(step.target), named(step.body), {}};
    if (!key.empty()) sent.headers.emplace_back("X-Reprise-Intent", std::move(key));
    if (step.method == std::string_view("PATCH") && sent.target.starts_with("/image"))
      sent.headers.emplace_back("Content-Type", "application/openstack-images-v2.1-json-patch");
    if (sent.target.ends_with("/auth/tokens")) sent.headers.emplace_back("X-Subject-Token", rig.token("admin", "secret", "admin"));
    return sent;
  }

  void first(const Sent& sent) {
    const auto answer = send(sent);
    INFO(sent.step->method << " " << sent.target << "\n" << answer.body());
    REQUIRE(answer.status() == sent.step->status);
    const std::string_view keep = sent.step->keep, until_what = sent.step->until;
    if (!keep.empty()) names[std::string(keep.substr(0, keep.find(' ')))] = answer.text(keep.substr(keep.find(' ') + 1));
    if (until_what.empty()) return;
    const bool volume = until_what.starts_with("volume") || sent.target.starts_with("/volume");
    const auto object = volume ? named("/volume/v3/@admin/volumes/@v") : named("/compute/v2.1/servers/@s");
    if (until_what == "gone") until_status(object, 404);
    else until(object, until_what.substr(0, until_what.find(' ')), until_what.substr(until_what.find(' ') + 1));
  }

  // All that there is, but for what the nodes say by themselves.
  std::string world() {
    std::string all = rig.projection->with_state([](const State& state, const Head&) {
      std::string rows;
      const auto add = [&](const auto& table) {
        using Row = std::decay_t<decltype(*table.find({}))>;
        for (const char* moving : {"cloud", "decided", "nodes", "node_use"})
          if (std::string_view(Row::table_name) == moving) return;
        table.each([&](const Row& row) { rows += std::string(Row::table_name) + encode_key(row.key()) + encode_row(row) + "\n"; });
      };
#define TABLE(Row, member) add(state.member);
#include "projections/tables.def"
#undef TABLE
      return rows;
    });
    std::set<std::string> files;
    for (const auto& file : fs::directory_iterator(rig.api->config().image_dir)) {
      std::ifstream in(file.path());
      files.insert(file.path().filename().string() + ": " + std::string(std::istreambuf_iterator<char>(in), {}));
    }
    for (const auto& file : files) all += file + "\n";
    for (const auto& id : projects) all += id + (rig.keyring->has_project(*ProjectId::parse(id)) ? " has a key\n" : " has no key\n");
    return all;
  }
  // What was given to the workers before is done.
  void settle() {
    const auto all = std::make_shared<std::latch>(3);  // both workers, and this
    for (int i = 0; i < 2; ++i) REQUIRE(rig.api->workers().post([all] { all->arrive_and_wait(); }));
    all->arrive_and_wait();
  }

  std::map<std::string, std::string> names;
  std::vector<std::string> projects;  // ids
};

}  // namespace

TEST_CASE("every request that writes can be answered again after its object was deleted and made anew, and touches nothing") {
  ReplayCloud cloud;
  std::vector<Sent> sent;
  for (const auto& step : steps) {
    sent.push_back(cloud.prepare(step, fmt::format("key-{}", sent.size())));
    cloud.first(sent.back());
  }
  cloud.projects.push_back(cloud.names["p"]);
  for (const auto& step : steps)
    if (step.made_again) cloud.first(cloud.prepare(step, ""));
  cloud.projects.push_back(cloud.names["p"]);
  cloud.settle();
  const auto before = cloud.world();
  CHECK(before.find(std::string(image_id) + ".") != std::string::npos);
  for (const auto& one : sent) {
    const auto again = cloud.send(one);
    INFO(one.step->method << " " << one.target << "\n" << again.body());
    CHECK(again.status() == one.step->status);
    CHECK(again.header("X-Reprise-Replayed") == "true");
    cloud.settle();
    REQUIRE(cloud.world() == before);
  }
}

TEST_CASE("every route that writes is among those that were tried, or refuses whatever is asked") {
  ReplayCloud cloud;
  for (const auto& route : cloud.rig.router.routes()) {
    if (route.starts_with("GET ") || without_key.contains(route)) continue;
    INFO(route);
    const bool tried = std::any_of(std::begin(steps), std::end(steps), [&](const Step& step) {
      return fits(route, std::string(step.method) + " " + step.target);
    });
    if (tried) continue;
    const auto space = route.find(' ');
    std::string target = route.substr(space + 1);
    for (std::size_t at; (at = target.find("{}")) != std::string::npos;)
      target.replace(at, 2, target.starts_with("/volume/v3/{}") ? cloud.names["admin"] : std::string(image_id));
    const auto answer = cloud.ask(route.substr(0, space), target, "{}");
    CHECK(answer.status() >= 400);
    CHECK(std::string_view("501 403 404 400").find(std::to_string(answer.status())) != std::string_view::npos);
  }
}

}  // namespace reprise::api
