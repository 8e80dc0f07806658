// What the commands have in common: exit codes, and how an error reaches whoever called.
#pragma once

#include <string>

#include "events/result.h"

namespace reprise::cli {

enum ExitCode { exit_well = 0, exit_wrong = 1, exit_usage = 2, exit_unreachable = 3 };

// Options that every command has.
struct Common {
  std::string state = "/var/lib/reprise";
  std::string config;  // empty: reprise.toml in the state folder, if it is there
  bool json = false;
};

// Says the error: on stderr, and with --json as an object on stdout. Gives the exit code that it means.
int fail(const Common& common, const Error& error);
int fail(const Common& common, Errc code, const std::string& text);

}  // namespace reprise::cli
