// Where the events end, as their true leader has it.
//
// A leader that was cut off, or hung, goes on answering as leader after another one was chosen, and knows nothing of what
// that one has taken since. So a second replica is asked who leads: whatever was acknowledged is on min.insync (two) of
// the at most three replicas, so that one of any two knows the leader that took it. Each is asked through a client of its
// own that knows no other broker, so that it is certain who answered.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "events/kafka_client.h"

namespace reprise::kafka {

// For one thread.
class Witnesses {
 public:
  Witnesses(const Cluster& cluster, std::string topic) : cluster_(cluster), topic_(std::move(topic)) {}

  // Of a moment after the call. `any` is asked which brokers there are. Blocks until the deadline at most; timed out also
  // where only one of the replicas can be reached.
  std::pair<rd_kafka_resp_err_t, std::int64_t> end(rd_kafka_t* any, Clock::time_point deadline);

 private:
  struct Witness {
    Handle handle;
    TopicHandle topic;
  };
  Witness* witness(int broker);
  bool learn(rd_kafka_t* any, Clock::time_point deadline);
  std::optional<int> leader_says(int broker, Clock::time_point deadline);
  bool another_agrees(Clock::time_point deadline);
  std::optional<std::int64_t> ask_leader(Clock::time_point deadline);

  const Cluster& cluster_;
  const Opaque opaque_{&cluster_, this};
  const std::string topic_;
  std::map<int, std::string> addresses_;
  std::deque<int> replicas_;  // those that answered last come first
  int leader_ = -1;
  std::map<int, Witness> witnesses_;
};

}  // namespace reprise::kafka
