#include "tests/sim/history.h"

#include <fmt/format.h>

namespace reprise::sim {
namespace {

// As a store gives it back after a restart.
State reloaded(const State& state) {
  State again;
#define TABLE(Row, member)                                                                 \
  state.member.each([&](const Row& row) {                                                  \
    const std::string bytes = encode_row(row);                                             \
    auto read = decode_row<Row>(bytes);                                                    \
    CHECK(read);                                                                           \
    again.member.load(std::move(*read), Table<Row>::row_hash(encode_key(row.key()), bytes), again.digest_for_loading<Row>()); \
  });
#include "projections/tables.def"
#undef TABLE
  return again;
}

}  // namespace

std::string check_replay(const SimLog& log, const State& state, Prng prng) {
  State again;
  Head head;
  MemoryHashes seen;
  for (const auto& stored : log.stored(Topic::events)) {
    const Step step = read_step(head, seen, {stored.offset, stored.bytes});
    if (step.verdict == Verdict::broken) return "replay from zero: " + step.why;
    seen.add(step.hash);
    if (step.verdict != Verdict::extends) continue;
    if (auto status = apply_step(again, head, step); !status) return "replay from zero: " + status.error().text;
    if (prng.chance(10)) again = reloaded(again);
  }
  return again.digest() == state.digest() ? "" : "replay from zero ends in another digest";
}

std::string check_damage(const SimLog& log, const Head& known, Prng prng) {
  const auto& stored = log.stored(Topic::events);
  const std::size_t damaged = prng.below(stored.size());
  Bytes bytes = stored[damaged].bytes;
  const std::size_t at = prng.below(bytes.size());
  const auto flip = static_cast<char>(1u << prng.below(8));
  bytes[at] = static_cast<char>(bytes[at] ^ flip);
  Head head;
  MemoryHashes seen;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const Step step = read_step(head, seen, {stored[i].offset, i == damaged ? bytes : stored[i].bytes});
    if (step.verdict == Verdict::broken)
      return i >= damaged ? "" : fmt::format("record {} is called broken, but a byte of {} was flipped: {}", i, damaged, step.why);
    seen.add(step.hash);
    if (step.verdict == Verdict::extends) head = advance(head, step.record, step.hash, step.offset);
  }
  if (head == known || stored[damaged].offset == known.offset) return {};
  return fmt::format("byte {} of offset {} was flipped, and a reader ends at seq {} instead of {} without a word", at,
                     stored[damaged].offset, head.seq, known.seq);
}

}  // namespace reprise::sim
