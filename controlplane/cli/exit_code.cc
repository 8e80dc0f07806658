#include "controlplane/cli/exit_code.h"

#include <fmt/format.h>

#include <cstdio>

#include "events/print.h"

namespace reprise::cli {

int fail(const Common& common, const Error& error) {
  fmt::print(stderr, "reprise: {}\n", error.text);
  if (common.json)
    fmt::print("{{\"ok\":false,\"code\":\"{}\",\"error\":{}}}\n", errc_name(error.code),
               json_quoted(error.text));
  const bool away = error.code == Errc::unreachable || error.code == Errc::timed_out;
  return away ? exit_unreachable : exit_wrong;
}

int fail(const Common& common, Errc code, const std::string& text) { return fail(common, Error{code, text}); }

}  // namespace reprise::cli
