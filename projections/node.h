// Nodes: what they can hold, what they hold, and how far they were heard.
//
//   (none) ─NodeAdmitted─▶ up ─NodeLost─▶ lost ─NodeReturned─▶ up
//                                          └────NodeDead─────▶ dead (admitted again only empty)
//
// One that shares a storage pool is fenced while it is lost (NodeFencing, NodeFenced), if a server there asked to be
// restarted elsewhere; back after that, it has a new storage identity.
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
  enum Index : std::uint8_t { by_name = 0, by_deadline = 1, by_fencer = 2 };

  NodeId id;
  Born born;
  std::string name;
  NodeState state = NodeState::up;
  std::string reason;              // why lost, dead or disabled
  bool disabled = false;
  std::string zone;
  AnyId nonce;                     // of the agents' process that was taken last
  Seq incarnation = 0;             // seq of the event that took it
  std::string boot_id;
  std::uint64_t reports = 0;       // at level 1: number of the last report taken of this incarnation (see reports_taken)
  Seq skipped_at = 0;              // seq of a ReportsSkipped that no full report has answered yet
  std::uint32_t vcpus = 0;
  std::uint64_t ram_mib = 0;
  std::uint64_t disk_gib = 0;
  std::string compute_driver;
  std::string storage_driver;
  std::string network_driver;
  std::string address;
  std::string version;
  std::string storage_pool;        // shared with other nodes; empty: its disks are its own
  Seq renewed = 0;                 // of the event that gave it another storage identity than its first; 0: none did
  Seq lost_seq = 0;                // of the NodeLost by which it is lost; kept only with a storage pool
  NodeId fencer;                   // who was asked last for a fence since then; none: nobody was
  bool fenced = false;             // its present identity writes no more
  std::int64_t deadline_ms = 0;    // when its fence, or what waits on it, is looked at again; 0: never
  std::string waiting;             // why what waits on it does; empty: nothing does
  std::string compute_trouble, storage_trouble, network_trouble;  // why that agent can do nothing here; empty: it can
  bool operator==(const Node&) const = default;

  std::string& trouble(wire::AgentKind agent) {
    return agent == wire::AgentKind::compute ? compute_trouble : agent == wire::AgentKind::storage ? storage_trouble : network_trouble;
  }
  const std::string& trouble(wire::AgentKind agent) const { return const_cast<Node*>(this)->trouble(agent); }
  bool in_trouble() const { return !compute_trouble.empty() || !storage_trouble.empty() || !network_trouble.empty(); }

  // What a client of the storage pool says that it is; never used again once it is another.
  Seq identity() const { return renewed ? renewed : born.seq; }

  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "name", s.name), f(4, "state", s.state), f(5, "reason", s.reason);
    f(6, "disabled", s.disabled), f(7, "zone", s.zone), f(8, "nonce", s.nonce), f(9, "incarnation", s.incarnation);
    f(10, "boot_id", s.boot_id), f(11, "reports", s.reports), f(12, "skipped_at", s.skipped_at), f(13, "vcpus", s.vcpus);
    f(14, "ram_mib", s.ram_mib), f(15, "disk_gib", s.disk_gib), f(16, "compute_driver", s.compute_driver);
    f(17, "storage_driver", s.storage_driver), f(18, "network_driver", s.network_driver), f(19, "address", s.address);
    f(20, "version", s.version), f(21, "storage_pool", s.storage_pool), f(22, "renewed", s.renewed);
    f(23, "lost_seq", s.lost_seq), f(24, "fencer", s.fencer), f(25, "fenced", s.fenced);
    f(26, "deadline_ms", s.deadline_ms), f(27, "waiting", s.waiting);
    f(28, "compute_trouble", s.compute_trouble), f(29, "storage_trouble", s.storage_trouble);
    f(30, "network_trouble", s.network_trouble);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_name, KeyWriter().word(name));
    if (deadline_ms) emit(by_deadline, KeyWriter().time(deadline_ms));
    if (fencer && !fenced) emit(by_fencer, KeyWriter().id(fencer));
  }
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

// How far a node was heard, from level 2 on: the number of the last report that was taken of its incarnation.
struct NodeReports {
  using Key = NodeId;
  static constexpr std::uint8_t table = 30;
  static constexpr const char* table_name = "node_reports";
  static constexpr bool kept_in_history = false;

  NodeId node;
  std::uint64_t taken = 0;
  bool operator==(const NodeReports&) const = default;

  Key key() const { return node; }
  template <class S, class F>
  static void fields(S& s, F&& f) { f(1, "node", s.node), f(2, "taken", s.taken); }
};
// Of the node's present incarnation, at whatever level.
std::uint64_t reports_taken(const State& state, const Node& node);

struct LeftoverKey {
  NodeId node;
  AnyId object;                    // a server (its domain) or a port
  auto operator<=>(const LeftoverKey&) const = default;
};
inline std::string encode_key(const LeftoverKey& key) { return KeyWriter().id(key.node).id(key.object); }
inline void decode_key(std::string_view bytes, LeftoverKey& key) {
  KeyReader in(bytes);
  in.id(key.node);
  in.id(key.object);
}
constexpr std::size_t encoded_key_size(const LeftoverKey&) { return 32; }

// What a fenced node may still have of a server that was evacuated from it. A fence does not silence a guest's network:
// its addresses go to no other server before this is gone (design, section 4).
struct Leftover {
  using Key = LeftoverKey;
  static constexpr std::uint8_t table = 22;
  static constexpr const char* table_name = "leftovers";
  enum Index : std::uint8_t { by_server = 0, by_node = 1 };

  LeftoverKey id;
  Born born;                       // of the server or port
  ServerId server;
  wire::AgentKind agent = wire::AgentKind::compute;  // whose it is to confirm
  Seq since = 0;                   // of the event that wished it away: ports go after the domain
  bool operator==(const Leftover&) const = default;

  Key key() const { return id; }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "node", s.id.node), f(2, "object", s.id.object), f(3, "born", s.born), f(4, "server", s.server);
    f(5, "agent", s.agent), f(6, "since", s.since);
  }
  template <class Emit>
  void indexes(Emit&& emit) const { emit(by_server, KeyWriter().id(server)), emit(by_node, KeyWriter().id(id.node)); }
};

namespace node {
void admitted(State&, const NodeAdmitted&, const Meta&);
void started(State&, const NodeStarted&, const Meta&);
void lost(State&, const NodeLost&, const Meta&);
void returned(State&, const NodeReturned&, const Meta&);
void dead(State&, const NodeDead&, const Meta&);
void enabled_set(State&, const NodeEnabledSet&, const Meta&);
void fencing(State&, const NodeFencing&, const Meta&);
void fenced(State&, const NodeFenced&, const Meta&);
void waiting(State&, const NodeWaiting&, const Meta&);
void leftover_gone(State&, const LeftoverGone&, const Meta&);
void troubled(State&, const NodeTroubled&, const Meta&);
void measured(State&, const NodeMeasured&, const Meta&);
void reports_skipped(State&, const ReportsSkipped&, const Meta&);
// All up to that number were taken.
void count_reports(State&, NodeId, std::uint64_t number);
// To level 2: the counts go into a table of their own.
void set_counts_apart(State&);
}  // namespace node

}  // namespace reprise
