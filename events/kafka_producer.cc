// A producer: one idempotent session of librdkafka's, without gaps (design, section 2, rule 2).
//
// What a broker does not know of a session it cannot check: it takes any sequence number from one that it has
// not seen on this topic, or forgot. So each topic is a lane that is open or not: while it is not, one append
// goes alone, and the next ones wait until that one is known to be there.
//
//   closed ──one append──▶ alone ──acknowledged──▶ open ──idle_ms without an append──▶ stale
//   stale ──one append──▶ alone ──acknowledged──▶ read back: it is there ──▶ open
#include <fmt/format.h>

#include <array>
#include <optional>

#include "events/kafka_client.h"
#include "events/log_session.h"

namespace reprise::kafka {
namespace {

struct Waiting {
  std::uint64_t number = 0;
  Bytes bytes;
  Clock::time_point since;
};

struct Sent {
  std::uint64_t number = 0;
  Clock::time_point since;
};

struct Lane {
  enum class State { closed, alone, stale_alone, reading_back, open };
  State state = State::closed;
  std::deque<Waiting> waiting;
  std::deque<Sent> sent;
  Bytes alone;  // what to read back
  Clock::time_point last;
  bool stale = false;
};

// Shared by the producer, the session's thread and what is asked of the asker; gone when the last of them is.
class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(Shared& shared) : shared_(shared), opaque_{&shared.cluster, this} {}

  Status start();
  void append(Topic topic, Bytes bytes, Producer::Done done);
  // The producer goes. What is open ends now; the rest is buried.
  void stop();
  void join() { thread_.join(); }

 private:
  void run();
  void learn_leaders();
  int wait_ms();
  void pump(Topic topic);
  bool produce(Topic topic, const Waiting& waiting);
  void delivered(const rd_kafka_message_t* message);
  void acknowledged(Topic topic, std::int64_t offset);
  void read_back(Topic topic, std::int64_t offset);
  void refused(const rd_kafka_message_t* message, std::uint64_t number);
  void fail(rd_kafka_resp_err_t err, Topic topic);
  Error not_written();
  void give_up_late_ones();
  static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    static_cast<Session*>(static_cast<const Opaque*>(opaque)->owner)->delivered(message);
  }

  Shared& shared_;  // outlives the session: it buries it
  const Opaque opaque_;
  Handle handle_;
  Queue main_;
  std::array<TopicHandle, topic_count> topics_;
  OpenAppends open_;
  std::thread thread_;

  std::mutex mutex_;
  std::array<Lane, topic_count> lanes_;
  std::vector<std::pair<std::uint64_t, Error>> refusals_;  // to be answered by the thread
  std::string failure_;                                    // some: nothing is sent any more
  bool stopping_ = false;
  bool told_first_ = false;  // the append that failed first was answered
};

// The topic travels with the number in the message's opaque pointer.
void* pack(std::uint64_t number, Topic topic) {
  return reinterpret_cast<void*>(number << 2 | index_of(topic));
}
std::uint64_t number_of(const rd_kafka_message_t* m) {
  return reinterpret_cast<std::uintptr_t>(m->_private) >> 2;
}
Topic topic_of(const rd_kafka_message_t* m) {
  return all_topics[reinterpret_cast<std::uintptr_t>(m->_private) & 3];
}

// An idempotent librdkafka sends nothing more while so many messages of a partition are not acknowledged, and until then
// its thread spins over those that wait (linger.ms=0). So they wait here, and go together.
constexpr std::size_t in_flight_max = 5;

// A topic's limit is for a whole batch: one that holds more than one entry must fit the smallest of them.
constexpr std::size_t batch_bytes_max = topic_rules(Topic::heartbeats).entry_bytes_max;

Status Session::start() {
  auto conf = make_conf(opaque_, {{"enable.idempotence", "true"},
                                  {"enable.gapless.guarantee", "true"},
                                  {"acks", "all"},
                                  {"message.timeout.ms", "0"},  // it would leave a gap; the deadline is ours
                                  {"linger.ms", "0"},
                                  {"request.timeout.ms", "4000"},
                                  {"retry.backoff.ms", "50"},
                                  {"message.max.bytes", std::to_string(record_bytes_max + 4096)},
                                  {"batch.size", std::to_string(batch_bytes_max)},
                                  {"queue.buffering.max.kbytes", "32768"}});
  if (!conf) return conf.error();
  rd_kafka_conf_set_dr_msg_cb(conf->get(), on_delivery);
  auto handle = make_handle(RD_KAFKA_PRODUCER, opaque_, *std::move(conf));
  if (!handle) return handle.error();
  handle_ = *std::move(handle);
  main_.reset(rd_kafka_queue_get_main(handle_.get()));
  for (const Topic topic : all_topics) {
    topics_[index_of(topic)].reset(
        rd_kafka_topic_new(handle_.get(), shared_.cluster.topic(topic).c_str(), nullptr));
    if (!topics_[index_of(topic)]) return shared_.cluster.explain(rd_kafka_last_error(), "open a producer");
  }
  thread_ = std::thread([this] { run(); });
  return {};
}

