#include "events/log_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace reprise {
namespace {

constexpr std::size_t cluster_chars_max =
    200;  // Kafka's limit for a topic is 249, and ours add ".heartbeats"

Error wrong(std::string_view text, std::string_view what) {
  return {Errc::invalid,
          fmt::format("log place '{}': {}; write embedded:DIR or kafka:HOST:PORT[,HOST:PORT]/CLUSTER, "
                      "such as embedded:/var/lib/reprise/log or kafka:10.0.0.1:9092/prod",
                      text, what)};
}

bool is_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
         c == '_';
}

// What is wrong with one HOST:PORT, or nothing.
std::string broker_mistake(std::string_view broker) {
  const auto colon = broker.rfind(':');
  if (broker.empty()) return "a broker between the commas is empty";
  if (colon == std::string_view::npos) return fmt::format("broker '{}' has no port", broker);
  const auto host = broker.substr(0, colon), port = broker.substr(colon + 1);
  if (!is_port(port)) return fmt::format("'{}' in broker '{}' is no port (1 to 65535)", port, broker);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    const bool v6 = std::all_of(host.begin() + 1, host.end() - 1, [](char c) {
      return c == ':' || c == '.' || std::isxdigit(static_cast<unsigned char>(c));
    });
    return v6 ? "" : fmt::format("'{}' in broker '{}' is no IPv6 address", host, broker);
  }
  if (host.empty()) return fmt::format("broker '{}' has no host", broker);
  if (!std::all_of(host.begin(), host.end(), is_host_char)) {
    return fmt::format("'{}' in broker '{}' is no host name (an IPv6 address wants brackets)", host, broker);
  }
  return "";
}

std::string cluster_mistake(std::string_view cluster) {
  if (cluster.empty()) return "the cluster's name after the '/' is empty";
  if (cluster.size() > cluster_chars_max) {
    return fmt::format("the cluster's name has {} characters, {} at most", cluster.size(), cluster_chars_max);
  }
  if (!std::all_of(cluster.begin(), cluster.end(), is_host_char)) {
    return fmt::format("the cluster's name '{}' may only have A-Z a-z 0-9 . _ -", cluster);
  }
  return "";
}

Result<LogPlace> parse_kafka(std::string_view text, std::string_view rest) {
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos) return wrong(text, "the cluster's name is missing");
  const auto brokers = rest.substr(0, slash), cluster = rest.substr(slash + 1);
  for (std::size_t from = 0; from <= brokers.size();) {
    const auto comma = std::min(brokers.find(',', from), brokers.size());
    if (const auto mistake = broker_mistake(brokers.substr(from, comma - from)); !mistake.empty()) {
      return wrong(text, mistake);
    }
    from = comma + 1;
  }
  if (const auto mistake = cluster_mistake(cluster); !mistake.empty()) return wrong(text, mistake);
  return LogPlace(KafkaPlace{std::string(brokers), std::string(cluster)});
}

}  // namespace

Result<LogPlace> parse_log_place(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return wrong("…", "it has a zero byte in it");
  if (text.starts_with("embedded:")) {
    const auto dir = text.substr(9);
    if (dir.empty()) return wrong(text, "the folder after 'embedded:' is missing");
    return LogPlace(EmbeddedPlace{std::string(dir)});
  }
  if (text.starts_with("kafka:")) return parse_kafka(text, text.substr(6));
  return wrong(text, text.empty() ? "it is empty" : "it begins with neither 'embedded:' nor 'kafka:'");
}

std::string to_string(const LogPlace& place) {
  if (const auto* embedded = std::get_if<EmbeddedPlace>(&place)) return "embedded:" + embedded->dir;
  const auto& kafka = std::get<KafkaPlace>(place);
  return "kafka:" + kafka.brokers + "/" + kafka.cluster;
}

}  // namespace reprise
