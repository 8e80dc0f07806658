#include "events/kafka_witness.h"

#include <fmt/format.h>

#include <algorithm>

namespace reprise::kafka {
namespace {

// A broker that hangs must not take all the time there is.
int attempt_ms(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 1, 1000));
}

struct DestroyMetadata {
  void operator()(const rd_kafka_metadata_t* metadata) const { rd_kafka_metadata_destroy(metadata); }
};
using Metadata = std::unique_ptr<const rd_kafka_metadata_t, DestroyMetadata>;

Metadata ask_metadata(rd_kafka_t* handle, rd_kafka_topic_t* only, Clock::time_point deadline) {
  const rd_kafka_metadata_t* metadata = nullptr;
  if (rd_kafka_metadata(handle, only == nullptr, only, &metadata, attempt_ms(deadline))) return nullptr;
  return Metadata(metadata);
}

const rd_kafka_metadata_partition_t* partition_of(const rd_kafka_metadata_t& metadata, const std::string& topic) {
  for (int i = 0; i < metadata.topic_cnt; ++i) {
    const auto& found = metadata.topics[i];
    if (found.topic == topic && !found.err && found.partition_cnt > 0) return &found.partitions[0];
  }
  return nullptr;
}

}  // namespace

std::pair<rd_kafka_resp_err_t, std::int64_t> Witnesses::end(rd_kafka_t* any, Clock::time_point deadline) {
  for (bool first = true; first || Clock::now() < deadline; first = false) {
    if ((!first || replicas_.empty()) && !learn(any, deadline)) continue;
    if (!another_agrees(deadline)) continue;
    if (const auto offset = ask_leader(deadline)) return {RD_KAFKA_RESP_ERR_NO_ERROR, *offset};
  }
  return {RD_KAFKA_RESP_ERR__TIMED_OUT, 0};
}

bool Witnesses::learn(rd_kafka_t* any, Clock::time_point deadline) {
  rd_kafka_poll(any, 20);  // between two questions, while leaders change
  const auto metadata = ask_metadata(any, nullptr, deadline);
  const auto* partition = metadata ? partition_of(*metadata, topic_) : nullptr;
  if (!partition) return false;
  for (int i = 0; i < metadata->broker_cnt; ++i) {
    const auto& broker = metadata->brokers[i];
    const auto address = fmt::format("{}:{}", broker.host, broker.port);
    if (std::exchange(addresses_[broker.id], address) != address) witnesses_.erase(broker.id);
  }
  const std::deque<int> replicas(partition->replicas, partition->replicas + partition->replica_cnt);
  if (!std::is_permutation(replicas.begin(), replicas.end(), replicas_.begin(), replicas_.end())) replicas_ = replicas;
  if (leader_ < 0) leader_ = partition->leader;
  return true;
}

// True: another replica than the leader says that it leads. One that names another leader is believed: it is asked next.
bool Witnesses::another_agrees(Clock::time_point deadline) {
  if (replicas_.size() == 1) return leader_ >= 0;
  for (const int broker : std::deque<int>(replicas_)) {
    if (broker == leader_) continue;
    const auto says = leader_says(broker, deadline);
    if (!says) {
      replicas_.erase(std::find(replicas_.begin(), replicas_.end(), broker));
      replicas_.push_back(broker);
      continue;
    }
    if (*says < 0) return false;  // nobody leads
    return std::exchange(leader_, *says) == *says;
  }
  return false;
}

std::optional<int> Witnesses::leader_says(int broker, Clock::time_point deadline) {
  const Witness* asked = witness(broker);
  if (!asked) return std::nullopt;
  const auto metadata = ask_metadata(asked->handle.get(), asked->topic.get(), deadline);
  if (!metadata) return std::nullopt;
  const bool itself = metadata->orig_broker_id == broker;
  const auto* partition = partition_of(*metadata, topic_);
  const auto says = itself && partition ? std::optional(partition->leader) : std::nullopt;
  if (!itself) witnesses_.erase(broker);  // it has got to know others
  return says;
}

std::optional<std::int64_t> Witnesses::ask_leader(Clock::time_point deadline) {
  if (leader_says(leader_, deadline) != leader_) return std::nullopt;
  const Partitions list(rd_kafka_topic_partition_list_new(1));
  auto* asked = rd_kafka_topic_partition_list_add(list.get(), topic_.c_str(), 0);
  asked->offset = RD_KAFKA_OFFSET_END;
  const auto err = rd_kafka_offsets_for_times(witnesses_.at(leader_).handle.get(), list.get(), attempt_ms(deadline));
  if (err || asked->err) return std::nullopt;
  return asked->offset;
}

Witnesses::Witness* Witnesses::witness(int broker) {
  if (const auto known = witnesses_.find(broker); known != witnesses_.end()) return &known->second;
  const auto address = addresses_.find(broker);
  if (address == addresses_.end()) return nullptr;
  auto conf = make_conf(opaque_, {{"isolation.level", "read_uncommitted"}});
  char why[200];
  if (!conf || rd_kafka_conf_set(conf->get(), "bootstrap.servers", address->second.c_str(), why, sizeof why)) return nullptr;
  auto handle = make_handle(RD_KAFKA_CONSUMER, opaque_, *std::move(conf));
  if (!handle) return nullptr;
  Witness made{.handle = *std::move(handle), .topic = nullptr};
  made.topic.reset(rd_kafka_topic_new(made.handle.get(), topic_.c_str(), nullptr));
  return &witnesses_.emplace(broker, std::move(made)).first->second;
}

}  // namespace reprise::kafka
