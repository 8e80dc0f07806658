// Which configuration a command goes by: the one that is named, else the state folder's, else the defaults.
#pragma once

#include "controlplane/cli/config.h"
#include "controlplane/cli/exit_code.h"
#include "controlplane/cli/state_folder.h"

namespace reprise::cli {

inline Result<Config> choose_config(const Common& common) {
  if (!common.config.empty()) return read_config(common.config);
  const std::string own = StateFolder{common.state}.config();
  return file_exists(own) ? read_config(own) : Config{};
}

inline std::string checkpoints_folder(const Config& config, const StateFolder& state) {
  return config.checkpoints.directory.empty() ? state.checkpoints() : config.checkpoints.directory;
}

}  // namespace reprise::cli
