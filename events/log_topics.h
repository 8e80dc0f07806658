// What each topic of the log keeps, and how large an entry may be: the same in every implementation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "events/codec.h"
#include "events/ids.h"

namespace reprise {

inline constexpr Topic all_topics[topic_count] = {Topic::intents, Topic::reports, Topic::heartbeats,
                                                  Topic::events};

struct TopicRules {
  std::size_t entry_bytes_max = 0;
  std::int64_t retention_ms = -1;  // -1: for ever
};

constexpr TopicRules topic_rules(Topic topic) {
  constexpr std::int64_t hour_ms = 3600 * 1000;
  switch (topic) {
    case Topic::intents:
      return {intent_bytes_max, 7 * 24 * hour_ms};
    case Topic::reports:
      return {report_bytes_max, 24 * hour_ms};
    case Topic::heartbeats:
      return {64 * 1024, hour_ms};
    case Topic::events:
      return {record_bytes_max, -1};
  }
  return {};
}

constexpr std::size_t index_of(Topic topic) { return static_cast<std::size_t>(topic); }

}  // namespace reprise
