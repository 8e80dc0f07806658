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
  std::int64_t busy_since_ms = 0;   // CLOCK_BOOTTIME; 0: nothing is under way
  std::string busy_with;
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
  std::string clock;  // what is wrong with its host's; empty: nothing is known to be
};
// Of the verification in the background.
struct VerificationLine {
  std::string state;          // "verifying", "resting", "waiting" (the log does not answer), "broken"
  Seq seq = 0;                // verified in this round
  Seq target = 0;             // where this round ends
  Seq whole_seq = 0;          // how far the last whole round came; 0: there was none
  std::int64_t whole_ms = 0;  // and when it ended, in wall time
  std::int64_t next_ms = 0;   // while it rests: when the next one begins
  std::string trouble;        // why it waits
  std::string broken;         // what was found; empty: nothing
  Seq broken_after = 0;       // the last good one before it
  std::int64_t broken_offset = 0;
  std::string remedy;  // what to do next
};

// What only a running process knows.
struct Running {
  std::vector<std::string> roles;
  ProjectionStatus projection;
  std::optional<ControllerLine> controller;
  std::vector<NodeLine> nodes;
  std::optional<VerificationLine> verification;
};

std::string status_json(const View& now, const Running* running);

}  // namespace reprise::story