void Session::append(Topic topic, Bytes bytes, Producer::Done done) {
  const auto limit = topic_rules(topic).entry_bytes_max;
  const auto number = open_.add(std::move(done));
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (!failure_.empty()) {
      refusals_.emplace_back(
          number,
          Error{Errc::session_broken,
                fmt::format("not written: an earlier append of this producer failed: {}; open a new producer",
                            failure_)});
      wake = true;
    } else if (bytes.size() > limit) {
      refusals_.emplace_back(
          number, Error{Errc::invalid, fmt::format("an entry of {} has {} bytes, {} at most; split it",
                                                   topic_name(topic), bytes.size(), limit)});
      wake = true;
    } else {
      Lane& lane = lanes_[index_of(topic)];
      wake = lane.sent.empty() && lane.waiting.empty();  // the thread must learn of a deadline
      lane.waiting.push_back({number, std::move(bytes), Clock::now()});
      pump(topic);
    }
  }
  if (wake) rd_kafka_queue_yield(main_.get());
}

// Sends what may be sent. Under mutex_.
void Session::pump(Topic topic) {
  Lane& lane = lanes_[index_of(topic)];
  const auto idle = milliseconds(shared_.cluster.options.idle_ms);
  if (lane.state == Lane::State::open && lane.sent.empty() && Clock::now() - lane.last >= idle) {
    lane.state = Lane::State::closed;
    lane.stale = true;
  }
  if (lane.sent.size() >= in_flight_max) return;
  while (!lane.waiting.empty() && failure_.empty()) {
    const bool alone = lane.state == Lane::State::closed;
    if (!alone && lane.state != Lane::State::open) return;
    if (!produce(topic, lane.waiting.front())) return;  // its queue is full: again after the next delivery
    lane.sent.push_back({lane.waiting.front().number, lane.waiting.front().since});
    if (alone) {
      lane.state = lane.stale ? Lane::State::stale_alone : Lane::State::alone;
      if (lane.stale) lane.alone = std::move(lane.waiting.front().bytes);
    }
    lane.waiting.pop_front();
  }
}

bool Session::produce(Topic topic, const Waiting& waiting) {
  // The payload is copied: one of zero bytes is still a value, not a tombstone.
  auto* payload = const_cast<char*>(waiting.bytes.data());
  const int failed = rd_kafka_produce(topics_[index_of(topic)].get(), 0, RD_KAFKA_MSG_F_COPY, payload,
                                      waiting.bytes.size(), nullptr, 0, pack(waiting.number, topic));
  if (!failed) return true;
  const auto err = rd_kafka_last_error();
  if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    failure_ = shared_.cluster.explain(err, fmt::format("append to {}", topic_name(topic))).text;
    rd_kafka_queue_yield(main_.get());
  }
  return false;
}

// Otherwise the first use of each topic waits for its turn to be asked after, about a second.
void Session::learn_leaders() {
  const rd_kafka_metadata_t* metadata = nullptr;
  const auto wait_ms = static_cast<int>(shared_.cluster.options.append_deadline_ms / 2);
  if (rd_kafka_metadata(handle_.get(), 0, nullptr, &metadata, wait_ms) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    rd_kafka_metadata_destroy(metadata);
  }
}

void Session::run() {
  learn_leaders();
  for (;;) {
    rd_kafka_poll(handle_.get(), wait_ms());
    std::unique_lock lock(mutex_);
    if (stopping_) return;
    auto refusals = std::exchange(refusals_, {});
    lock.unlock();
    for (auto& [number, error] : refusals) open_.answer(number, std::move(error));
    give_up_late_ones();
  }
}

// Until the oldest append that is open has had its time; until we are woken, when none is.
int Session::wait_ms() {
  const std::lock_guard lock(mutex_);
  if (stopping_ || !refusals_.empty()) return 0;
  std::optional<Clock::time_point> oldest;
  bool leftover = false;
  for (const auto& lane : lanes_) {
    if (!lane.sent.empty() && (!oldest || lane.sent.front().since < *oldest))
      oldest = lane.sent.front().since;
    if (!lane.waiting.empty() && (!oldest || lane.waiting.front().since < *oldest))
      oldest = lane.waiting.front().since;
    leftover = leftover || !lane.waiting.empty();
  }
  if (!failure_.empty()) return leftover ? 0 : 60'000;
  if (!oldest) return 60'000;
  const auto left = *oldest + milliseconds(shared_.cluster.options.append_deadline_ms) - Clock::now();
  return static_cast<int>(
      std::max<std::int64_t>(std::chrono::duration_cast<milliseconds>(left).count() + 1, 0));
}

