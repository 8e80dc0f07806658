// What a node's own projection tells its agents at one record border.
#pragma once

#include <memory>
#include <mutex>
#include <set>

#include "agents/core/assignment.h"
#include "events/chain.h"

namespace reprise {

struct NodeView {
  Assignment assignment;
  Seq head = 0;                    // at which this was made
  Seq incarnation = 0;             // of the process that the node row names
  AnyId nonce;                     // of that process
  std::uint64_t reports = 0;       // taken of that incarnation
  std::int64_t reports_read = 0;   // of the topic of reports, all before this offset
  Seq skipped_at = 0;              // a full report made at or past it is asked for
  Seq claimed_at = 0;              // of the last ControllerStarted: it gets full reports
  Born born;                       // of the node's present life
  bool lost = false;               // it is back when it is heard of
  bool dead = false;               // declared so
  Seq void_since = 0;              // what is here is of a life that ended by this head, and goes; 0: it is not
};

NodeView node_view(const State& state, NodeId node, const Head& head);

// The last head that this process confirmed: it had asked for the log's end at `asked_ms` (steady) and
// then folded all that was there.
struct Confirmed {
  Seq seq = 0;                     // 0: none since the start or the last reconnection
  std::int64_t asked_ms = 0;
};

// The disks that its storage agent saw last, at which head.
struct DisksSeen {
  Seq head = 0;
  std::set<std::pair<AnyId, Born>> disks;
};

// What the three agents of a node share. Any thread.
class NodeBoard {
 public:
  std::shared_ptr<const NodeView> view() const { return std::lock_guard(mutex_), view_; }
  void set_view(std::shared_ptr<const NodeView> view) {
    std::lock_guard lock(mutex_);
    view_ = std::move(view);
  }
  Confirmed confirmed() const { return std::lock_guard(mutex_), confirmed_; }
  void confirm(Confirmed confirmed) {
    std::lock_guard lock(mutex_);
    confirmed_ = confirmed;
  }
  // This process's incarnation; 0: not (or no longer) taken.
  Seq incarnation() const { return std::lock_guard(mutex_), incarnation_; }
  void set_incarnation(Seq incarnation) {
    std::lock_guard lock(mutex_);
    incarnation_ = incarnation;
  }
  // The head at which no domain is left that is not wished: disks go after those who write to them.
  Seq servers_settled() const { return std::lock_guard(mutex_), servers_settled_; }
  void set_servers_settled(Seq head) {
    std::lock_guard lock(mutex_);
    servers_settled_ = head;
  }
  // Null: the storage agent of this process has not looked yet.
  std::shared_ptr<const DisksSeen> disks() const { return std::lock_guard(mutex_), disks_; }
  // True: they are others than before.
  bool set_disks(const storage::Have& have, Seq head) {
    auto seen = std::make_shared<DisksSeen>();
    seen->head = head;
    for (const auto& [key, disk] : have.disks) seen->disks.insert(seen->disks.end(), key);
    std::lock_guard lock(mutex_);
    const bool others = !disks_ || disks_->disks != seen->disks;
    disks_ = std::move(seen);
    return others;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const NodeView> view_;
  Confirmed confirmed_;
  Seq incarnation_ = 0;
  Seq servers_settled_ = 0;
  std::shared_ptr<const DisksSeen> disks_;
};

}  // namespace reprise
