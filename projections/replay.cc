#include "projections/replay.h"

#include <fmt/format.h>

#include "projections/fold.h"

namespace reprise {

Step read_step(const Head& head, const SeenHashes& seen, const Entry& entry) {
  Step step;
  step.offset = entry.offset;
  auto record = decode_record(entry.bytes, &step.hash);
  if (!record) {
    step.why = fmt::format("the entry at offset {}, after seq {}, is unreadable: {}", entry.offset, head.seq,
                           record.error().text);
    return step;
  }
  auto judgement = judge(head, seen, *record);
  step.verdict = judgement.verdict;
  if (step.verdict != Verdict::extends)
    step.why = fmt::format("the record at offset {} (it calls itself seq {}) {}", entry.offset, record->seq,
                           judgement.why);
  step.record = std::move(*record);
  return step;
}

Status apply_step(State& state, Head& head, const Step& step) {
  CHECK(step.verdict == Verdict::extends);
  fold(state, step.record);
  if (state.digest() != step.record.digest)
    return {Errc::conflict,
            fmt::format("the digest of the state after seq {} is {}, but the record at offset {} says {}",
                        step.record.seq, state.digest().hex(), step.offset, step.record.digest.hex())};
  head = advance(head, step.record, step.hash, step.offset);
  return {};
}

RecordNotes notes_of(const Record& record) {
  RecordNotes notes;
  for (std::uint32_t i = 0; i < record.decisions.size(); ++i) {
    const Decision& decision = record.decisions[i];
    if (decision.cause == Cause::intent) {
      if (const auto intent = decode_intent(decision.intent)) {
        notes.intents.emplace_back(intent->id, i);
        if (intent->object) notes.objects.push_back(intent->object);
      }
    }
    for (const auto& event : decision.events)
      if (event.is<IntentRefused>())
        if (const AnyId object = event.as<IntentRefused>().object) notes.objects.push_back(object);
  }
  return notes;
}

}  // namespace reprise
