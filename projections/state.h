// The state of the cluster at one record border: plain tables. fold() (fold.h) is the only thing that
// changes it; decide, assignment, the api's offline reads and the verifier read it.
#pragma once

#include <set>

#include "projections/cloud.h"
#include "projections/flavor.h"
#include "projections/identity.h"
#include "projections/image.h"
#include "projections/network.h"
#include "projections/node.h"
#include "projections/node_columns.h"
#include "projections/server.h"
#include "projections/table.h"
#include "projections/volume.h"

namespace reprise {

struct State {
#define TABLE(Row, member) Table<Row> member;
#include "projections/tables.def"
#undef TABLE

  // Whether changes are collected for a store, and whether steps can be undone.
  explicit State(bool collect_changes = false, bool keep_undo = false);
  // Not here: whoever includes this would compile all the tables' anew.
  ~State();
  State(State&&) noexcept;
  State& operator=(State&&) noexcept;

  // The one row about the cloud; all zero before the genesis.
  const Cloud& the_cloud() const;

  // Makes the consequences of the rows touched by one event (called by fold alone).
  void settle();

  Hash digest() const;
  // Of the rows that are not kept in the history alone: what a digest of the past has beside the rows that are.
  Hash digest_apart() const { return apart_.value(); }
  template <class Row>
  Digest& digest_for_loading() { return in_history<Row>() ? digest_ : apart_; }

  // What changed since the last call, in order (collect_changes).
  Changes take_changes();
  // Nodes whose assignment may have changed since the last call; worked out from the rows themselves.
  struct Touched {
    std::set<NodeId> nodes;
    bool all = false;
  };
  Touched take_touched();

  // The nodes as columns, up to date (a cache: see node_columns.h).
  const NodeColumns& node_columns() const;

  // A point to come back to (keep_undo).
  struct Mark {
    std::vector<std::size_t> sizes;
    Digest digest, apart;
  };
  Mark mark() const;
  void roll_back(const Mark& mark);
  // `oldest` is the oldest mark still wanted: what lies before it is forgotten, and every other mark
  // that is kept has to be shifted by what is returned.
  std::vector<std::size_t> forget_before(const Mark& oldest);

  // A copy for the controller's own use: same rows, other ways of collecting.
  State copy(bool collect_changes, bool keep_undo) const;

 private:
  State(const State&);
  template <class Row>
  void derive(const Row* before, const Row* after);

  Digest digest_, apart_;          // of what is kept in the history, and of what is not
  Changes changes_;
  Touched touched_;
  mutable NodeColumns node_columns_;
  bool collect_changes_ = false;
  bool keep_undo_ = false;
};

// What one row counts for: the sums of Usage and NodeUse are made of these alone (usage.cc).
void count_usage(State& state, const Server* before, const Server* after);
void count_usage(State& state, const Volume* before, const Volume* after);
void count_usage(State& state, const Network* before, const Network* after);
void count_usage(State& state, const Subnet* before, const Subnet* after);
void count_usage(State& state, const Port* before, const Port* after);
void count_usage(State& state, const Keypair* before, const Keypair* after);

// Recomputes every counter from the rows; the words say which differs. Empty: all agree.
std::string check_counters(const State& state);

}  // namespace reprise
