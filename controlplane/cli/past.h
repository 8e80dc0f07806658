// `reprise diff` and `whatif`: two moments compared, and a placement decided again; from the server or the
// folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/cli/exit_code.h"
#include "controlplane/cli/object_words.h"

namespace reprise::cli {

struct DiffOptions {
  Common common;
  std::string from, to;  // each a seq or an RFC 3339 time; no `to`: the newest
};
int run_diff(const DiffOptions& options);

// See story/whatif.h.
struct WhatIfOptions {
  Common common;
  ObjectWords object;
  std::string at, flavor;
  std::optional<std::int64_t> vcpus, ram_mib, disk_gib;
  std::optional<std::string> zone, host;
  std::vector<std::string> without, with;
  double vcpus_times = 1, ram_times = 1, disk_times = 1;
  std::int64_t count = 1;
};
// exit_wrong also when it, or not all that `count` asks for, finds a node.
int run_whatif(const WhatIfOptions& options);

}  // namespace reprise::cli
