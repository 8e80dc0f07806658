// Runs the agents of one or many nodes in this process: a thread that announces, beats and confirms, one per kind of agent
// that looks and plans, and those that carry out what blocks (workers.h): a slow copy of an image, or a guest that hangs,
// holds up nothing else.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agents/core/node_agent.h"

namespace reprise {

// What the host needs of the process's own projection; see projections/runner.h.
struct AgentSource {
  // f(state, head) at a record border.
  std::function<void(const std::function<void(const State&, const Head&)>&)> with_state;
  // Calls back once everything is folded that was in the log at a moment after this call.
  std::function<void(std::function<void(Status)>)> fresh;
};

class AgentHost {
 public:
  AgentHost(Log& log, AgentSource source, ReconcilerOptions options, std::function<void(const std::string&)> say);
  ~AgentHost();  // stop()

  // Before start(). The drivers must outlive the host.
  void add(NodeFacts facts, compute::Driver& compute, storage::Driver& storage, network::Driver& network);
  void start();
  // Ends the threads after the step that each is at. What runs on the node keeps running. False: an action hangs, and its
  // thread with it; it still uses its driver, so that the process has to end without taking that apart.
  bool stop();

  // A record was folded: the nodes whose assignment may have changed by it (all: every one). To be called
  // from the projection's thread, in order.
  void changed(const State::Touched& touched, bool claimed);

  struct NodeStatus {
    NodeFacts facts;
    Seq incarnation = 0;
    std::size_t reports_waiting = 0;
    AgentStatus compute, storage, network;
    std::string stopped;
  };
  std::vector<NodeStatus> status() const;

 private:
  struct Inner;
  std::unique_ptr<Inner> inner_;
};

}  // namespace reprise
