// The topics: made as the design asks, and looked at before they are trusted.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "events/kafka_client.h"

namespace reprise::kafka {
namespace {

enum class Rule { equal, at_least, only_made };  // at_least: -1 is without limit; only_made: theirs to change

struct Wanted {
  const char* setting;
  std::string value;
  Rule rule = Rule::equal;
};

struct Plan {
  std::string topic;
  std::vector<Wanted> settings;
};

struct Found {
  int partitions = 0;
  int replicas = 0;
  int leader = -1;
};

struct Picture {
  int brokers = 0;
  int some_broker = -1;
  std::map<std::string, Found> topics;
};

int left_ms(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(left, 1));
}

Result<Picture> look(const Cluster& cluster, rd_kafka_t* handle, Clock::time_point deadline) {
  const rd_kafka_metadata_t* metadata = nullptr;
  if (const auto err = rd_kafka_metadata(handle, 1, nullptr, &metadata, left_ms(deadline))) {
    return cluster.explain(err, "ask for the topics");
  }
  Picture picture;
  picture.brokers = metadata->broker_cnt;
  if (metadata->broker_cnt > 0) picture.some_broker = metadata->brokers[0].id;
  for (int i = 0; i < metadata->topic_cnt; ++i) {
    const auto& topic = metadata->topics[i];
    if (topic.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) continue;
    Found found{.partitions = topic.partition_cnt};
    if (topic.partition_cnt > 0) {
      found.replicas = topic.partitions[0].replica_cnt;
      found.leader = topic.partitions[0].leader;
    }
    picture.topics[topic.topic] = found;
  }
  rd_kafka_metadata_destroy(metadata);
  return picture;
}

// What a record batch adds around one entry, generously.
constexpr std::size_t batch_overhead = 1024;

std::vector<Plan> plans(const Cluster& cluster, int replicas) {
  const Wanted durable[] = {{"min.insync.replicas", replicas >= 3 ? "2" : "1", Rule::at_least},
                            {"unclean.leader.election.enable", "false"},
                            {"cleanup.policy", "delete"},
                            {"message.timestamp.type", "LogAppendTime"}};
  std::vector<Plan> all;
  for (const Topic topic : all_topics) {
    const auto rules = topic_rules(topic);
    Plan plan{cluster.topic(topic), {std::begin(durable), std::end(durable)}};
    plan.settings.push_back({"retention.ms", std::to_string(rules.retention_ms), Rule::at_least});
    plan.settings.push_back({"retention.bytes", "-1", Rule::at_least});
    plan.settings.push_back(
        {"max.message.bytes", std::to_string(rules.entry_bytes_max + batch_overhead), Rule::at_least});
    // Kafka drops whole segments only, and never the one that it writes.
    if (rules.retention_ms > 0) {
      plan.settings.push_back({"segment.ms", std::to_string(rules.retention_ms / 4), Rule::only_made});
    }
    all.push_back(std::move(plan));
  }
  all.push_back({cluster.election_topic(), {std::begin(durable), std::end(durable)}});
  return all;
}

bool meets(const Wanted& wanted, const std::string& value) {
  if (wanted.rule == Rule::only_made) return true;
  if (wanted.rule == Rule::equal || wanted.value == "-1") return value == wanted.value;
  long long have = 0, need = 0;
  std::from_chars(value.data(), value.data() + value.size(), have);
  std::from_chars(wanted.value.data(), wanted.value.data() + wanted.value.size(), need);
  return have == -1 || have >= need;
}

// An admin request and its answer.
class Request {
 public:
  Request(const Cluster& cluster, rd_kafka_t* handle, rd_kafka_admin_op_t op, Clock::time_point deadline)
      : cluster_(cluster),
        queue_(rd_kafka_queue_new(handle)),
        options_(rd_kafka_AdminOptions_new(handle, op)),
        deadline_(deadline) {
    char why[200];
    rd_kafka_AdminOptions_set_request_timeout(options_.get(), left_ms(deadline), why, sizeof why);
  }
  rd_kafka_queue_t* queue() { return queue_.get(); }
  rd_kafka_AdminOptions_t* options() { return options_.get(); }
  // The event, or why there is none.
  Result<rd_kafka_event_t*> wait(std::string_view doing) {
    event_.reset(rd_kafka_queue_poll(queue_.get(), left_ms(deadline_) + 1000));
    if (!event_) return cluster_.explain(RD_KAFKA_RESP_ERR__TIMED_OUT, doing);
    if (const auto err = rd_kafka_event_error(event_.get())) {
      return cluster_.explain(err, doing, rd_kafka_event_error_string(event_.get()));
    }
    return event_.get();
  }

