#include "controlplane/cli/checkpoint_command.h"

#include <fmt/format.h>

#include "controlplane/cli/checkpoint_json.h"
#include "controlplane/cli/cloud_access.h"
#include "controlplane/cli/config_choice.h"
#include "controlplane/cli/terminal.h"

namespace reprise::cli {
namespace {

// Of the folder, when no server has it.
Result<std::string> make_offline(const Common& common) {
  const StateFolder state{common.state};
  const auto config = choose_config(common);
  if (!config) return config.error();
  const auto lock = FileLock::take(state.lock(), "reprise checkpoint");
  if (!lock) return lock.error();
  if (!file_exists(state.projection()))
    return Error{Errc::not_found,
                 fmt::format("nothing was folded in {} yet: start it with `reprise serve`", common.state)};
  const auto store = Store::open({.dir = state.projection()});
  if (!store) return store.error();
  const std::string folder = checkpoints_folder(*config, state);
  const auto made = make_checkpoint(*(*store)->snapshot()->families, folder);
  if (!made) return made.error();
  if (auto pruned = prune_checkpoints(folder, static_cast<std::size_t>(config->checkpoints.keep)); !pruned)
    return pruned.error();
  return checkpoint_json(*made);
}

}  // namespace

int run_checkpoint(const CheckpointOptions& options) {
  const auto server = find_server(options.common);
  if (!server) return fail(options.common, server.error());
  Result<std::string> made = Error{Errc::again, "not yet made"};
  if (*server) {
    const auto cloud = OnlineCloud::connect(**server);
    made = cloud ? cloud->post("/checkpoint", "") : Result<std::string>(cloud.error());
  } else {
    made = make_offline(options.common);
  }
  if (!made) return fail(options.common, made.error());
  const auto words = options.common.json ? made : checkpoint_text(*made);
  if (!words) return fail(options.common, words.error());
  fmt::print("{}\n", *words);
  return exit_well;
}

}  // namespace reprise::cli
