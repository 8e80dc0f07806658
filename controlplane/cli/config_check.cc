#include "controlplane/cli/config_check.h"

#include <fmt/format.h>

#include "controlplane/cli/config.h"
#include "controlplane/cli/state_folder.h"
#include "events/print.h"

namespace reprise::cli {

int run_config_check(const ConfigCheckOptions& options) {
  const auto text = read_file(options.file, 2 << 20);
  if (!text) return fail(options.common, text.error());
  const auto parsed = parse_config(*text);
  if (options.common.json) {
    std::string list;
    for (const auto& mistake : parsed.mistakes)
      list += fmt::format("{}{{\"line\":{},\"text\":{}}}", list.empty() ? "" : ",", mistake.line,
                          json_quoted(mistake.text));
    fmt::print("{{\"ok\":{},\"file\":{},\"mistakes\":[{}]}}\n", parsed.mistakes.empty(),
               json_quoted(options.file), list);
  } else if (parsed.mistakes.empty()) {
    fmt::print("{}: well\n", options.file);
  } else {
    fmt::print(stderr, "{}\n", mistakes_text(options.file, parsed.mistakes));
  }
  return parsed.mistakes.empty() ? exit_well : exit_wrong;
}

int run_config_default(const ConfigDefaultOptions&) {
  const Config defaults;
  fmt::print("{}", documented_config(defaults.name, defaults.log.place));
  return exit_well;
}

}  // namespace reprise::cli
