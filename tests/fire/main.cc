// fire: the embedded log and the projection's store under what machines do to them. `fire --help`.
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <filesystem>

#include "tests/fire/child.h"

using namespace reprise::fire;

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "writer") return run_writer(argc, argv);
  CLI::App app{"The embedded log and the projection's store under fire: what was acknowledged must be there, once and in\n"
               "order, and what is damaged must be named. Exit: 0 it held, 1 it did not (what, and the command that\n"
               "does it again), 2 bad usage.",
               "fire"};
  app.require_subcommand(1);
  Trial trial;
  int (*run)(const Trial&) = nullptr;
  const auto add = [&](const char* name, const char* what, const char* counted, int (*trial_of)(const Trial&)) {
    auto* command = app.add_subcommand(name, what);
    command->add_option(std::string("--count,--") + counted, trial.count, "how many (default: 100)");
    command->add_option("--seed", trial.seed, "of the random numbers (default: 1)");
    command->add_flag("--json", trial.json, "one JSON object");
    command->callback([&trial, &run, name, trial_of] { trial.name = name, run = trial_of; });
  };
  trial.count = 100;
  add("kills", "kill -9 of a process that appends and folds", "kills", run_kills);
  add("disks", "a disk that loses power, is full, fails, or can only be read", "rounds", run_disks);
  add("flips", "one byte of a copied log, or of a projection, is another", "flips", run_flips);
  add("copies", "a state folder that is copied while it is written", "copies", run_copies);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::string folder = std::filesystem::temp_directory_path() / "reprise-fire-XXXXXX";
  if (!mkdtemp(folder.data())) return std::perror(folder.c_str()), 1;
  trial.folder = folder;
  return run(trial);
}
