// The api rig with all resources and with agents on simulated hosts: what is asked for really comes to be.
#pragma once

#include <map>

#include "agents/core/agent_host.h"
#include "agents/core/simulated_host.h"
#include "tests/unit/api_rig.h"

namespace reprise::api {

class ApiCloud {
 public:
  explicit ApiCloud(int nodes = 1, ApiRig::Options options = {});
  ~ApiCloud();

  RigAnswer ask(std::string_view method, std::string_view target, std::string_view body = {},
                Headers headers = {}) {
    return rig.ask(method, target, body, std::move(headers));
  }
  // Asks at every record until what is at `path` is `value`; the answer then. Twenty seconds at most.
  RigAnswer until(std::string_view target, std::string_view path, std::string_view value,
                  Headers headers = {});
  // Until the answer has that status.
  RigAnswer until_status(std::string_view target, int status, Headers headers = {});

  // What most tests begin with; each gives the id.
  std::string add_flavor(std::string_view name = "small", int vcpus = 1, int ram = 512, int disk = 1);
  std::string add_image(std::string_view name = "guest", std::string_view bytes = "raw bytes of a disk",
                        std::string_view visibility = "public", std::string_view format = "raw");
  std::string add_network(std::string_view name = "net", std::string_view cidr = "10.0.0.0/24",
                          Headers headers = {});
  // ACTIVE, on the project's only network.
  std::string add_server(std::string_view name, Headers headers = {});
  std::string project(std::string_view name);  // id
  // From then on nothing comes to be: what is asked for waits.
  void stop_agents();

  ApiRig rig;
  std::vector<std::unique_ptr<SimulatedHost>> hosts;
  std::string flavor, image;

 private:
  template <class Done>
  RigAnswer wait_for(std::string_view target, const Headers& headers, Done done);

  std::unique_ptr<AgentHost> agents_;
  Projection::WatchId watch_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t records_ = 0;
};

// Does "GET /a/{}/c" stand for "GET /a/b/c"?
bool fits(std::string_view pattern, std::string_view request);
// @name becomes what stands there.
std::string with_names(std::string_view text, const std::map<std::string, std::string>& names);

}  // namespace reprise::api
