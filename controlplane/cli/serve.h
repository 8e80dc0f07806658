// `reprise serve`: the roles that the configuration names, in one process, until SIGTERM or SIGINT.
//
// Promises: one at a time per state folder, and one that drives the host. At the signal requests under way
// are answered, agents end the step that they are at, and what runs on the host keeps running; a second
// signal ends it at once. When the log turns out to be broken it ends with 1 and says where.
#pragma once

#include "controlplane/cli/exit_code.h"

namespace reprise::cli {

struct ServeOptions {
  Common common;
};
int run_serve(const ServeOptions& options);

// `reprise wipe`: with no server running, everything of this cloud goes from the host: domains, disks,
// networks. The log stays: a server started again would make it all anew.
struct WipeOptions {
  Common common;
};
int run_wipe(const WipeOptions& options);

}  // namespace reprise::cli
