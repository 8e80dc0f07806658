// Writes a chain of records as a controller would: every record is folded, its digest is the state's. For
// tests and benchmarks of all that reads a log.
#pragma once

#include <string>
#include <vector>

#include "events/chain.h"
#include "projections/fold.h"

namespace reprise::testing {

struct Written {
  Record record;
  Bytes bytes;
  Hash hash;
};

class Scribe {
 public:
  explicit Scribe(bool keep_records = true) : keep_records_(keep_records) {}

  // One record on top of the last. Level raises and log changes are taken over for those that follow.
  const Written& write(std::vector<Decision> decisions);
  const Written& write(std::vector<Event> events);
  // The claim of the next controller; what follows is in its name.
  const Written& claim();

  std::vector<Written> records;  // only the last, unless records are kept
  State state;
  Head head;
  std::int64_t at_ms = 1'700'000'000'000;
  std::vector<Position> positions;

 private:
  bool keep_records_;
  std::uint64_t claims_ = 0;
};

// Ids that tell in a dump what they are: n in the low half, a number per kind in the high one.
template <class Id>
Id make_id(std::uint64_t n, std::uint64_t kind = 0xa1) {
  return Id{kind, n};
}

Decision by_controller(std::vector<Event> events);
Decision by_timer(std::vector<Event> events);
Decision by_report(NodeId node, std::uint64_t number, std::vector<Event> events);
// `n` makes the intent's id and offset.
Decision by_intent(std::uint64_t n, Intent intent, std::vector<Event> events);
Intent intent_of(std::uint64_t n, std::int64_t expires_ms, AnyId object);

// Everything in a state, row by row and entry by entry: equal texts are equal states.
std::string image_of(const State& state);

// Records as one file: for each, its length in four bytes, little-endian, and its bytes.
std::string pack_log(const std::vector<Written>& records);
std::vector<Bytes> unpack_log(std::string_view file);

}  // namespace reprise::testing
