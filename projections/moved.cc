#include "projections/moved.h"

#include <fmt/format.h>

#include "projections/fetch.h"
#include "projections/view.h"

namespace reprise {
namespace {

constexpr std::size_t entries_at_once = 256;

}  // namespace

Status move_store(Store& store, Log& log, std::chrono::milliseconds patience) {
  const Seq last = store.head().head.seq;
  const View view = View::now(store.snapshot());
  const auto end = fetch_end(log, Topic::events, patience);
  if (!end) return end.error();
  auto reader = WaitingReader::open(log, Topic::events, 0);
  if (!reader) return reader.error();
  StoreMove move{.place = log.place()};
  auto next = view.line_of(1);
  while (next && move.offsets.size() < last && reader->position() < *end) {
    const auto entries = reader->next(entries_at_once, patience);
    if (!entries) return entries.error();
    for (const auto& entry : *entries) {
      Hash hash;
      if (const auto record = decode_record(entry.bytes, &hash); !record)
        break;  // its reader says what is wrong
      if (hash != next->hash) {
        move.voids.push_back(hash);
        continue;
      }
      move.offsets.push_back(entry.offset);
      next = view.line_of(move.offsets.size() + 1);
      if (!next) break;
    }
  }
  if (!view.status()) return view.status();
  if (move.offsets.size() < last)
    return {
        Errc::conflict,
        fmt::format("the projection in {} has read seq {} from {}; {} does not hold what was read there from "
                    "seq {} on. If it is a copy that did not end: reprise log copy {} {}",
                    store.dir(), last, store.head().place, log.place(), move.offsets.size() + 1,
                    store.head().place, log.place())};
  return store.move(move);
}

}  // namespace reprise
