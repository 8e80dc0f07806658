// What the controller makes of a lost node that shares its storage: who is asked for a fence, which answer counts.
#include "controlplane/decide/evacuate.h"

#include "controlplane/decide/decide.h"
#include "tests/unit/scribe.h"
#undef CHECK  // in tests Catch2's is meant
#include <catch2/catch.hpp>

namespace reprise::testing {
namespace {

const auto node1 = make_id<NodeId>(1, 0x14), node2 = make_id<NodeId>(2, 0x14), node3 = make_id<NodeId>(3, 0x14);
const auto outsider = make_id<NodeId>(4, 0x14);
const auto server = make_id<ServerId>(1, 0x0d);

NodeStarted started(NodeId id, const std::string& pool) {
  return {.id = id, .nonce = id.as<AnyId>(), .zone = "nova", .vcpus = 8, .ram_mib = 8192, .disk_gib = 100, .storage_pool = pool};
}

// Three nodes of a pool and one beside it; a server on the first that asked to be restarted elsewhere.
struct Pool {
  Pool() {
    scribe.write({CloudCreated{.cloud = make_id<CloudId>(1), .log = make_id<LogId>(1), .name = "pool"}});
    for (const auto id : {node1, node2, node3, outsider})
      scribe.write({NodeAdmitted{.id = id, .name = id.str()}, started(id, id == outsider ? "" : "pool")});
    scribe.write({ServerCreated{.id = server, .name = "s", .vcpus = 1, .ram_mib = 512, .disk_gib = 1, .metadata = {"HA_Enabled", "True"}},
                  ServerPlaced{.id = server, .node = node1}, ServerDiskReady{.id = server}, ServerStarted{.id = server}});
  }
  const State& state() const { return scribe.state; }
  const Node& node(NodeId id) const { return state().nodes.at(id); }
  void take(Events events) { scribe.write(std::move(events)); }
  void lose(NodeId id) { take(decide_lost(state(), id, "not heard of", scribe.at_ms + 20'000)); }
  // What is due once the node's deadline has passed.
  Events due() {
    const auto all = decide_due(state(), *next_deadline(state()), 10);
    REQUIRE(all.size() == 1);
    return all[0];
  }
  // The verdict on a report of `by` that the fence is there.
  Events reported(NodeId by, Seq identity, Seq lost) {
    Observed seen;
    seen.agent = wire::AgentKind::storage;
    seen.realized = scribe.head.seq;
    seen.fences.push_back(std::make_unique<FenceSeen>(FenceSeen{.node = node1, .identity = identity, .lost = lost}));
    Report report{.node = by, .incarnation = node(by).incarnation, .number = reports_taken(state(), node(by)) + 1};
    report.body.Set(std::move(seen));
    return decide(state(), report, scribe.at_ms).events;
  }

  Scribe scribe;
};

TEST_CASE("a fence is asked of one of its pool, then of the next, and never of a node beside it") {
  Pool pool;
  pool.lose(node1);
  std::vector<NodeId> asked;
  for (int i = 0; i < 3; ++i) {
    auto events = pool.due();
    REQUIRE(events.size() == 1);
    REQUIRE(events[0].is<NodeFencing>());
    const auto& fencing = events[0].as<NodeFencing>();
    CHECK(fencing.identity == pool.node(node1).identity());
    CHECK(fencing.lost == pool.node(node1).lost_seq);
    asked.push_back(fencing.by);
    pool.take(std::move(events));
  }
  CHECK(asked == std::vector{node2, node3, node2});
}

TEST_CASE("with nobody to ask, a lost node waits, and comes back as who it was") {
  Pool pool;
  pool.lose(node2);
  pool.lose(node3);
  pool.lose(node1);
  auto events = pool.due();
  REQUIRE(events[0].is<NodeWaiting>());
  CHECK(events[0].as<NodeWaiting>().reason.find("no other node of storage pool pool is up") != std::string::npos);
  pool.take(std::move(events));
  CHECK(!pool.node(node1).waiting.empty());
  const Seq before = pool.node(node1).identity();
  pool.take({NodeReturned{.id = node1}});
  CHECK(pool.node(node1).identity() == before);
  CHECK(pool.node(node1).waiting.empty());
}

TEST_CASE("a node that holds something keeps its storage pool") {
  Pool pool;
  const auto announced = [&](NodeId id, const std::string& to) {
    Report report{.node = id};
    report.body.Set(AgentStarted{.nonce = make_id<AnyId>(99), .name = id.str(), .storage_pool = to});
    return decide(pool.state(), report, pool.scribe.at_ms).events;
  };
  CHECK(announced(node2, "other").at(0).is<NodeStarted>());
  for (const char* other : {"other", ""}) {
    auto events = announced(node1, other);
    REQUIRE(events.size() == 1);
    REQUIRE(events[0].is<NodeWaiting>());
    CHECK(events[0].as<NodeWaiting>().reason.find(fmt::format("says now that its pool is '{}'", other)) != std::string::npos);
    pool.take(std::move(events));
    CHECK(announced(node1, other).empty());  // said once
  }
  auto events = announced(node1, "pool");
  REQUIRE(events.at(0).is<NodeStarted>());
  pool.take(std::move(events));
  CHECK(pool.node(node1).waiting.empty());
}

TEST_CASE("only the answer to the present loss and identity is a fence; then who asked for it goes elsewhere in the pool") {
  Pool pool;
  pool.lose(node1);
  pool.take(pool.due());
  const Seq identity = pool.node(node1).identity(), lost = pool.node(node1).lost_seq;
  pool.take({NodeReturned{.id = node1}});
  CHECK(pool.reported(node2, identity, lost).empty());  // slept over: it is back
  CHECK(pool.node(node1).identity() > identity);
  pool.lose(node1);
  CHECK(pool.reported(node2, pool.node(node1).identity(), pool.node(node1).lost_seq).empty());  // nobody was asked yet
  pool.take(pool.due());
  CHECK(pool.reported(node2, identity, lost).empty());
  CHECK(pool.reported(node2, identity, pool.node(node1).lost_seq).empty());
  CHECK(pool.reported(node2, pool.node(node1).identity(), lost).empty());
  const auto events = pool.reported(node3, pool.node(node1).identity(), pool.node(node1).lost_seq);
  REQUIRE(events.size() == 3);
  CHECK(events[0].is<NodeFenced>());
  CHECK(events[1].is<ServerEvacuated>());
  const NodeId to = events[2].as<ServerPlaced>().node;
  CHECK((to == node2 || to == node3));
  pool.take(Events(events));
  CHECK(pool.reported(node2, pool.node(node1).identity(), pool.node(node1).lost_seq).empty());  // twice is harmless
  CHECK(pool.state().leftovers.size() == 1);
}

TEST_CASE("a node that has a server's domain left is not back, and its address is nobody's") {
  Pool pool;
  pool.lose(node1);
  pool.take(pool.due());
  pool.take(pool.reported(node2, pool.node(node1).identity(), pool.node(node1).lost_seq));
  const auto heard = [&](bool present, Seq since) {
    Observed seen;
    seen.realized = pool.scribe.head.seq;
    seen.servers.push_back(std::make_unique<ServerSeen>(
        ServerSeen{.id = server, .born = pool.state().servers.at(server).born, .since = since, .present = present}));
    Report report{.node = node1, .incarnation = pool.node(node1).incarnation, .number = reports_taken(pool.state(), pool.node(node1)) + 1};
    report.body.Set(std::move(seen));
    return decide(pool.state(), report, pool.scribe.at_ms).events;
  };
  const Seq since = pool.state().leftovers.find({node1, server.as<AnyId>()})->since;
  CHECK(heard(true, since).empty());
  CHECK(heard(false, since - 1).empty());  // seen before it was wished away
  const auto events = heard(false, since);
  REQUIRE(events.size() == 2);
  CHECK(events[0].is<LeftoverGone>());
  CHECK(events[1].is<NodeReturned>());
}

TEST_CASE("who did not ask for it stays, and its node is not fenced") {
  Pool pool;
  CHECK(evacuate::is_asked_for(pool.state().servers.at(server)));
  pool.take({ServerUnplaced{.id = server}, ServerVacated{.id = server}});
  pool.lose(node1);
  CHECK(pool.node(node1).deadline_ms == 0);
  Server row;
  for (const char* value : {"false", "", "1", "truely"}) {
    row.metadata = {"HA_Enabled", value};
    CHECK_FALSE(evacuate::is_asked_for(row));
  }
  row.metadata = {"other", "true", "HA_Enabled", "TRUE"};
  CHECK(evacuate::is_asked_for(row));
}

// A decision has to fit in a record, however much a node holds.
struct FullPool : Pool {
  static constexpr int many = 600;

  // `room`: in servers of the smallest size, on each node but `from`.
  FullPool(NodeId from, std::uint32_t room) {
    for (const auto id : {node1, node2, node3, outsider}) {
      NodeStarted sized = started(id, id == outsider ? "" : "pool");
      sized.vcpus = id == from ? many + 1 : room;
      sized.ram_mib = sized.disk_gib = 100'000;
      take({sized});
    }
    for (int i = 0; i < many; ++i) {
      const auto id = make_id<ServerId>(static_cast<std::uint64_t>(i) + 100, 0x0d);
      take({ServerCreated{.id = id, .name = "s", .vcpus = 1, .ram_mib = 1, .disk_gib = 1, .metadata = {"HA_Enabled", "true"}},
            ServerPlaced{.id = id, .node = from}, ServerDiskReady{.id = id}, ServerStarted{.id = id}});
    }
  }
  std::size_t held(NodeId id) const {
    std::size_t count = 0;
    state().servers.each_by(Server::by_node, encode_key(id), [&](const Server&) { return ++count, true; });
    return count;
  }
  // Takes what follows at once after `events`, to the end: so many decisions.
  int take_all(NodeId id, Events events) {
    for (int decisions = 1;; ++decisions, events = due()) {
      take(std::move(events));
      CHECK(scribe.records.back().bytes.size() < record_bytes_max / 16);
      if (!node(id).deadline_ms || node(id).deadline_ms > scribe.at_ms) return decisions;
    }
  }
  Events declared_dead(NodeId id) {
    Intent intent;
    intent.body.Set(DeclareNodeDead{.id = id});
    return node::declare_dead(state(), {.id = id}, {.intent = intent, .rights = {.known = true, .admin = true}, .at_ms = scribe.at_ms});
  }
};

TEST_CASE("all that a node with local disks held is cleared a few at a time, and only then is it admitted again") {
  FullPool pool(outsider, 1'000);
  pool.lose(outsider);
  auto events = pool.declared_dead(outsider);
  pool.take(Events(events));
  Report report{.node = outsider, .incarnation = pool.scribe.head.seq};
  report.body.Set(AgentStarted{.nonce = make_id<AnyId>(99), .name = outsider.str()});
  CHECK(decide(pool.state(), report, pool.scribe.at_ms).events.empty());
  CHECK(pool.take_all(outsider, pool.due()) > 30);
  CHECK(pool.held(outsider) == 0);
  CHECK(decide(pool.state(), report, pool.scribe.at_ms).events.at(0).is<NodeAdmitted>());
}

TEST_CASE("all that a fenced node held goes elsewhere a few at a time") {
  FullPool pool(node1, 1'000);
  pool.lose(node1);
  pool.take(pool.due());
  CHECK(pool.take_all(node1, pool.reported(node2, pool.node(node1).identity(), pool.node(node1).lost_seq)) > 30);
  CHECK(pool.held(node1) == 0);
  CHECK(pool.node(node1).waiting.empty());
}

TEST_CASE("what found no room elsewhere begins anew, a few at a time, on a dead node that is admitted again") {
  FullPool pool(node1, 20);
  pool.lose(node1);
  pool.take_all(node1, pool.declared_dead(node1));
  CHECK(pool.held(node1) == FullPool::many + 1 - 2 * 20);
  CHECK(pool.node(node1).waiting.find("561 servers and volumes wait for room") == 0);
  Report report{.node = node1, .incarnation = pool.scribe.head.seq};
  report.body.Set(AgentStarted{.nonce = make_id<AnyId>(99), .name = node1.str(), .vcpus = 1'000, .ram_mib = 100'000, .disk_gib = 100'000,
                               .storage_pool = "pool"});
  CHECK(pool.take_all(node1, decide(pool.state(), report, pool.scribe.at_ms).events) > 30);
  CHECK(pool.node(node1).state == NodeState::up);
  CHECK(pool.node(node1).waiting.empty());
  pool.state().servers.each_by(Server::by_node, encode_key(node1), [&](const Server& row) {
    CHECK(row.task == TaskState::rebuilding);
    return true;
  });
}

}  // namespace
}  // namespace reprise::testing