void Session::delivered(const rd_kafka_message_t* message) {
  const auto number = number_of(message);
  const auto topic = topic_of(message);
  {
    const std::lock_guard lock(mutex_);
    auto& sent = lanes_[index_of(topic)].sent;
    std::erase_if(sent, [&](const Sent& s) { return s.number == number; });
  }
  if (message->err) return refused(message, number);
  shared_.cluster.hear_time(*message);
  open_.answer(number, message->offset);
  acknowledged(topic, message->offset);
}

void Session::acknowledged(Topic topic, std::int64_t offset) {
  const std::lock_guard lock(mutex_);
  Lane& lane = lanes_[index_of(topic)];
  lane.last = Clock::now();
  if (lane.state == Lane::State::stale_alone) {
    lane.state = Lane::State::reading_back;
    read_back(topic, offset);
  } else {
    if (lane.state == Lane::State::alone) lane.state = Lane::State::open;
    pump(topic);
  }
}

void Session::read_back(Topic topic, std::int64_t offset) {
  shared_.asker->read_back(topic, offset, [self = shared_from_this(), topic, offset](Result<Bytes> found) {
    const std::lock_guard lock(self->mutex_);
    Lane& lane = self->lanes_[index_of(topic)];
    if (self->stopping_ || !self->failure_.empty()) return;
    if (!found || *found != lane.alone) {
      self->failure_ =
          found ? fmt::format("another entry than ours stands in {} at offset {}", topic_name(topic), offset)
                : found.error().text;
      rd_kafka_queue_yield(self->main_.get());
      return;
    }
    lane.state = Lane::State::open;
    lane.stale = false;
    lane.alone.clear();
    self->pump(topic);
  });
}

// What was not written: the first that fails says why, those after it that they followed it.
Error Session::not_written() {
  const std::lock_guard lock(mutex_);
  const auto code = std::exchange(told_first_, true) ? Errc::session_broken : Errc::unreachable;
  return {code, fmt::format("not written: {}{}; open a new producer",
                            code == Errc::session_broken ? "an earlier append of this producer failed: " : "",
                            failure_)};
}

void Session::refused(const rd_kafka_message_t* message, std::uint64_t number) {
  const bool purged =
      message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
  if (!purged) fail(message->err, topic_of(message));
  if (rd_kafka_message_status(message) == RD_KAFKA_MSG_STATUS_NOT_PERSISTED) {
    return open_.answer(number, not_written());
  }
  std::string why;
  {
    const std::lock_guard lock(mutex_);
    told_first_ = true;
    why = failure_;
  }
  open_.answer(number, Error{Errc::timed_out, why + "; this entry may have been written, or may still be"});
}

// Nothing is sent any more; what is on its way comes back as purged.
void Session::fail(rd_kafka_resp_err_t err, Topic topic) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) {
      failure_ = shared_.cluster.explain(err, fmt::format("append to {}", shared_.cluster.topic(topic))).text;
    }
  }
  rd_kafka_purge(handle_.get(),
                 RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

// Ends the session when an append has had its time, or when it failed where no delivery says so.
void Session::give_up_late_ones() {
  std::vector<std::uint64_t> never_sent;
  std::optional<Topic> late;
  {
    const std::lock_guard lock(mutex_);
    const auto limit = Clock::now() - milliseconds(shared_.cluster.options.append_deadline_ms);
    for (const Topic topic : all_topics) {
      const Lane& lane = lanes_[index_of(topic)];
      if (!lane.sent.empty() && lane.sent.front().since <= limit) late = topic;
      if (!lane.waiting.empty() && lane.waiting.front().since <= limit) late = topic;
    }
    if (!late && failure_.empty()) return;
    for (auto& lane : lanes_) {
      for (const auto& waiting : std::exchange(lane.waiting, {})) never_sent.push_back(waiting.number);
      told_first_ = told_first_ || !lane.sent.empty();  // these were first, and come back as purged
    }
  }
  if (late) fail(RD_KAFKA_RESP_ERR__TIMED_OUT, *late);
  for (const auto number : never_sent) open_.answer(number, not_written());
}

void Session::stop() {
  open_.abandon();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  rd_kafka_purge(handle_.get(),
                 RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
  rd_kafka_queue_yield(main_.get());
}

class KafkaProducer final : public Producer {
 public:
  KafkaProducer(SharedPtr shared, std::shared_ptr<Session> session)
      : shared_(std::move(shared)), session_(std::move(session)) {}
  ~KafkaProducer() override {
    session_->stop();
    shared_->undertaker.bury([session = std::move(session_)] { session->join(); });
  }
  void append(Topic topic, Bytes bytes, Done done) override {
    session_->append(topic, std::move(bytes), std::move(done));
  }

 private:
  const SharedPtr shared_;
  std::shared_ptr<Session> session_;
};

}  // namespace

Result<std::unique_ptr<Producer>> open_kafka_producer(const SharedPtr& shared) {
  auto session = std::make_shared<Session>(*shared);
  if (auto started = session->start(); !started) return started.error();
  return std::unique_ptr<Producer>(std::make_unique<KafkaProducer>(shared, std::move(session)));
}

}  // namespace reprise::kafka
