// `reprise init`: makes a new cloud: ids, keys, admin, the log's genesis, openrc.
//
// Promises: it refuses to write over a cloud, and to put a second genesis into a log. Interrupted anywhere,
// the next init with the same state goes on to the same cloud: its choices are on disk before anything else
// is, and the log's first record decides whose the log is.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "controlplane/cli/config.h"
#include "controlplane/cli/exit_code.h"
#include "controlplane/cli/state_folder.h"
#include "events/log.h"

namespace reprise::cli {

struct InitOptions {
  Common common;
  std::string log;             // empty: as configured
  std::string name;            // empty: as configured
  std::string admin_password;  // empty: a random one
};

struct InitResult {
  CloudId cloud;
  LogId log;
  NodeId node;
  Hash genesis;
  std::string place;
  std::string openrc;
  bool resumed = false;
};

// Opens the log for writing, making it if it is not there. A parameter, so that tests can fail it.
using OpenLogForInit = std::function<Result<std::unique_ptr<Log>>(const std::string& place)>;

// `config`: nothing when there is none yet; a documented one is written then.
Result<InitResult> make_cloud(const InitOptions& options, const OpenLogForInit& open);

int run_init(const InitOptions& options);

// The admin's environment for the openstack client.
std::string openrc_text(const Config& config, const std::string& password);

}  // namespace reprise::cli
