// What one node should be, as a pure function of the state: its servers, disks, ports and networks.
//
// Order on one node: a server enters compute's part when its disk and ports are ready by event. While it
// leaves, compute must be gone first; then disk and ports are wanted absent, each with the seq of the
// wish, until the agent has confirmed.
#pragma once

#include "agents/compute/driver.h"
#include "agents/network/driver.h"
#include "agents/storage/driver.h"
#include "projections/state.h"

namespace reprise {

struct Assignment {
  Seq seq = 0;                 // of the head that it was made at
  compute::Want compute;
  storage::Want storage;
  storage::Fences fences;      // of other nodes of its storage pool
  network::Want network;
};

Assignment assignment(const State& state, NodeId node, Seq seq);

}  // namespace reprise
