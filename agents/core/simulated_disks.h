// The disks that a simulated host stands on: its own, or a storage pool that several hosts share and that can be fenced.
//
// A disk has content, a number: what it was made from, changed by each write of a guest. So a checker sees whether a disk is
// the one that it was. What is on them outlives the process when they are given a journal (SimulatedJournal).
#pragma once

#include <functional>
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

  // A guest wrote to it, as a client on that node; what it holds then. Nothing: it is not there, or the node is shut out.
  std::optional<std::uint64_t> write(AnyId id, Born born, NodeId node, Seq identity, std::uint64_t value);
  std::optional<std::uint64_t> content(AnyId id, Born born) const;
  // From which image it was made; none: empty.
  std::optional<ImageId> made_from(AnyId id, Born born) const;
  // From outside: it is gone, as with a file system that was lost. False: it was not there.
  bool vanish(AnyId id, Born born);
  // Told of each change, as a line that take() understands.
  void journal(std::function<void(const std::string&)> line);
  // A line of a journal. False: it is none.
  bool take(const std::string& line);

 private:
  Status create(const storage::DiskWant& want);
  Status evict(ImageId image);
  void erase(const std::pair<AnyId, Born>& key);
  void note(const std::string& line) { if (journal_) journal_(line); }

  struct Bytes {
    ImageId from;
    std::uint64_t content = 0;
  };

  mutable std::mutex mutex_;
  const std::uint64_t gib_;
  storage::Have have_;
  std::map<std::pair<AnyId, Born>, Bytes> bytes_;
  std::function<void(const std::string&)> journal_;
};

}  // namespace reprise
