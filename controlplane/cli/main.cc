// `reprise`: what is typed becomes one call. Nothing else happens here.
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <iostream>

#include "controlplane/cli/checkpoint_command.h"
#include "controlplane/cli/config_check.h"
#include "controlplane/cli/init.h"
#include "controlplane/cli/log_copy.h"
#include "controlplane/cli/log_repair.h"
#include "controlplane/cli/past.h"
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
    add_past();
    add_verify();
    add_log();
    runs(command(app_, "checkpoint", "of the projection now: a new one begins there instead of at the first record"),
         checkpoint_, run_checkpoint);
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
    why->add_option("OBJECT", why_.object.words,
                    "[KIND] NAME of a server, volume, port, image, network, node …, or its UUID, also of one that is gone; "
                    "without KIND a name means the server, if one is called so")
        ->required()
        ->expected(1, 2);
    runs(why, why_, run_why);
  }

  void add_past() {
    auto* diff =
        command(app_, "diff", "what differs between two moments, object by object, and by whose intent");
    diff->add_option("FROM", diff_.from, "a seq, or an RFC 3339 time")->required();
    diff->add_option("TO", diff_.to, "a seq, or an RFC 3339 time (default: the newest)");
    runs(diff, diff_, run_diff);
    auto* whatif = command(app_, "whatif", "a placement decided again, node by node, changing nothing");
    auto& w = whatif_;
    whatif->add_option("OBJECT", w.object.words,
                       "[KIND] NAME of a server or volume, or its UUID, as it was placed or refused; none: a new server")
        ->expected(0, 2);
    whatif->add_option("--at", w.at,
                       "in the state of: SEQ, an RFC 3339 time, now (default: OBJECT's own, or now)");
    whatif->add_option("--flavor", w.flavor, "with that flavor's amounts");
    whatif->add_option("--vcpus", w.vcpus, "with so many vCPUs");
    whatif->add_option("--ram", w.ram_mib, "with so much memory, in MiB");
    whatif->add_option("--disk", w.disk_gib, "with so much disk, in GiB");
    whatif->add_option("--zone", w.zone, "in that availability zone (\"\": any)");
    whatif->add_option("--host", w.host, "on that node (\"\": any)");
    whatif->add_option("--without", w.without, "as if that node were disabled (again for more)")
        ->allow_extra_args(false);
    whatif->add_option("--with", w.with, "as if that node were up and enabled (again for more)")
        ->allow_extra_args(false);
    whatif->add_option("--cpu-times", w.vcpus_times, "every node offers so many times its vCPUs");
    whatif->add_option("--ram-times", w.ram_times, "every node offers so many times its memory");
    whatif->add_option("--disk-times", w.disk_times, "every node offers so many times its disk");
    whatif->add_option("--count", w.count, "that many of it, one after the other");
    runs(whatif, whatif_, run_whatif);
  }

  void add_verify() {
    auto* verify = command(app_, "verify", "replays the log from zero and proves every record");
    verify->add_option("--log", verify_.log, "the log (default: the configured one)");
    verify->add_option("--head", verify_.head, "SEQ:HASH, a head known elsewhere that must be in it");
    verify->add_flag("!--no-state", verify_.with_state,
                     "do not compare with the projection in the state folder");
    runs(verify, verify_, run_verify);
  }

  void add_log() {
    auto* log = app_.add_subcommand("log", "moves and mends logs");
    log->require_subcommand(1);
    auto* copy = command(*log, "copy", "moves the cloud to another log, its chain intact; cut off, it goes on where it was");
    copy->add_option("FROM", log_copy_.from, "embedded, embedded:DIR or kafka:HOST:PORT/CLUSTER")->required();
    copy->add_option("TO", log_copy_.to, "an empty log, or what an earlier copy left there")->required();
    runs(copy, log_copy_, run_log_copy);
    auto* repair = command(*log, "repair", "appends again what the log lost and the projection in the state folder has");
    repair->add_option("--log", repair_.log, "the log (default: the configured one)");
    repair->add_flag("--apply", repair_.apply, "do it; otherwise it only says what it would do");
    runs(repair, repair_, run_log_repair);
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
  DiffOptions diff_;
  WhatIfOptions whatif_;
  VerifyOptions verify_;
  CheckpointOptions checkpoint_;
  LogCopyOptions log_copy_;
  RepairOptions repair_;
  ConfigCheckOptions check_;
  ConfigDefaultOptions default_;
  std::function<int()> run_;
};

}  // namespace

int main(int argc, char** argv) { return Program().run(argc, argv); }
