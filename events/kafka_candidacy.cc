// Who may claim: whoever the group CLUSTER.controllers gave the one partition of the election topic.
#include <atomic>

#include "events/kafka_client.h"
#include "events/log_session.h"

namespace reprise::kafka {
namespace {

// The member; on a thread of its own, because the group wants to be listened to.
class Member {
 public:
  Member(const Cluster& cluster, std::int64_t session_ms, std::function<void()> wake)
      : cluster_(cluster), session_ms_(session_ms), opaque_{&cluster, this}, wake_(std::move(wake)) {}

  void start() {
    thread_ = std::thread([this] { run(); });
  }
  void stop() {
    wake_.drop();
    stopping_ = true;
    elected_ = false;
    const std::lock_guard lock(mutex_);
    if (queue_) rd_kafka_queue_yield(queue_.get());
  }
  void join() { thread_.join(); }
  bool elected() const { return elected_; }

 private:
  void run();
  Result<Handle> open() const;
  void await_assignment(rd_kafka_t* handle);
  void set(bool elected) {
    if (elected_.exchange(elected) != elected) wake_();
  }
  void rebalance(rd_kafka_t* handle, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t* partitions);
  static void on_rebalance(rd_kafka_t* handle, rd_kafka_resp_err_t err,
                           rd_kafka_topic_partition_list_t* partitions, void* opaque) {
    static_cast<Member*>(static_cast<const Opaque*>(opaque)->owner)->rebalance(handle, err, partitions);
  }

  const Cluster& cluster_;
  const std::int64_t session_ms_;
  const Opaque opaque_;
  Callback wake_;
  std::atomic<bool> elected_ = false;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  Queue queue_;            // to interrupt the thread's wait
  bool assigned_ = false;  // something, or nothing: the thread's own
  std::thread thread_;
};

Result<Handle> Member::open() const {
  auto conf = make_conf(
      opaque_, {{"group.id", cluster_.place.cluster + ".controllers"},
                {"partition.assignment.strategy", "cooperative-sticky"},
                {"session.timeout.ms", std::to_string(session_ms_)},
                {"heartbeat.interval.ms", std::to_string(session_ms_ / 4)},
                {"max.poll.interval.ms", std::to_string(std::max<std::int64_t>(session_ms_ * 2, 10'000))},
                {"enable.auto.commit", "false"},
                {"enable.auto.offset.store", "false"},
                {"auto.offset.reset", "latest"}});
  if (!conf) return conf.error();
  rd_kafka_conf_set_rebalance_cb(conf->get(), on_rebalance);
  return make_handle(RD_KAFKA_CONSUMER, opaque_, *std::move(conf));
}

void Member::rebalance(rd_kafka_t* handle, rd_kafka_resp_err_t err,
                       rd_kafka_topic_partition_list_t* partitions) {
  const bool ours = partitions->cnt > 0;
  assigned_ = true;
  if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    KafkaError(rd_kafka_incremental_assign(handle, partitions));
    rd_kafka_pause_partitions(handle, partitions);  // the assignment is all that we want of it
    if (ours) set(true);
  } else {
    if (ours) set(false);  // before the group hears that it is given back
    KafkaError(rd_kafka_incremental_unassign(handle, partitions));
  }
}

void Member::run() {
  auto handle = open();
  if (!handle) return cluster_.complain(handle.error().text);
  rd_kafka_poll_set_consumer(handle->get());
  const Partitions topics(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(topics.get(), cluster_.election_topic().c_str(), RD_KAFKA_PARTITION_UA);
  if (const auto err = rd_kafka_subscribe(handle->get(), topics.get())) {
    return cluster_.complain(cluster_.explain(err, "stand for the controller's place").text);
  }
  {
    const std::lock_guard lock(mutex_);
    queue_.reset(rd_kafka_queue_get_consumer(handle->get()));
  }
  while (!stopping_) {
    // Rebalances are called from in here. The wait ends when something comes, and well within
    // max.poll.interval.ms.
    const Message message(rd_kafka_consumer_poll(handle->get(), 1000));
    if (message && message->err) cluster_.complain(rd_kafka_message_errstr(message.get()));
  }
  await_assignment(handle->get());
  rd_kafka_consumer_close(
      handle->get());  // leaves the group: the next one need not wait for the session to end
  const std::lock_guard lock(mutex_);
  queue_.reset();
}

// librdkafka 2.0.2 aborts the process when a member that joined and was told of no assignment yet is destroyed.
void Member::await_assignment(rd_kafka_t* handle) {
  const auto joined = [&] {
    char* id = rd_kafka_memberid(handle);
    const bool some = id && *id;
    if (id) rd_kafka_mem_free(handle, id);
    return some;
  };
  const auto deadline = Clock::now() + milliseconds(session_ms_ * 2);
  while (!assigned_ && Clock::now() < deadline && joined()) Message(rd_kafka_consumer_poll(handle, 50));
}

class KafkaCandidacy final : public Candidacy {
 public:
  KafkaCandidacy(SharedPtr shared, std::shared_ptr<Member> member)
      : shared_(std::move(shared)), member_(std::move(member)) {}
  ~KafkaCandidacy() override {
    member_->stop();
    shared_->undertaker.bury([member = std::move(member_)] { member->join(); });
  }
  bool elected() const override { return member_->elected(); }

 private:
  const SharedPtr shared_;
  std::shared_ptr<Member> member_;
};

}  // namespace

std::unique_ptr<Candidacy> stand_in_kafka(const SharedPtr& shared, std::function<void()> wake) {
  auto member = std::make_shared<Member>(shared->cluster, shared->session_ms, std::move(wake));
  member->start();
  return std::make_unique<KafkaCandidacy>(shared, std::move(member));
}

}  // namespace reprise::kafka
