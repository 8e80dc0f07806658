// What makes one history out of whatever stands in the events topic (design, section 2, rules 1, 3, 8).
// Every reader judges every entry alike: it extends the head, it is void (lost a race: skipped and
// counted), or the log is broken (stop, and name the position).
#pragma once

#include <string>
#include <unordered_set>

#include "events/codec.h"
#include "events/ids.h"

namespace reprise {

// The last record folded, as far as the chain needs it.
struct Head {
  LogId log;
  std::uint16_t level = 0;
  Seq seq = 0;                 // 0: nothing folded yet
  Hash hash;
  std::int64_t at_ms = 0;
  ControllerId controller;     // of the last claim: only its records count
  LogId sealed_to;             // some: the last record was LogSealed
  std::int64_t offset = -1;    // of that record in this log
  bool operator==(const Head&) const = default;
};

// The hashes of all records of this log that were ever folded or void.
class SeenHashes {
 public:
  virtual ~SeenHashes() = default;
  virtual bool contains(const Hash& hash) const = 0;
};

class MemoryHashes final : public SeenHashes {
 public:
  bool contains(const Hash& hash) const override { return set_.contains(hash); }
  void add(const Hash& hash) { set_.insert(hash); }
  std::size_t size() const { return set_.size(); }

 private:
  std::unordered_set<Hash> set_;
};

enum class Verdict { extends, is_void, broken };

struct Judgement {
  Verdict verdict = Verdict::broken;
  std::string why;  // for void and broken, in words
};

Judgement judge(const Head& head, const SeenHashes& seen, const Record& record);

// The head after a record that extends it.
Head advance(const Head& head, const Record& record, const Hash& hash, std::int64_t offset);

// Is this record a claim: alone, ControllerStarted, under the record's own controller id?
bool is_claim(const Record& record);

}  // namespace reprise
