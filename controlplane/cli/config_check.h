// `reprise config check FILE` and `reprise config default`.
#pragma once

#include <string>

#include "controlplane/cli/exit_code.h"

namespace reprise::cli {

struct ConfigCheckOptions {
  Common common;
  std::string file;
};
int run_config_check(const ConfigCheckOptions& options);

struct ConfigDefaultOptions {
  Common common;
};
int run_config_default(const ConfigDefaultOptions& options);

}  // namespace reprise::cli
