// Histories to fold: a fixed one with every event of the catalog in it, and random ones of any length.
#pragma once

#include <map>
#include <set>

#include "tests/sim/prng.h"
#include "tests/unit/scribe.h"

namespace reprise::testing {

// The life of a small cloud, the same on every machine and for ever: events/golden/spine.log is it.
void tell_spine(Scribe& scribe);

// Of one whose nodes share a storage pool: one is lost, fenced, and back. events/golden/pool.log is it.
void tell_pool(Scribe& scribe);
// Disks that are gone, guests that stand still, nodes in trouble.
void tell_edges(Scribe& scribe);

// A busy cloud: each step writes one record of one to `decisions_max` decisions that its state allows.
class BusyCloud {
 public:
  BusyCloud(Scribe& scribe, std::uint64_t seed) : scribe_(scribe), prng_(seed) {}
  void begin();
  void step(std::size_t decisions_max = 4);

 private:
  std::vector<Event> some_events();
  std::vector<Event> create_something();
  std::vector<Event> create_server();
  std::vector<Event> advance_server(const Server& server);
  std::vector<Event> advance_volume(const Volume& volume);
  std::vector<Event> advance_port(const Port& port);
  std::vector<Event> change_identity();
  template <class Row>
  const Row* any(const Table<Row>& table);
  std::uint64_t next() { return ++last_; }
  // Each object at most once in a record: the events are made from the state before it.
  template <class Id>
  bool take(Id id) {
    return busy_.insert(id.template as<AnyId>()).second;
  }

  Scribe& scribe_;
  sim::Prng prng_;
  std::uint64_t last_ = 100;
  std::uint64_t intents_ = 0;
  std::set<AnyId> busy_;
  std::map<NodeId, std::uint64_t> reports_;
};

}  // namespace reprise::testing
