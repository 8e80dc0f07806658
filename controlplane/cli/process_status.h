// What one process knows of itself beyond the state: its roles, its controller, its agents; and the route
// GET /status, which tells it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agents/core/agent_host.h"
#include "controlplane/api/service.h"
#include "controlplane/controller.h"
#include "controlplane/story/status.h"

namespace reprise::cli {

struct ProcessStatus {
  std::vector<std::string> roles;
  std::optional<Controller::Status> controller;
  std::vector<AgentHost::NodeStatus> nodes;
  std::optional<story::VerificationLine> verification;
};

class ProcessStatusSource {
 public:
  virtual ~ProcessStatusSource() = default;
  virtual ProcessStatus process_status() const = 0;
};

void register_process_routes(api::Api& api, const ProcessStatusSource& source);

}  // namespace reprise::cli