 private:
  const Cluster& cluster_;
  const Queue queue_;
  const std::unique_ptr<rd_kafka_AdminOptions_t, Destroy<rd_kafka_AdminOptions_destroy>> options_;
  const Clock::time_point deadline_;
  std::unique_ptr<rd_kafka_event_t, Destroy<rd_kafka_event_destroy>> event_;
};

using NewTopic = std::unique_ptr<rd_kafka_NewTopic_t, Destroy<rd_kafka_NewTopic_destroy>>;
using Resource = std::unique_ptr<rd_kafka_ConfigResource_t, Destroy<rd_kafka_ConfigResource_destroy>>;

Status create(const Cluster& cluster, rd_kafka_t* handle, const std::vector<Plan>& missing, int replicas,
              Clock::time_point deadline) {
  Request request(cluster, handle, RD_KAFKA_ADMIN_OP_CREATETOPICS, deadline);
  std::vector<NewTopic> topics;
  std::vector<rd_kafka_NewTopic_t*> raw;
  for (const auto& plan : missing) {
    char why[200] = {};
    topics.emplace_back(rd_kafka_NewTopic_new(plan.topic.c_str(), 1, replicas, why, sizeof why));
    if (!topics.back())
      return {Errc::invalid, fmt::format("{}: make {}: {}", to_string(cluster.place), plan.topic, why)};
    for (const auto& wanted : plan.settings)
      rd_kafka_NewTopic_set_config(topics.back().get(), wanted.setting, wanted.value.c_str());
    raw.push_back(topics.back().get());
  }
  rd_kafka_CreateTopics(handle, raw.data(), raw.size(), request.options(), request.queue());
  const auto event = request.wait("make the topics");
  if (!event) return event.error();
  std::size_t count = 0;
  const auto** results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(*event), &count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto err = rd_kafka_topic_result_error(results[i]);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) continue;
    const auto* why = rd_kafka_topic_result_error_string(results[i]);
    return cluster.explain(err, fmt::format("make {}", rd_kafka_topic_result_name(results[i])),
                           why ? why : "");
  }
  return {};
}

using Values = std::map<std::string, std::string>;

// The configuration of topics or of a broker, as it is in force.
Result<std::map<std::string, Values>> describe(const Cluster& cluster, rd_kafka_t* handle,
                                               rd_kafka_ResourceType_t type,
                                               const std::vector<std::string>& names,
                                               Clock::time_point deadline) {
  Request request(cluster, handle, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, deadline);
  std::vector<Resource> resources;
  std::vector<rd_kafka_ConfigResource_t*> raw;
  for (const auto& name : names) {
    resources.emplace_back(rd_kafka_ConfigResource_new(type, name.c_str()));
    raw.push_back(resources.back().get());
  }
  rd_kafka_DescribeConfigs(handle, raw.data(), raw.size(), request.options(), request.queue());
  const auto event = request.wait("ask for the configuration");
  if (!event) return event.error();
  std::map<std::string, Values> all;
  std::size_t count = 0;
  const auto** results =
      rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(*event), &count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = rd_kafka_ConfigResource_name(results[i]);
    if (const auto err = rd_kafka_ConfigResource_error(results[i])) {
      const auto* why = rd_kafka_ConfigResource_error_string(results[i]);
      return cluster.explain(err, fmt::format("ask for the configuration of {}", name), why ? why : "");
    }
    std::size_t entries = 0;
    const auto** list = rd_kafka_ConfigResource_configs(results[i], &entries);
    for (std::size_t e = 0; e < entries; ++e) {
      const auto* value = rd_kafka_ConfigEntry_value(list[e]);
      all[name][rd_kafka_ConfigEntry_name(list[e])] = value ? value : "";
    }
  }
  return all;
}

// Every mistake of a topic, each with its remedy, a line each.
std::string mistakes(const Cluster& cluster, const Plan& plan, const Found& found, const Values& values,
                     int replicas) {
  std::string text, alter;
  if (found.partitions != 1) {
    text += fmt::format(
        "\n  {} has {} partitions, 1 is needed: history is one total order; move the topic away and delete "
        "it",
        plan.topic, found.partitions);
  }
  if (found.replicas < replicas) {
    text += fmt::format("\n  {} has {} of {} replicas needed; raise it with kafka-reassign-partitions.sh",
                        plan.topic, found.replicas, replicas);
  }
  for (const auto& wanted : plan.settings) {
    const auto at = values.find(wanted.setting);
    const auto value = at == values.end() ? "unknown" : at->second;
    if (meets(wanted, value)) continue;
    text +=
        fmt::format("\n  {} has {}={}, {}{} is needed", plan.topic, wanted.setting, value,
                    wanted.rule == Rule::at_least && wanted.value != "-1" ? "at least " : "", wanted.value);
    alter += fmt::format("{}{}={}", alter.empty() ? "" : ",", wanted.setting, wanted.value);
  }
  if (!alter.empty()) {
    text += fmt::format(
        "\n    kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} "
        "--add-config {}",
        cluster.place.brokers, plan.topic, alter);
  }
  return text;
}

