// `reprise status`, `events` and `why`: what a cloud says of itself, from its server or from its folder.
#pragma once

#include <cstdint>
#include <string>

#include "controlplane/cli/exit_code.h"
#include "controlplane/cli/object_words.h"

namespace reprise::cli {

struct StatusOptions {
  Common common;
};
int run_status(const StatusOptions& options);

struct EventsOptions {
  Common common;
  std::string from = "1";  // SEQ or SEQ.INDEX
  bool follow = false;
  std::string object;
};
int run_events(const EventsOptions& options);

struct WhyOptions {
  Common common;
  ObjectWords object;
};
int run_why(const WhyOptions& options);

}  // namespace reprise::cli
