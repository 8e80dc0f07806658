#include "events/kafka_log.h"

#include "events/kafka_client.h"

namespace reprise {
namespace {

class KafkaLog final : public Log {
 public:
  explicit KafkaLog(kafka::SharedPtr shared) : shared_(std::move(shared)) {}
  ~KafkaLog() override { shared_->asker->close(); }

  Result<std::unique_ptr<Producer>> open_producer() override { return kafka::open_kafka_producer(shared_); }
  Result<std::unique_ptr<Reader>> open_reader(Topic topic, std::int64_t offset,
                                              std::function<void()> wake) override {
    return kafka::open_kafka_reader(shared_, topic, offset, std::move(wake));
  }
  void end(Topic topic, Answer answer) override { shared_->asker->end(topic, std::move(answer)); }
  Result<std::int64_t> begin(Topic topic) override { return shared_->asker->begin(topic); }
  std::optional<std::int64_t> time_heard() const override {
    const auto at = shared_->cluster.time_heard();
    return at ? std::optional(at) : std::nullopt;
  }
  std::unique_ptr<Candidacy> stand(std::function<void()> wake) override {
    return kafka::stand_in_kafka(shared_, std::move(wake));
  }
  std::string place() const override { return to_string(shared_->cluster.place); }

 private:
  const kafka::SharedPtr shared_;
};

}  // namespace

Result<std::unique_ptr<Log>> open_kafka_log(const KafkaPlace& place, KafkaLogOptions options) {
  const auto deadline = kafka::Clock::now() + kafka::milliseconds(options.open_deadline_ms);
  auto shared = std::make_shared<kafka::Shared>(place, std::move(options));
  auto asker = kafka::Asker::make(shared->cluster);
  if (!asker) return asker.error();
  shared->asker = *std::move(asker);
  if (auto prepared = kafka::prepare_topics(shared->cluster, shared->asker->handle(), deadline); !prepared) {
    return prepared.error();
  }
  shared->session_ms = shared->cluster.options.session_ms;
  if (shared->session_ms == 0) {
    shared->session_ms = kafka::shortest_session_ms(shared->cluster, shared->asker->handle(), deadline);
  }
  return std::unique_ptr<Log>(std::make_unique<KafkaLog>(std::move(shared)));
}

}  // namespace reprise
