// What every command that reads a cloud does: asks its server when there is one, else its folder, and prints.
#pragma once

#include <fmt/format.h>

#include "controlplane/cli/cloud_access.h"
#include "controlplane/cli/progress_line.h"
#include "controlplane/cli/terminal.h"

namespace reprise::cli {

template <class Online, class Offline>
Result<std::string> ask(const Common& common, Online&& online, Offline&& offline) {
  const auto server = find_server(common);
  if (!server) return server.error();
  if (*server) {
    const ProgressLine waiting("waiting for " + (*server)->auth_url);
    const auto cloud = OnlineCloud::connect(**server);
    if (!cloud) return cloud.error();
    return online(*cloud);
  }
  const ProgressLine reading("reading " + common.state);
  const auto cloud = OfflineCloud::open(common);
  if (!cloud) return cloud.error();
  return offline(*cloud);
}

// As it came with --json, else in words. Gives the exit code.
inline int print(const Common& common, const Result<std::string>& answer,
                 Result<std::string> (*words)(std::string_view, bool)) {
  if (!answer) return fail(common, answer.error());
  if (common.json) {
    fmt::print("{}{}", *answer, answer->ends_with('\n') ? "" : "\n");
    return exit_well;
  }
  const auto text = words(*answer, wants_colour());
  if (!text) return fail(common, text.error());
  fmt::print("{}", *text);
  return exit_well;
}

}  // namespace reprise::cli
