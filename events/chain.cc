#include "events/chain.h"

#include <fmt/format.h>

namespace reprise {
namespace {

const Event* only_event(const Record& record) {
  if (record.decisions.size() != 1 || record.decisions[0].events.size() != 1) return nullptr;
  return &record.decisions[0].events[0];
}

bool is_genesis(const Record& record) {
  return record.seq == 1 && !record.prev && !record.decisions.empty() && !record.decisions[0].events.empty() &&
         record.decisions[0].events[0].is<CloudCreated>();
}

Judgement broken(std::string why) { return {Verdict::broken, std::move(why)}; }
Judgement lost(std::string why) { return {Verdict::is_void, std::move(why)}; }

Judgement judge_first(const Record& record) {
  if (!is_genesis(record)) return broken(fmt::format("the log begins with seq {} instead of a genesis", record.seq));
  if (record.decisions[0].events[0].as<CloudCreated>().log != record.log) return broken("the genesis names another log");
  return {Verdict::extends, {}};
}

// `prev` is the head: everything else must fit as well.
Judgement judge_next(const Head& head, const Record& record) {
  if (record.seq != head.seq + 1)
    return broken(fmt::format("follows seq {} but calls itself {}", head.seq, record.seq));
  const Event* only = only_event(record);
  if (head.sealed_to) {
    const bool opens = only && only->is<LogOpened>() && record.log == head.sealed_to && only->as<LogOpened>().log == record.log;
    if (opens && record.at_ms >= head.at_ms) return {Verdict::extends, {}};
    return lost(fmt::format("the log was sealed at seq {}: nothing after it counts", head.seq));
  }
  if (record.log != head.log) return broken(fmt::format("belongs to log {}, this one is {}", record.log.str(), head.log.str()));
  if (record.at_ms < head.at_ms)
    return broken(fmt::format("its time {} is before that of its predecessor, {}", record.at_ms, head.at_ms));
  if (record.level != head.level)
    return broken(fmt::format("has feature level {}, the log has {}", record.level, head.level));
  if (is_claim(record)) return {Verdict::extends, {}};
  if (record.controller != head.controller)
    return lost(fmt::format("from controller {}, but {} leads", record.controller.str(), head.controller.str()));
  return {Verdict::extends, {}};
}

}  // namespace

bool is_claim(const Record& record) {
  const Event* only = only_event(record);
  return only && only->is<ControllerStarted>() && only->as<ControllerStarted>().controller == record.controller;
}

Judgement judge(const Head& head, const SeenHashes& seen, const Record& record) {
  if (head.seq == 0) return judge_first(record);
  if (is_genesis(record)) return lost("a second genesis");
  if (record.prev == head.hash) return judge_next(head, record);
  if (seen.contains(record.prev)) return lost(fmt::format("extends an older record than seq {}: it lost a race", head.seq));
  return broken(fmt::format("its predecessor {} is not in this log (the head is seq {}, {})", record.prev.hex(), head.seq,
                            head.hash.hex()));
}

Head advance(const Head& head, const Record& record, const Hash& hash, std::int64_t offset) {
  Head next = head;
  next.log = record.log;
  next.level = record.level;
  next.seq = record.seq;
  next.hash = hash;
  next.at_ms = record.at_ms;
  next.offset = offset;
  next.sealed_to = {};
  if (is_claim(record)) next.controller = record.controller;
  for (const auto& decision : record.decisions) {
    for (const auto& event : decision.events) {
      if (event.is<LogSealed>()) next.sealed_to = event.as<LogSealed>().to;
      if (event.is<LevelRaised>()) next.level = event.as<LevelRaised>().level;
    }
  }
  return next;
}

}  // namespace reprise
