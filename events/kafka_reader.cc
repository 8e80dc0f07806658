// A reader: a consumer of its own, without a group; its queue wakes us when something comes.
#include <fmt/format.h>

#include "events/kafka_client.h"
#include "events/log_session.h"

namespace reprise::kafka {
namespace {

// Lives until its handle is buried.
struct Follower {
  Follower(const Cluster& cluster, std::function<void()> wake)
      : opaque{&cluster, this}, wake(std::move(wake)) {}

  const Opaque opaque;
  Callback wake;
  int missing = 0;  // in a row and within seconds we were told that there is no such topic
  Clock::time_point told_missing;
  Handle handle;
  Queue queue;

  // That a topic was deleted comes only this way, from within a poll, about once a second. Once may be a broker that
  // does not know yet.
  static void on_error(rd_kafka_t*, int err, const char* text, void* opaque) {
    auto& self = *static_cast<Follower*>(static_cast<const Opaque*>(opaque)->owner);
    self.opaque.cluster->complain(text);
    if (err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return;
    const auto now = Clock::now();
    self.missing = now - self.told_missing > std::chrono::seconds(3) ? 1 : self.missing + 1;
    self.told_missing = now;
  }
};

constexpr int missing_max = 5;

class KafkaReader final : public Reader {
 public:
  KafkaReader(SharedPtr shared, Topic topic, std::int64_t offset, std::shared_ptr<Follower> follower)
      : shared_(std::move(shared)), topic_(topic), position_(offset), follower_(std::move(follower)) {}
  ~KafkaReader() override {
    follower_->wake.drop();
    rd_kafka_queue_cb_event_enable(follower_->queue.get(), nullptr, nullptr);
    if (follower_->missing > 0) {  // librdkafka 2.0.2 never ends a consumer whose topic was deleted: the process does
      new auto(std::pair(shared_, std::move(follower_)));
      return;
    }
    shared_->undertaker.bury([follower = std::move(follower_)]() mutable {
      follower->queue.reset();
      rd_kafka_destroy_flags(follower->handle.release(), RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    });
  }

  Result<std::vector<Entry>> poll(std::size_t entries_max) override {
    std::vector<Entry> entries;
    while (entries.size() < entries_max && failure_.code == Errc::ok) {
      const Message message(rd_kafka_consumer_poll(follower_->handle.get(), 0));
      if (!message) break;
      if (message->err) {
        if (!began_behind(*message)) failure_ = judge(*message);
        continue;
      }
      entries.push_back({message->offset, Bytes(static_cast<const char*>(message->payload), message->len)});
      position_ = message->offset + 1;
      shared_->cluster.hear_time(*message);
    }
    if (follower_->missing >= missing_max) failure_ = gone();
    if (entries.empty() && failure_.code != Errc::ok) return failure_;
    return entries;
  }
  std::int64_t position() const override { return position_; }
  rd_kafka_resp_err_t assign(std::int64_t offset) {
    const Partitions one(rd_kafka_topic_partition_list_new(1));
    const auto name = shared_->cluster.topic(topic_);
    rd_kafka_topic_partition_list_add(one.get(), name.c_str(), 0)->offset = offset;
    return rd_kafka_assign(follower_->handle.get(), one.get());
  }

 private:
  // Offset 0 is tried first: to ask where the topic begins takes half a second when it is new.
  bool began_behind(const rd_kafka_message_t& message) {
    if (message.err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || position_ != 0) return false;
    return !std::exchange(asked_for_first_, true) && !assign(RD_KAFKA_OFFSET_BEGINNING);
  }
  Error gone() const {
    return {Errc::broken, fmt::format("{} is gone from {}; restore it", shared_->cluster.topic(topic_),
                                      to_string(shared_->cluster.place))};
  }
  // What ends the reader; nothing, for what librdkafka mends by itself.
  Error judge(const rd_kafka_message_t& message) const {
    const auto name = shared_->cluster.topic(topic_);
    switch (message.err) {
      case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
      case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return {Errc::not_found,
                fmt::format("{} has no offset {}: it begins after it, or ends before it", name, position_)};
      case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
      case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        return gone();
      case RD_KAFKA_RESP_ERR__BAD_MSG:
      case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
      case RD_KAFKA_RESP_ERR_INVALID_MSG:
        return {Errc::broken, fmt::format("{} at offset {} cannot be read: {}", name, position_,
                                          rd_kafka_message_errstr(&message))};
      default: {
        auto error = shared_->cluster.explain(message.err, "read " + name);
        return error.code == Errc::denied ? error : Error{};
      }
    }
  }

  const SharedPtr shared_;
  const Topic topic_;
  std::int64_t position_;
  bool asked_for_first_ = false;
  Error failure_;
  std::shared_ptr<Follower> follower_;
};

void on_filled(rd_kafka_t*, void* follower) { static_cast<Follower*>(follower)->wake(); }

}  // namespace

Result<std::unique_ptr<Reader>> open_kafka_reader(const SharedPtr& shared, Topic topic, std::int64_t offset,
                                                  std::function<void()> wake) {
  const Cluster& cluster = shared->cluster;
  if (offset < 0)
    return Error{Errc::invalid,
                 fmt::format("offset {} of {}: offsets begin at 0", offset, topic_name(topic))};
  auto follower = std::make_shared<Follower>(cluster, std::move(wake));
  auto conf =
      make_conf(follower->opaque,
                {{"group.id", cluster.place.cluster + ".readers"},  // never joined: librdkafka wants one
                 {"enable.auto.commit", "false"},
                 {"enable.auto.offset.store", "false"},
                 {"auto.offset.reset", "error"},
                 {"isolation.level", "read_uncommitted"},
                 {"check.crcs", "true"},
                 {"topic.metadata.propagation.max.ms", "5000"},  // a young topic that was deleted is told of after that
                 {"fetch.wait.max.ms", "500"},
                 {"fetch.error.backoff.ms", "50"},
                 {"queued.min.messages", "1000"},
                 {"queued.max.messages.kbytes", "4096"}});
  if (!conf) return conf.error();
  rd_kafka_conf_set_error_cb(conf->get(), Follower::on_error);
  auto handle = make_handle(RD_KAFKA_CONSUMER, follower->opaque, *std::move(conf));
  if (!handle) return handle.error();
  follower->handle = *std::move(handle);
  rd_kafka_poll_set_consumer(follower->handle.get());
  follower->queue.reset(rd_kafka_queue_get_consumer(follower->handle.get()));
  rd_kafka_queue_cb_event_enable(follower->queue.get(), on_filled, follower.get());
  auto reader = std::make_unique<KafkaReader>(shared, topic, offset, std::move(follower));
  if (const auto err = reader->assign(offset)) return cluster.explain(err, "read " + cluster.topic(topic));
  return std::unique_ptr<Reader>(std::move(reader));
}

}  // namespace reprise::kafka
