// `reprise checkpoint`: of the projection as it is now (projections/checkpoint.h).
#pragma once

#include "controlplane/cli/exit_code.h"

namespace reprise::cli {

struct CheckpointOptions {
  Common common;
};
int run_checkpoint(const CheckpointOptions& options);

}  // namespace reprise::cli