Status check(const Cluster& cluster, rd_kafka_t* handle, const std::vector<Plan>& all, const Picture& picture,
             int replicas, Clock::time_point deadline) {
  std::vector<std::string> names;
  for (const auto& plan : all) names.push_back(plan.topic);
  const auto configs = describe(cluster, handle, RD_KAFKA_RESOURCE_TOPIC, names, deadline);
  if (!configs) return configs.error();
  std::string wrong;
  for (const auto& plan : all) {
    const auto values = configs->find(plan.topic);
    wrong += mistakes(cluster, plan, picture.topics.at(plan.topic),
                      values == configs->end() ? Values{} : values->second, replicas);
  }
  if (wrong.empty()) return {};
  return {Errc::invalid,
          fmt::format("{}: topics that would lose what they were told to keep are not used; mend these:{}",
                      to_string(cluster.place), wrong)};
}

// Between two questions to the brokers about what they will not tell by themselves.
void pause(rd_kafka_t* handle) { rd_kafka_poll(handle, 50); }

}  // namespace

Status prepare_topics(const Cluster& cluster, rd_kafka_t* handle, Clock::time_point deadline) {
  for (bool created = false;;) {
    const auto picture = look(cluster, handle, deadline);
    if (!picture) return picture.error();
    if (picture->brokers == 0 && Clock::now() < deadline) {  // they are only coming up
      pause(handle);
      continue;
    }
    const int replicas = std::min(3, picture->brokers);
    const auto all = plans(cluster, replicas);
    std::vector<Plan> missing;
    bool led = true;
    for (const auto& plan : all) {
      const auto at = picture->topics.find(plan.topic);
      if (at == picture->topics.end()) missing.push_back(plan);
      else led = led && at->second.leader >= 0;
    }
    if (missing.empty() && led) {
      auto checked = check(cluster, handle, all, *picture, replicas, deadline);
      // The broker that was asked may not know yet what another one told us of.
      if (checked || checked.error().code != Errc::not_found || Clock::now() > deadline) return checked;
      pause(handle);
      continue;
    }
    if (!missing.empty() && missing.size() < all.size() && !cluster.options.create) {
      return {Errc::not_found,
              fmt::format("{}: there is no topic {}, though others of this cloud are there: it was deleted; restore it, "
                          "or see what `reprise log repair` can do",
                          to_string(cluster.place), missing.front().topic)};
    }
    if (!missing.empty() && !cluster.options.create) {
      return {Errc::not_found,
              fmt::format("{}: there is no topic {}; make the cloud with `reprise init`, or name its cluster",
                          to_string(cluster.place), missing.front().topic)};
    }
    if (Clock::now() > deadline)
      return cluster.explain(RD_KAFKA_RESP_ERR__TIMED_OUT, "wait for leaders of the topics");
    if (missing.empty() || created) {  // made, and not known everywhere yet
      pause(handle);
      continue;
    }
    if (auto made = create(cluster, handle, missing, replicas, deadline); !made) return made;
    created = true;
  }
}

std::int64_t shortest_session_ms(const Cluster& cluster, rd_kafka_t* handle, Clock::time_point deadline) {
  constexpr std::int64_t usual_ms = 6000, ours_ms = 2000;
  const auto picture = look(cluster, handle, deadline);
  if (!picture) return usual_ms;
  const auto broker = std::to_string(picture->some_broker);
  const auto configs = describe(cluster, handle, RD_KAFKA_RESOURCE_BROKER, {broker}, deadline);
  if (!configs || !configs->contains(broker)) return usual_ms;
  const auto& values = configs->at(broker);
  const auto at = values.find("group.min.session.timeout.ms");
  std::int64_t allowed_ms = usual_ms;
  if (at != values.end())
    std::from_chars(at->second.data(), at->second.data() + at->second.size(), allowed_ms);
  return std::max(allowed_ms, ours_ms);
}

}  // namespace reprise::kafka
