#include "tests/unit/api_cloud.h"

#include <fmt/format.h>

#include "controlplane/api/compute.h"
#include "controlplane/api/image.h"
#include "controlplane/api/volume.h"

namespace reprise::api {
namespace {

constexpr std::chrono::seconds patience{20};

void register_resources(Api& api) {
  register_compute(api);
  register_images(api);
  register_volumes(api);
}

bool has_claim(const Record& record) {
  for (const auto& decision : record.decisions)
    for (const auto& event : decision.events)
      if (event.is<ControllerStarted>()) return true;
  return false;
}

}  // namespace

ApiCloud::ApiCloud(int nodes, ApiRig::Options options) : rig(std::move(options), register_resources) {
  AgentSource source{.with_state =
                         [this](const auto& f) {
                           rig.projection->with_state([&](const State& s, const Head& h) { f(s, h); });
                         },
                     .fresh = [this](auto callback) { rig.projection->fresh(std::move(callback)); }};
  agents_ = std::make_unique<AgentHost>(*rig.log, std::move(source), ReconcilerOptions{},
                                        [](const std::string&) {});
  for (int i = 1; i <= nodes; ++i) {
    auto& host = *hosts.emplace_back(std::make_unique<SimulatedHost>(fmt::format("boot-{}", i)));
    agents_->add({.id = random_id().as<NodeId>(),
                  .name = fmt::format("node-{}", i),
                  .boot_id = fmt::format("boot-{}", i),
                  .vcpus = 64,
                  .ram_mib = 64 * 1024,
                  .disk_gib = 10'000,
                  .compute_driver = "simulated",
                  .storage_driver = "simulated",
                  .network_driver = "simulated",
                  .address = "127.0.0.1",
                  .version = "test"},
                 host.compute(), host.storage(), host.network());
  }
  watch_ = rig.projection->watch([this](const Folded& folded) {
    agents_->changed(folded.touched, has_claim(folded.record));
    std::lock_guard lock(mutex_);
    ++records_;
    changed_.notify_all();
  });
  agents_->start();
  until("/compute/v2.1/os-hypervisors/detail", "hypervisors.0.state", nodes > 0 ? "up" : "");
  if (nodes > 1)
    until("/compute/v2.1/os-hypervisors/statistics", "hypervisor_statistics.count", std::to_string(nodes));
}

void ApiCloud::stop_agents() { agents_->stop(); }

ApiCloud::~ApiCloud() {
  agents_->stop();
  rig.projection->unwatch(watch_);
}

template <class Done>
RigAnswer ApiCloud::wait_for(std::string_view target, const Headers& headers, Done done) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    std::uint64_t seen = 0;
    {
      std::lock_guard lock(mutex_);
      seen = records_;
    }
    auto answer = ask("GET", target, {}, headers);
    if (done(answer)) return answer;
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, deadline, [&] { return records_ != seen; }))
      FAIL(target << " never became so; last: " << answer.status() << " " << answer.body());
  }
}

RigAnswer ApiCloud::until(std::string_view target, std::string_view path, std::string_view value,
                          Headers headers) {
  return wait_for(target, headers, [&](const RigAnswer& answer) {
    return answer.status() == 200 && answer.text(path) == value;
  });
}

RigAnswer ApiCloud::until_status(std::string_view target, int status, Headers headers) {
  return wait_for(target, headers, [&](const RigAnswer& answer) { return answer.status() == status; });
}

std::string ApiCloud::add_flavor(std::string_view name, int vcpus, int ram, int disk) {
  const auto made = ask(
      "POST", "/compute/v2.1/flavors",
      fmt::format(R"({{"flavor":{{"name":"{}","vcpus":{},"ram":{},"disk":{}}}}})", name, vcpus, ram, disk));
  INFO(made.body());
  REQUIRE(made.status() == 200);
  return made.text("flavor.id");
}

namespace {
// A body that is there as a whole, given in two pieces.
class WholeUpload final : public Upload {
 public:
  explicit WholeUpload(std::string bytes) : bytes_(std::move(bytes)) {}
  void next(Then then) override {
    const auto half = bytes_.size() - bytes_.size() / 2;
    auto piece = bytes_.substr(0, half);
    bytes_.erase(0, half);
    then(std::move(piece));
  }
  std::optional<std::uint64_t> length() const override { return std::nullopt; }

 private:
  std::string bytes_;
};
}  // namespace

std::string ApiCloud::add_image(std::string_view name, std::string_view bytes, std::string_view visibility,
                                std::string_view format) {
  const std::string_view container = format == "ami" || format == "aki" || format == "ari" ? format : "bare";
  const auto made =
      ask("POST", "/image/v2/images",
          fmt::format(R"({{"name":"{}","disk_format":"{}","container_format":"{}","visibility":"{}"}})",
                      name, format, container, visibility));
  INFO(made.body());
  REQUIRE(made.status() == 201);
  const auto id = made.text("id");
  const auto sent = rig.wait(
      rig.send_upload("/image/v2/images/" + id + "/file", std::make_shared<WholeUpload>(std::string(bytes))));
  INFO(sent.body());
  REQUIRE(sent.status() == 204);
  return id;
}

std::string ApiCloud::add_network(std::string_view name, std::string_view cidr, Headers headers) {
  const auto made =
      ask("POST", "/network/v2.0/networks", fmt::format(R"({{"network":{{"name":"{}"}}}})", name), headers);
  INFO(made.body());
  REQUIRE(made.status() == 201);
  const auto id = made.text("network.id");
  const auto subnet =
      ask("POST", "/network/v2.0/subnets",
          fmt::format(R"({{"subnet":{{"network_id":"{}","cidr":"{}","ip_version":4}}}})", id, cidr), headers);
  INFO(subnet.body());
  REQUIRE(subnet.status() == 201);
  return id;
}

std::string ApiCloud::add_server(std::string_view name, Headers headers) {
  if (flavor.empty()) flavor = add_flavor();
  if (image.empty()) image = add_image();
  const auto made = ask(
      "POST", "/compute/v2.1/servers",
      fmt::format(R"({{"server":{{"name":"{}","flavorRef":"{}","imageRef":"{}"}}}})", name, flavor, image),
      headers);
  INFO(made.body());
  REQUIRE(made.status() == 202);
  const auto id = made.text("server.id");
  until("/compute/v2.1/servers/" + id, "server.status", "ACTIVE", headers);
  return id;
}

std::string ApiCloud::project(std::string_view name) {
  return ask("GET", fmt::format("/identity/v3/projects?name={}", name)).text("projects.0.id");
}

bool fits(std::string_view pattern, std::string_view request) {
  while (!pattern.empty() && !request.empty()) {
    const auto cut = [](std::string_view& text) {
      const auto end = std::min(text.find('/'), text.size());
      const auto part = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      return part;
    };
    const auto part = cut(pattern), given = cut(request);
    if (part != "{}" && part != given) return false;
  }
  return pattern.empty() && request.empty();
}

std::string with_names(std::string_view text, const std::map<std::string, std::string>& names) {
  std::string filled(text);
  for (const auto& [name, value] : names)
    for (std::size_t at = 0; (at = filled.find("@" + name, at)) != std::string::npos; at += value.size()) {
      const auto after = at + 1 + name.size();
      if (after < filled.size() && std::isalnum(static_cast<unsigned char>(filled[after]))) { ++at; continue; }
      filled.replace(at, name.size() + 1, value);
    }
  return filled;
}

}  // namespace reprise::api
