// librdkafka's handles as owners, its errors as ours, and what all parts of the Kafka log share.
#pragma once

#include <librdkafka/rdkafka.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "events/kafka_log.h"
#include "events/log_topics.h"

namespace reprise::kafka {

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* thing) const {
    destroy(thing);
  }
};
using Handle = std::unique_ptr<rd_kafka_t, Destroy<rd_kafka_destroy>>;
using Conf = std::unique_ptr<rd_kafka_conf_t, Destroy<rd_kafka_conf_destroy>>;
using Queue = std::unique_ptr<rd_kafka_queue_t, Destroy<rd_kafka_queue_destroy>>;
using TopicHandle = std::unique_ptr<rd_kafka_topic_t, Destroy<rd_kafka_topic_destroy>>;
using Partitions =
    std::unique_ptr<rd_kafka_topic_partition_list_t, Destroy<rd_kafka_topic_partition_list_destroy>>;
using Message = std::unique_ptr<rd_kafka_message_t, Destroy<rd_kafka_message_destroy>>;
using KafkaError = std::unique_ptr<rd_kafka_error_t, Destroy<rd_kafka_error_destroy>>;

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

using Settings = std::map<std::string, std::string>;

// The brokers of one log, how to reach them, and what they last complained of.
struct Cluster {
  Cluster(KafkaPlace place, KafkaLogOptions options) : place(std::move(place)), options(std::move(options)) {}

  const KafkaPlace place;
  const KafkaLogOptions options;

  std::string topic(Topic t) const { return place.cluster + "." + topic_name(t); }
  std::string election_topic() const { return place.cluster + ".election"; }
  // "kafka:HOST:PORT/CLUSTER: DOING: what librdkafka says (what a broker last complained of)"
  Error explain(rd_kafka_resp_err_t err, std::string_view doing, std::string_view detail = "") const;

  // Of a message that a broker has written: its LogAppendTime.
  void hear_time(const rd_kafka_message_t& message) const;
  std::int64_t time_heard() const { return time_heard_; }  // the latest; 0: none yet

  void complain(std::string text) const;
  std::string complaint() const;

 private:
  mutable std::mutex mutex_;
  mutable std::string complaint_;
  mutable std::atomic<std::int64_t> time_heard_ = 0;
};

// What librdkafka's callbacks get: set for every handle, and outlives it.
struct Opaque {
  const Cluster* cluster = nullptr;
  void* owner = nullptr;
};

// Ours for every handle, then `settings`, then the operator's. invalid names the setting.
Result<Conf> make_conf(const Opaque& opaque, const Settings& settings);
Result<Handle> make_handle(rd_kafka_type_t type, const Opaque& opaque, Conf conf);

// Ends things that take their time (a handle may wait for its threads), one after the other, on a thread of
// its own.
class Undertaker {
 public:
  Undertaker();
  ~Undertaker();  // after the last one
  void bury(std::function<void()> end);

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

class Witnesses;

// Asks the brokers: where a topic ends, many at once in one request; and one entry, to see that it is there.
class Asker {
 public:
  static Result<std::unique_ptr<Asker>> make(const Cluster& cluster);
  ~Asker();

  rd_kafka_t* handle() { return handle_.get(); }
  // No answer is given any more.
  void close();
  void end(Topic topic, Log::Answer answer);
  using Found = std::function<void(Result<Bytes>)>;
  void read_back(Topic topic, std::int64_t offset, Found answer);
  // Blocks.
  Result<std::int64_t> begin(Topic topic);

 private:
  struct ReadBack {
    Topic topic = Topic::intents;
    std::int64_t offset = 0;
    Found answer;
  };
  explicit Asker(const Cluster& cluster);
  void run();
  using Ends = std::array<std::pair<rd_kafka_resp_err_t, std::int64_t>, topic_count>;
  Ends ask_ends(std::array<bool, topic_count> asked);
  void answer_ends(std::vector<std::pair<Topic, Log::Answer>> asks);
  static int attempt_ms(Clock::time_point deadline);
  bool learn_leaders(Clock::time_point deadline);
  Result<Bytes> read_one(Topic topic, std::int64_t offset);

  const Cluster& cluster_;
  const Opaque opaque_;
  Handle handle_;
  std::array<TopicHandle, topic_count> topics_;
  std::unique_ptr<Witnesses> events_;  // of the asker's thread
  std::mutex answering_;
  bool closed_ = false;  // under answering_
  std::mutex mutex_;
  std::condition_variable asked_;
  std::vector<std::pair<Topic, Log::Answer>> ends_;
  std::vector<ReadBack> read_backs_;
  bool stopping_ = false;
  std::thread thread_;
};

// What producers, readers and candidacies of one log share and keep alive.
struct Shared {
  Shared(KafkaPlace place, KafkaLogOptions options) : cluster(std::move(place), std::move(options)) {}

  const Cluster cluster;
  std::int64_t session_ms = 0;
  Undertaker undertaker;
  std::unique_ptr<Asker> asker;
};
using SharedPtr = std::shared_ptr<Shared>;

Result<std::unique_ptr<Producer>> open_kafka_producer(const SharedPtr& shared);
Result<std::unique_ptr<Reader>> open_kafka_reader(const SharedPtr& shared, Topic topic, std::int64_t offset,
                                                  std::function<void()> wake);
std::unique_ptr<Candidacy> stand_in_kafka(const SharedPtr& shared, std::function<void()> wake);

// Makes the topics that are missing, checks those that are there.
Status prepare_topics(const Cluster& cluster, rd_kafka_t* handle, Clock::time_point deadline);
// The shortest session that the brokers allow a group member, or 6000 when they do not say.
std::int64_t shortest_session_ms(const Cluster& cluster, rd_kafka_t* handle, Clock::time_point deadline);

}  // namespace reprise::kafka
