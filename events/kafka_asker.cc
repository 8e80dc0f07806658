// Where topics end and begin, and single entries: asked of the brokers.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "events/kafka_client.h"
#include "events/kafka_witness.h"

namespace reprise::kafka {

Asker::Asker(const Cluster& cluster)
    : cluster_(cluster),
      opaque_{&cluster, this},
      events_(std::make_unique<Witnesses>(cluster, cluster.topic(Topic::events))) {}

Result<std::unique_ptr<Asker>> Asker::make(const Cluster& cluster) {
  std::unique_ptr<Asker> asker(new Asker(cluster));
  auto conf = make_conf(
      asker->opaque_,
      {{"isolation.level", "read_uncommitted"}, {"check.crcs", "true"}, {"fetch.wait.max.ms", "10"}});
  if (!conf) return conf.error();
  auto handle = make_handle(RD_KAFKA_CONSUMER, asker->opaque_, *std::move(conf));
  if (!handle) return handle.error();
  asker->handle_ = *std::move(handle);
  for (const Topic topic : all_topics) {  // known to it, so that it asks after their leaders
    const auto name = cluster.topic(topic);
    asker->topics_[index_of(topic)].reset(rd_kafka_topic_new(asker->handle_.get(), name.c_str(), nullptr));
  }
  asker->thread_ = std::thread([asker = asker.get()] { asker->run(); });
  return asker;
}

Asker::~Asker() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_one();
  thread_.join();
}

void Asker::close() {
  const std::lock_guard lock(answering_);
  closed_ = true;
}

void Asker::end(Topic topic, Log::Answer answer) {
  {
    const std::lock_guard lock(mutex_);
    ends_.emplace_back(topic, std::move(answer));
  }
  asked_.notify_one();
}

void Asker::read_back(Topic topic, std::int64_t offset, Found answer) {
  {
    const std::lock_guard lock(mutex_);
    read_backs_.push_back({topic, offset, std::move(answer)});
  }
  asked_.notify_one();
}

void Asker::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    asked_.wait(lock, [this] { return stopping_ || !ends_.empty() || !read_backs_.empty(); });
    if (stopping_) return;
    auto ends = std::exchange(ends_, {});
    auto read_backs = std::exchange(read_backs_, {});
    lock.unlock();
    if (!ends.empty()) answer_ends(std::move(ends));
    for (auto& ask : read_backs) ask.answer(read_one(ask.topic, ask.offset));
  }
}

namespace {

// A topic's leader is changing, or was only just chosen: another one answers soon.
bool is_passing(rd_kafka_resp_err_t err) {
  switch (err) {
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:  // made a moment ago, and not known to this broker yet
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
      return true;
    default:
      return false;
  }
}

}  // namespace

// One request for all topics that are asked for; again while leaders change. Of the events, on which reads wait, only the
// true leader's answer counts.
Asker::Ends Asker::ask_ends(std::array<bool, topic_count> asked) {
  const auto deadline = Clock::now() + milliseconds(cluster_.options.ask_deadline_ms);
  Ends ends{};
  if (std::exchange(asked[index_of(Topic::events)], false))
    ends[index_of(Topic::events)] = events_->end(handle_.get(), deadline);
  while (std::find(asked.begin(), asked.end(), true) != asked.end()) {
    const Partitions list(rd_kafka_topic_partition_list_new(topic_count));
    for (const Topic topic : all_topics) {
      if (!asked[index_of(topic)]) continue;
      const auto name = cluster_.topic(topic);
      rd_kafka_topic_partition_list_add(list.get(), name.c_str(), 0)->offset = RD_KAFKA_OFFSET_END;
    }
    const auto err = rd_kafka_offsets_for_times(handle_.get(), list.get(), attempt_ms(deadline));
    bool passing = is_passing(err);
    for (const Topic topic : all_topics) {
      if (!asked[index_of(topic)]) continue;
      const auto* found = rd_kafka_topic_partition_list_find(list.get(), cluster_.topic(topic).c_str(), 0);
      ends[index_of(topic)] = {err ? err : found->err, found->offset};
      passing = passing || is_passing(found->err);
    }
    if (!passing || !learn_leaders(deadline)) break;
  }
  return ends;
}

// librdkafka goes on asking the leader that it knows until its time is up, also when that one is dead: a
// short time each, and then who leads now.
int Asker::attempt_ms(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 1, 1000));
}

// False: there is no time left to try again.
bool Asker::learn_leaders(Clock::time_point deadline) {
  {
    std::unique_lock lock(mutex_);
    if (asked_.wait_for(lock, milliseconds(20), [this] { return stopping_; })) return false;
  }
  const rd_kafka_metadata_t* metadata = nullptr;
  if (rd_kafka_metadata(handle_.get(), 0, nullptr, &metadata, attempt_ms(deadline)) ==
      RD_KAFKA_RESP_ERR_NO_ERROR) {
    rd_kafka_metadata_destroy(metadata);
  }
  return Clock::now() < deadline;
}

// Each answer is of a moment after its ask: they were all here before the request is sent.
void Asker::answer_ends(std::vector<std::pair<Topic, Log::Answer>> asks) {
  std::array<bool, topic_count> asked{};
  for (const auto& [topic, answer] : asks) asked[index_of(topic)] = true;
  const auto ends = ask_ends(asked);
  const std::lock_guard lock(answering_);
  for (auto& [topic, answer] : asks) {
    if (closed_) return;
    const auto& [err, offset] = ends[index_of(topic)];
    if (err) answer(cluster_.explain(err, fmt::format("ask where {} ends", cluster_.topic(topic))));
    else answer(offset);
  }
}

Result<std::int64_t> Asker::begin(Topic topic) {
  const auto deadline = Clock::now() + milliseconds(cluster_.options.ask_deadline_ms);
  const auto name = cluster_.topic(topic);
  for (;;) {
    std::int64_t low = 0, high = 0;
    const auto err =
        rd_kafka_query_watermark_offsets(handle_.get(), name.c_str(), 0, &low, &high, attempt_ms(deadline));
    if (!err) return low;
    if (!is_passing(err) || !learn_leaders(deadline))
      return cluster_.explain(err, fmt::format("ask where {} begins", name));
  }
}

Result<Bytes> Asker::read_one(Topic topic, std::int64_t offset) {
  const auto name = cluster_.topic(topic);
  const auto doing = fmt::format("read {} back at offset {}", name, offset);
  auto* handle = topics_[index_of(topic)].get();
  if (!handle || rd_kafka_consume_start(handle, 0, offset) < 0)
    return cluster_.explain(rd_kafka_last_error(), doing);
  const Message found(rd_kafka_consume(handle, 0, static_cast<int>(cluster_.options.ask_deadline_ms)));
  rd_kafka_consume_stop(handle, 0);
  if (!found) return cluster_.explain(RD_KAFKA_RESP_ERR__TIMED_OUT, doing);
  if (found->err) return cluster_.explain(found->err, doing);
  if (found->offset != offset)
    return Error{Errc::broken,
                 fmt::format("{}: {}: got offset {}", to_string(cluster_.place), doing, found->offset)};
  return Bytes(static_cast<const char*>(found->payload), found->len);
}

}  // namespace reprise::kafka
