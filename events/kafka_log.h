// The log on Apache Kafka (see log.h for the port): topics CLUSTER.intents, .reports, .heartbeats and .events
// of one partition each, made and watched over by us, by librdkafka. KRaft brokers from 3.0 on; tried
// with 4.1.
//
// Promises beyond the port's:
// - Topics are made with what the design asks for (replication 3 where there are three brokers, min.insync 2,
// no
//   unclean election, retention). One that is there with another configuration is refused, all mistakes in
//   one go.
// - A producer is one idempotent session. Its first append to a topic goes alone, and so does the first after
// an hour
//   without one, which is also read back: a broker that forgot the session takes any sequence number.
// - An append that is not answered by append_deadline_ms ends the session (timed_out), whatever the brokers
// do then.
// - `done`, `wake` and `answer` are never called from within a call. begin() is the one call that asks a
// broker before
//   it returns (at most ask_deadline_ms): for those that fell behind retention.
// - stand() joins the consumer group CLUSTER.controllers; a member that dies is replaced after session_ms.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "events/log.h"
#include "events/log_place.h"

namespace reprise {

struct KafkaLogOptions {
  bool create = true;  // false: topics that are missing are not_found
  std::int64_t open_deadline_ms = 15'000;
  std::int64_t append_deadline_ms = 10'000;
  std::int64_t ask_deadline_ms = 5'000;  // end and begin
  std::int64_t idle_ms = 3600 * 1000;    // after which an append goes alone and is read back
  std::int64_t session_ms = 0;           // of a candidate; 0: 2000, or what the brokers allow at least
  std::map<std::string, std::string>
      settings;  // librdkafka's own, such as security.protocol and ssl.ca.location
};

// unreachable: no broker answers; invalid: topics with a wrong configuration, or settings librdkafka refuses;
// not_found: no topics, and they may not be made; denied: our principal lacks a right.
Result<std::unique_ptr<Log>> open_kafka_log(const KafkaPlace& place, KafkaLogOptions options = {});

}  // namespace reprise
