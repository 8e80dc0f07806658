// From a place as people write it to an open log.
#pragma once

#include <memory>
#include <string>

#include "controlplane/cli/state_folder.h"
#include "events/log.h"

namespace reprise::cli {

enum class LogMode { create, write, read_only };

// The same place in full, as an open log names itself: a folder as an absolute path.
Result<std::string> full_place(const std::string& place, const StateFolder& state);

// `place` as in the configuration: "embedded" (the state folder's own), "embedded:DIR",
// "kafka:BROKERS/CLUSTER".
Result<std::unique_ptr<Log>> open_log(const std::string& place, const StateFolder& state, LogMode mode);

}  // namespace reprise::cli
