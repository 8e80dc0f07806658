// Where a log is, as people write it: "embedded:DIR" or "kafka:HOST:PORT[,HOST:PORT…]/CLUSTER".
// parse accepts nothing else; its errors (invalid) name the part that is wrong and show what is right.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "events/result.h"

namespace reprise {

struct EmbeddedPlace {
  std::string dir;  // absolute or relative, as given
  bool operator==(const EmbeddedPlace&) const = default;
};

struct KafkaPlace {
  std::string brokers;  // HOST:PORT[,HOST:PORT…], as librdkafka takes it; IPv6 in brackets
  std::string cluster;  // the topics' prefix: 1 to 200 of A-Z a-z 0-9 . _ -
  bool operator==(const KafkaPlace&) const = default;
};

using LogPlace = std::variant<EmbeddedPlace, KafkaPlace>;

Result<LogPlace> parse_log_place(std::string_view text);
std::string to_string(const LogPlace& place);

}  // namespace reprise
