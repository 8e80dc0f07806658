// Nodes: what they can hold, what they hold, and how far they were heard.
//
//   (none) ─NodeAdmitted─▶ up ─NodeLost─▶ lost ─NodeReturned─▶ up
//                                          └────NodeDead─────▶ dead (admitted again only empty)
#pragma once

#include "events/codec.h"
#include "projections/canonical.h"
#include "projections/meta.h"

namespace reprise {

struct State;

struct Node {
  using Key = NodeId;
  static constexpr std::uint8_t table = 20;
  static constexpr const char* table_name = "nodes";
  enum Index : std::uint8_t { by_name = 0 };

  NodeId id;
  Born born;                       // born.seq is its storage identity
  std::string name;
  NodeState state = NodeState::up;
  std::string reason;              // why lost, dead or disabled
  bool disabled = false;
  std::string zone;
  AnyId nonce;                     // of the agents' process that was taken last
  Seq incarnation = 0;             // seq of the event that took it
  std::string boot_id;
  std::uint64_t reports = 0;       // number of the last report taken of this incarnation
  Seq skipped_at = 0;              // seq of a ReportsSkipped that no full report has answered yet
  std::uint32_t vcpus = 0;
  std::uint64_t ram_mib = 0;
  std::uint64_t disk_gib = 0;
  std::string compute_driver;
  std::string storage_driver;
  std::string network_driver;
  std::string address;
  std::string version;
  bool operator==(const Node&) const = default;

  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "name", s.name), f(4, "state", s.state), f(5, "reason", s.reason);
    f(6, "disabled", s.disabled), f(7, "zone", s.zone), f(8, "nonce", s.nonce), f(9, "incarnation", s.incarnation);
    f(10, "boot_id", s.boot_id), f(11, "reports", s.reports), f(12, "skipped_at", s.skipped_at), f(13, "vcpus", s.vcpus);
    f(14, "ram_mib", s.ram_mib), f(15, "disk_gib", s.disk_gib), f(16, "compute_driver", s.compute_driver);
    f(17, "storage_driver", s.storage_driver), f(18, "network_driver", s.network_driver), f(19, "address", s.address);
    f(20, "version", s.version);
  }
  template <class Emit>
  void indexes(Emit&& emit) const { emit(by_name, KeyWriter().word(name)); }
};

// What servers and volumes take of a node: made from their rows as they change (usage.cc).
struct NodeUse {
  using Key = NodeId;
  static constexpr std::uint8_t table = 21;
  static constexpr const char* table_name = "node_use";

  NodeId node;
  std::int64_t vcpus = 0;
  std::int64_t ram_mib = 0;
  std::int64_t disk_gib = 0;
  std::int64_t servers = 0;
  std::int64_t volumes = 0;
  bool operator==(const NodeUse&) const = default;

  Key key() const { return node; }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "node", s.node), f(2, "vcpus", s.vcpus), f(3, "ram_mib", s.ram_mib), f(4, "disk_gib", s.disk_gib);
    f(5, "servers", s.servers), f(6, "volumes", s.volumes);
  }
};

namespace node {
void admitted(State&, const NodeAdmitted&, const Meta&);
void started(State&, const NodeStarted&, const Meta&);
void lost(State&, const NodeLost&, const Meta&);
void returned(State&, const NodeReturned&, const Meta&);
void dead(State&, const NodeDead&, const Meta&);
void enabled_set(State&, const NodeEnabledSet&, const Meta&);
void reports_skipped(State&, const ReportsSkipped&, const Meta&);
}  // namespace node

}  // namespace reprise
