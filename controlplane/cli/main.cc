// `reprise`: what is typed becomes one call. Nothing else happens here.
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <iostream>

#include "controlplane/cli/config_check.h"
#include "controlplane/cli/init.h"
#include "controlplane/cli/reading.h"
#include "controlplane/cli/serve.h"
#include "controlplane/cli/verify.h"

namespace {

using namespace reprise::cli;

class Program {
 public:
  Program() {
    if (const char* state = std::getenv("REPRISE_STATE")) common_.state = state;
    app_.require_subcommand(1);
    app_.set_version_flag("--version", "reprise 0.1");
    add_init();
    add_serve();
    add_reading();
    add_verify();
    add_config();
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app_.exit(error) == 0 ? exit_well : exit_usage;
    }
    return run_();
  }

 private:
  CLI::App* command(CLI::App& parent, const std::string& name, const std::string& what) {
    auto* command = parent.add_subcommand(name, what);
    command->add_option("--state", common_.state, "the state folder")->capture_default_str();
    command->add_option("--config", common_.config,
                        "the configuration (default: reprise.toml in the state folder)");
    command->add_flag("--json", common_.json, "for programs: JSON on stdout");
    return command;
  }
  template <class Options>
  void runs(CLI::App* command, Options& options, int (*run)(const Options&)) {
    command->callback([this, &options, run] {
      options.common = common_;
      run_ = [&options, run] { return run(options); };
    });
  }

  void add_init() {
    auto* init = command(app_, "init", "makes a new cloud: id, keys, admin; refuses to write over one");
    init->add_option("--log", init_.log,
                     "where its log is: embedded, embedded:DIR or kafka:HOST:PORT/CLUSTER");
    init->add_option("--name", init_.name, "the cloud's name");
    init->add_option("--admin-password", init_.admin_password,
                     "of the user admin (default: a random one, in openrc)")
        ->envname("REPRISE_ADMIN_PASSWORD");
    runs(init, init_, run_init);
  }

  void add_serve() {
    runs(command(app_, "serve", "runs the roles that the configuration names, until SIGTERM"), serve_,
         run_serve);
    runs(command(app_, "wipe", "takes everything of this cloud from the host; no server may run"), wipe_,
         run_wipe);
  }

  void add_reading() {
    runs(command(app_, "status", "roles, head, lag, nodes, and all that is not settled, with the reason"),
         status_, run_status);
    auto* events = command(app_, "events", "the log in words, an event a line");
    events->add_option("--from", events_.from, "the first one: SEQ or SEQ.INDEX")->capture_default_str();
    events->add_flag("--follow", events_.follow, "goes on as things happen");
    events->add_option("--object", events_.object, "only what names this id");
    runs(events, events_, run_events);
    auto* why = command(app_, "why", "how an object came to be as it is");
    why->add_option("ID", why_.id, "of a server, volume, port, image, network, node …")->required();
    runs(why, why_, run_why);
  }

  void add_verify() {
    auto* verify = command(app_, "verify", "replays the log from zero and proves every record");
    verify->add_option("--log", verify_.log, "the log (default: the configured one)");
    verify->add_option("--head", verify_.head, "SEQ:HASH, a head known elsewhere that must be in it");
    verify->add_flag("!--no-state", verify_.with_state,
                     "do not compare with the projection in the state folder");
    runs(verify, verify_, run_verify);
  }

  void add_config() {
    auto* config = app_.add_subcommand("config", "checks and explains configurations");
    config->require_subcommand(1);
    auto* check = command(*config, "check", "every mistake in one go, with line and remedy");
    check->add_option("FILE", check_.file, "the configuration")->required();
    runs(check, check_, run_config_check);
    auto* show = command(*config, "default", "prints every key with its meaning, range and default");
    runs(show, default_, run_config_default);
  }

  CLI::App app_{"Reprise: a private cloud whose database is its history. `reprise COMMAND --help` says more.",
                "reprise"};
  Common common_;
  InitOptions init_;
  ServeOptions serve_;
  WipeOptions wipe_;
  StatusOptions status_;
  EventsOptions events_;
  WhyOptions why_;
  VerifyOptions verify_;
  ConfigCheckOptions check_;
  ConfigDefaultOptions default_;
  std::function<int()> run_;
};

}  // namespace

int main(int argc, char** argv) { return Program().run(argc, argv); }
