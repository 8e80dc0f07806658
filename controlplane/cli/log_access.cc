#include "controlplane/cli/log_access.h"

#include "events/embedded_log.h"
#include "events/kafka_log.h"
#include "events/log_place.h"

namespace reprise::cli {
namespace {

Result<std::unique_ptr<Log>> open_embedded(const std::string& dir, LogMode mode) {
  EmbeddedLogOptions options;
  options.create = mode == LogMode::create;
  return mode == LogMode::read_only ? open_embedded_log_read_only(dir, options)
                                    : open_embedded_log(dir, options);
}

}  // namespace

Result<std::unique_ptr<Log>> open_log(const std::string& place, const StateFolder& state, LogMode mode) {
  if (place == "embedded") return open_embedded(state.log(), mode);
  const auto parsed = parse_log_place(place);
  if (!parsed) return parsed.error();
  if (const auto* embedded = std::get_if<EmbeddedPlace>(&*parsed)) return open_embedded(embedded->dir, mode);
  return open_kafka_log(std::get<KafkaPlace>(*parsed), {.create = mode == LogMode::create});
}

}  // namespace reprise::cli
