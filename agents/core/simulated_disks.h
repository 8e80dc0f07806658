// The disks that a simulated host stands on: its own, or a storage pool that several hosts share and that can be fenced.
#pragma once

#include <mutex>
#include <set>

#include "agents/storage/driver.h"

namespace reprise {

class SimulatedDisks {
 public:
  explicit SimulatedDisks(std::uint64_t gib, bool shared = false) : gib_(gib) { have_.shared = shared; }

  storage::Have have() const;
  bool holds(AnyId id, Born born) const { return std::lock_guard(mutex_), have_.disks.contains({id, born}); }
  bool shuts_out(NodeId node, Seq identity) const { return std::lock_guard(mutex_), have_.shuts_out(node, identity); }
  // Was any client of that node ever shut out?
  bool was_fenced(NodeId node) const { return std::lock_guard(mutex_), have_.fences.contains(node); }
  // One step, as a client on that node does it.
  Status apply(const storage::Action& action, NodeId node);

 private:
  Status create(const storage::DiskWant& want);
  Status evict(ImageId image);

  mutable std::mutex mutex_;
  const std::uint64_t gib_;
  storage::Have have_;
};

}  // namespace reprise
