#include "controlplane/cli/log_access.h"

#include <filesystem>

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

Result<LogPlace> parse_full(const std::string& place, const StateFolder& state) {
  auto parsed = place == "embedded" ? Result<LogPlace>(EmbeddedPlace{state.log()}) : parse_log_place(place);
  if (!parsed) return parsed;
  std::error_code failed;
  if (auto* embedded = std::get_if<EmbeddedPlace>(&*parsed)) {
    const auto path = std::filesystem::absolute(embedded->dir, failed).lexically_normal();
    if (!failed) embedded->dir = (path.has_filename() ? path : path.parent_path()).string();
  }
  return parsed;
}

}  // namespace

Result<std::string> full_place(const std::string& place, const StateFolder& state) {
  const auto parsed = parse_full(place, state);
  if (!parsed) return parsed.error();
  return to_string(*parsed);
}

Result<std::unique_ptr<Log>> open_log(const std::string& place, const StateFolder& state, LogMode mode) {
  const auto parsed = parse_full(place, state);
  if (!parsed) return parsed.error();
  if (const auto* embedded = std::get_if<EmbeddedPlace>(&*parsed)) return open_embedded(embedded->dir, mode);
  return open_kafka_log(std::get<KafkaPlace>(*parsed), {.create = mode == LogMode::create});
}

}  // namespace reprise::cli
