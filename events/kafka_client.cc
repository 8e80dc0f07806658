#include "events/kafka_client.h"

#include <fmt/format.h>

namespace reprise::kafka {
namespace {

// A hung broker must be given up within seconds, and the way back tried often: the defaults are for the
// internet.
const Settings common_settings = {
    {"client.id", "reprise"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"socket.timeout.ms", "4000"},
    {"socket.connection.setup.timeout.ms", "4000"},
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "500"},
    {"topic.metadata.refresh.fast.interval.ms", "100"},
    {"topic.metadata.refresh.interval.ms", "60000"},
    {"log.connection.close", "false"},
};

// librdkafka's log is the only place that says which broker refused what.
void on_log(const rd_kafka_t* handle, int level, const char* kind, const char* text) {
  constexpr int warning = 4;
  if (level > warning || !handle || std::string_view(kind) == "CONFWARN") return;
  if (const auto* opaque = static_cast<const Opaque*>(rd_kafka_opaque(handle)))
    opaque->cluster->complain(text);
}

Errc code_of(rd_kafka_resp_err_t err) {
  switch (err) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
      return Errc::denied;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      return Errc::not_found;
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
      return Errc::invalid;
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
      return Errc::broken;
    default:
      return Errc::unreachable;
  }
}

const char* remedy_of(Errc code) {
  switch (code) {
    case Errc::denied:
      return "give our principal that right, or fix its credentials";
    case Errc::not_found:
      return "make the cloud's topics with `reprise init`";
    case Errc::invalid:
      return "mend the configuration";
    case Errc::broken:
      return "stop, and compare the brokers' replicas";
    default:
      return "see whether the brokers run and can be reached from here";
  }
}

}  // namespace

Error Cluster::explain(rd_kafka_resp_err_t err, std::string_view doing, std::string_view detail) const {
  const auto code = code_of(err);
  auto text =
      fmt::format("{}: {}: {}", to_string(place), doing, detail.empty() ? rd_kafka_err2str(err) : detail);
  const auto last = complaint();
  if (code == Errc::unreachable && !last.empty()) text += fmt::format(" ({})", last);
  return {code, fmt::format("{}; {}", text, remedy_of(code))};
}

void Cluster::hear_time(const rd_kafka_message_t& message) const {
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  const std::int64_t at = rd_kafka_message_timestamp(&message, &type);
  if (type != RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME) return;
  auto before = time_heard_.load();
  while (at > before && !time_heard_.compare_exchange_weak(before, at)) {
  }
}

void Cluster::complain(std::string text) const {
  const std::lock_guard lock(mutex_);
  complaint_ = std::move(text);
}

std::string Cluster::complaint() const {
  const std::lock_guard lock(mutex_);
  return complaint_;
}

Result<Conf> make_conf(const Opaque& opaque, const Settings& settings) {
  const Cluster& cluster = *opaque.cluster;
  Conf conf(rd_kafka_conf_new());
  Settings all = settings;
  all.insert(common_settings.begin(), common_settings.end());
  all["bootstrap.servers"] = cluster.place.brokers;
  for (const auto& [name, value] : cluster.options.settings) all.insert_or_assign(name, value);
  for (const auto& [name, value] : all) {
    char why[300] = {};
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), why, sizeof why) != RD_KAFKA_CONF_OK) {
      return Error{Errc::invalid,
                   fmt::format("{}: setting {}={}: {}; mend it", to_string(cluster.place), name, value, why)};
    }
  }
  rd_kafka_conf_set_log_cb(conf.get(), on_log);
  rd_kafka_conf_set_opaque(conf.get(), const_cast<Opaque*>(&opaque));
  return conf;
}

Result<Handle> make_handle(rd_kafka_type_t type, const Opaque& opaque, Conf conf) {
  char why[300] = {};
  Handle handle(rd_kafka_new(type, conf.get(), why, sizeof why));
  if (!handle) {
    return Error{Errc::invalid, fmt::format("{}: librdkafka refuses its settings: {}; mend them",
                                            to_string(opaque.cluster->place), why)};
  }
  (void)conf.release();  // the handle's now
  return handle;
}

Undertaker::Undertaker()
    : thread_([this] {
        std::unique_lock lock(mutex_);
        for (;;) {
          filled_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
          if (queue_.empty()) return;
          auto end = std::move(queue_.front());
          queue_.pop_front();
          lock.unlock();
          end();
          end = nullptr;
          lock.lock();
        }
      }) {}

Undertaker::~Undertaker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  filled_.notify_one();
  thread_.join();
}

void Undertaker::bury(std::function<void()> end) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(end));
  }
  filled_.notify_one();
}

}  // namespace reprise::kafka
