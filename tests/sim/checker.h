// Looks at the simulated world itself, not at what was reported of it: each host right after each effect on it, each
// event as it is folded, and everything once all rests.
#pragma once

#include "tests/sim/processes.h"

namespace reprise::sim {

class Checker {
 public:
  Checker(Ground& ground, const std::vector<std::unique_ptr<NodeProcess>>& nodes) : ground_(ground), nodes_(nodes) {}

  // An effect is about to take place on that host: it is looked at when that is done.
  void effect(std::size_t node, AgentKind agent, const std::string& what, AnyId object);
  // A guest wrote to that disk, which holds this now.
  void written(AnyId disk, Born born, std::uint64_t content) { content_[{disk, born}] = content; }
  // That disk is lost, for good. False: it is not known to be made, or is on its way out, and may be made anew.
  bool vanishes(AnyId disk, Born born);
  // It has nothing of its network until that is applied anew.
  void restarted(std::size_t node) { network_gone_.insert(node); }
  void folded(const Step& step, const State& state);
  // From now on nothing goes wrong: an event that says so is a fault of ours.
  void expect_calm(bool enough_room) { calm_ = true, room_ = enough_room; }
  // How often that server was started or rebooted on any host.
  std::uint64_t boots(AnyId server) const { const auto at = boots_.find(server); return at == boots_.end() ? 0 : at->second; }
  // What agents told is remembered, before the log forgets it.
  void look_at_reports();
  // Everything rests: hosts and state must agree.
  void at_rest(const State& state);
  // Which node, after reports of it were missing, has not told everything again yet; empty: none.
  std::string silent_after_gap();

 private:
  NodeProcess* process(NodeId id) const;
  // After that seq; no node: on any.
  bool placed_again(ServerId server, NodeId node, Seq since) const;
  void look_at(std::size_t node);
  void look_at_server(std::size_t node, const compute::ServerHave& server);
  void look_at_addresses(std::size_t node);
  void look_at_disks(std::size_t node);
  void compare_disks(NodeProcess& node, const State& state);
  void compare_host(NodeProcess& node, const State& state);
  void check_state(const State& state);
  void check_orphans(const State& state);
  void check_event(const Event& event, Seq seq, const State& state);
  void check_placed(const Record& record, const State& state);
  void check_placed_well(const Record& record, const State& state);
  void check_spread(const Record& record, const State& state);
  void check_report(const Decision& decision, Seq seq);
  void note_skipped(const Decision& decision);
  void check_time(const Step& step);
  void check_released(const Decision& decision, Seq seq);
  void check_owner(const Intent& intent, const State& state);
  const compute::ServerHave* domain_of(const Server& row);
  // What is folded here may lag behind: by the log, too.
  bool dead_in_log(std::size_t node) const;
  bool dead(std::size_t node) const { return dead_.contains(nodes_[node]->facts().id); }
  std::string name(std::size_t node) const { return nodes_[node]->facts().name; }

  Ground& ground_;
  const std::vector<std::unique_ptr<NodeProcess>>& nodes_;
  std::map<std::pair<AnyId, Born>, std::uint64_t> content_;  // of each disk that was written to, since it was last made on purpose
  std::set<std::pair<AnyId, Born>> vanished_;
  std::set<std::size_t> looking_;
  std::set<std::size_t> network_gone_;
  std::set<NodeId> dead_;  // declared so, and not back: guests may go on there, but their addresses are others'
  // Of which server a node has said that it holds nothing: it must not run there again in that tenure.
  std::map<std::pair<ServerId, NodeId>, Seq> released_;
  struct Counted {
    std::int64_t used = 0, limit = 0;
  };
  std::map<std::pair<ProjectId, std::size_t>, Counted> quotas_;
  std::set<ServerId> evacuated_;     // in this very record: what was said of its former node is no answer
  std::set<ProjectId> quota_set_;  // in this very record: it may have been otherwise while it was used
  compute::Have have_;  // what domain_of() points into
  std::map<ServerId, std::string> running_;
  std::map<AnyId, std::uint64_t> boots_;
  std::map<AnyId, ProjectId> owners_;
  std::set<std::pair<UserId, ProjectId>> admins_;  // who ever was one
  bool calm_ = false, room_ = true;
  // What was taken of each node's present process.
  struct Taken {
    Seq incarnation = 0;
    std::uint64_t number = 0;
    bool skipped = false;              // reports were found missing
    std::uint64_t skipped_number = 0;  // what is told after this one is told since
  };
  std::map<NodeId, Taken> taken_;
  // What agents told, of each process of a node; as far as it was looked at before it was forgotten.
  std::map<std::pair<NodeId, Seq>, std::map<std::uint64_t, std::optional<wire::AgentKind>>> told_;  // full ones: by which agent
  std::int64_t looked_at_ = 0;       // offset in the topic of reports
  std::int64_t last_at_ms_ = -1, last_written_ms_ = 0;  // of the record before
  bool forgotten_ = false;           // some, before they were looked at
};

}  // namespace reprise::sim
