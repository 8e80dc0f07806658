// A checkpoint as the server and the command line say it to programs.
#pragma once

#include <fmt/format.h>

#include <string>

#include "events/print.h"
#include "projections/checkpoint.h"

namespace reprise::cli {

inline std::string checkpoint_json(const Checkpoint& made) {
  return fmt::format("{{\"ok\":true,\"seq\":{},\"digest\":\"{}\",\"dir\":{},\"bytes\":{}}}", made.seq,
                     made.digest, json_quoted(made.dir), made.bytes);
}

}  // namespace reprise::cli
