// `status` as JSON: roles, head and digest, lag, nodes, and all that is not settled, with the reason.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "projections/runner.h"

namespace reprise::story {

// Of one agent in a running process.
struct AgentLine {
  std::string kind;
  std::string trouble;
  std::string last_error;
  Seq realized = 0;
  std::uint64_t actions = 0;
  std::uint64_t failures = 0;
};
struct NodeLine {
  NodeId id;
  std::string stopped;
  std::size_t reports_waiting = 0;
  std::vector<AgentLine> agents;
};
struct ControllerLine {
  std::string role;
  ControllerId id;
  std::string reason;
  std::uint64_t claims = 0;
  std::uint64_t decisions = 0;
  std::vector<NodeId> held;
};
// What only a running process knows.
struct Running {
  std::vector<std::string> roles;
  ProjectionStatus projection;
  std::optional<ControllerLine> controller;
  std::vector<NodeLine> nodes;
};

std::string status_json(const View& now, const Running* running);

}  // namespace reprise::story
