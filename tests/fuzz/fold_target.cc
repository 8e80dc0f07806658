// Any bytes as a record: decoded, judged and folded on top of some state of the spine's life. What decide() never
// makes may stop the process at a CHECK (design, rule 9 of the style); anything else that goes wrong is a finding.
// Input: how much of the spine was folded, then the record without its hash (which is made right).
#include <algorithm>
#include <cstdlib>

#include "events/print.h"
#include "projections/replay.h"
#include "tests/fuzz/invariant.h"
#include "tests/unit/story.h"

using namespace reprise;

namespace {

// What every reader holds after so many records of the spine, then of the pool's story.
struct Reader {
  State state{true, true};
  Head head;
  MemoryHashes seen;
};

const std::vector<Reader>& readers() {
  static const auto made = [] {
    std::vector<Reader> all(1);
    for (const auto tell : {testing::tell_spine, testing::tell_pool, testing::tell_edges}) {
      testing::Scribe scribe;
      tell(scribe);
      Reader reader;
      for (const auto& written : scribe.records) {
        const auto step = read_step(reader.head, reader.seen, {reader.head.offset + 1, written.bytes});
        if (step.verdict != Verdict::extends || !apply_step(reader.state, reader.head, step)) std::abort();
        reader.seen.add(step.hash);
        all.push_back({reader.state.copy(true, true), reader.head, reader.seen});
      }
    }
    return all;
  }();
  return made;
}

void fold_on(std::size_t count, std::string_view payload) {
  const auto& [told, before, seen] = readers()[count];
  auto head = before;
  Bytes bytes(payload);
  const Hash own = blake2b(bytes);
  bytes.append(reinterpret_cast<const char*>(own.bytes.data()), own.bytes.size());
  auto record = decode_record(bytes);
  if (!record) return;
  (void)read_step(head, seen, {before.offset + 1, bytes});
  // Whatever it says of its place, let it stand at the head's.
  record->log = head.log, record->level = std::max<std::uint16_t>(head.level, 1), record->seq = head.seq + 1;
  record->prev = head.hash, record->at_ms = std::max(record->at_ms, head.at_ms), record->controller = head.controller;
  const auto sealed = encode(*record);
  const auto again = decode_record(sealed.bytes);
  if (!again || !(*again == *record)) std::abort();  // the codec's own words must come back
  const auto step = read_step(head, seen, {before.offset + 1, sealed.bytes});
  (void)notes_of(*record);
  for (const auto& decision : record->decisions) {
    for (const auto& event : decision.events) (void)print_words(event), (void)event_json(event), (void)subject(event);
    if (const auto intent = decode_intent(decision.intent)) (void)print_words(*intent), (void)intent_json(*intent);
  }
  if (step.verdict != Verdict::extends) return;
  State state = told.copy(true, true);
  (void)apply_step(state, head, step);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes rest(reinterpret_cast<const char*>(data) + 1, size - 1);  // aligned, as what a log gives
  (void)decode_intent(rest);
  (void)decode_report(rest);
  (void)decode_heartbeat(rest);
  fuzz::until_invariant([&] { fold_on(data[0] % readers().size(), rest); });
  return 0;
}
