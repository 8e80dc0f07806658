// How a command reaches a cloud: over HTTP when a server of this state folder runs (or the environment names
// one), else by opening the folder itself, read-only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "controlplane/cli/exit_code.h"
#include "controlplane/cli/http_client.h"
#include "controlplane/cli/state_folder.h"
#include "events/log.h"
#include "projections/runner.h"

namespace reprise::cli {

// The admin's way in, from openrc or the environment.
struct Credentials {
  std::string auth_url, user, password, project;
};
Result<Credentials> read_openrc(const std::string& text);

// A server that answered, with a token.
class OnlineCloud {
 public:
  static Result<OnlineCloud> connect(const Credentials& credentials);
  // GET of one of our own paths; the error has the server's words.
  Result<std::string> get(const std::string& path) const;
  // POST of a JSON object to one of them.
  Result<std::string> post(const std::string& path, std::string body) const;
  Status lines(const std::string& path, const std::function<bool(std::string_view)>& on_line) const;

 private:
  HttpAsk ask_for(const std::string& path) const;
  HttpUrl base_;
  std::string token_;
};

// The folder of a cloud that no server holds.
class OfflineCloud {
 public:
  static Result<OfflineCloud> open(const Common& common);
  const std::shared_ptr<const StoreSnapshot>& snapshot() const { return snapshot_; }
  View view() const { return View::now(snapshot_); }
  // Records from a seq on: from the projection's tail, else from the log.
  Result<std::vector<StoredRecord>> read_records(Seq from, std::size_t max) const;

 private:
  std::shared_ptr<const StoreSnapshot> snapshot_;
  std::string place_;
  StateFolder state_;
  mutable std::shared_ptr<Log> log_;  // opened when it is needed
};

// Credentials to go online with; nothing: read the folder.
Result<std::optional<Credentials>> find_server(const Common& common);

}  // namespace reprise::cli
