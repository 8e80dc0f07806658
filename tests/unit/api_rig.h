// The api on a whole core in this process: embedded log, controller and projection on threads of their own,
// the frame and the resources on top; no sockets and no agents. Requests go into the router as the HTTP
// server would give them; every wait ends after twenty seconds with a failed test.
#pragma once

#include <boost/json.hpp>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controlplane/api/service.h"
#include "controlplane/cli/genesis.h"
#include "events/embedded_log.h"
#include "tests/unit/api_catch.h"
#include "tests/unit/temporary_folder.h"

namespace reprise::api {

struct RigAnswer {
  Response response;
  int status() const { return response.status; }
  const std::string& body() const { return response.body; }
  std::string header(std::string_view name) const { return response.header_value(name).value_or(""); }
  // The body as JSON; at("server.name"), at("ports.0.id").
  boost::json::value json() const;
  std::string text(
      std::string_view path) const;  // a string, or the JSON of what is there; "" when nothing is
  std::size_t size(std::string_view path) const;  // of an array or object; 0 when there is none
};

using Headers = std::vector<std::pair<std::string, std::string>>;

// Everything that the lines say, to their end.
std::string read_all(LineSource& lines);

class ApiRig {
 public:
  struct Options {
    std::int64_t window_ms = 30'000;
    RateLimitConfig rate{.per_second = 1e6, .burst = 1e6};
    std::int64_t late_ms = 5'000;
    std::int64_t history_ms = 0;  // what older is, the past is cut off
    std::function<void(ServerId, NodeId, std::size_t, Backend::Console)> console;
    // Puts something between the log and the api with its projection (the controller keeps the log itself).
    std::function<std::unique_ptr<Log>(Log&)> between;
  };
  explicit ApiRig(void (*more)(Api&) = nullptr);  // `more` registers further routes
  ApiRig(Options options, void (*more)(Api&) = nullptr);
  ~ApiRig();

  // With the admin's token, unless the headers bring one.
  RigAnswer ask(std::string_view method, std::string_view target, std::string_view body = {},
                Headers headers = {});
  // The answer's promise, to be waited for later.
  std::future<Response> send(std::string_view method, std::string_view target, std::string_view body = {},
                             Headers headers = {});
  // A PUT of octets whose body is streamed.
  std::future<Response> send_upload(std::string_view target, std::shared_ptr<Upload> upload,
                                    Headers headers = {});
  RigAnswer wait(std::future<Response> answer);

  // A token by password; "" when it is refused. No project: unscoped.
  std::string token(std::string_view user, std::string_view password, std::string_view project);
  // A project with a user of the same name (password "secret") who has that role in it; their token.
  std::string add_project(std::string_view name, std::string_view role = "member");

  void start_controller();
  void stop_controller();  // when it returns, the api has folded everything that it wrote

  std::string admin_token;
  cli::GenesisChoices genesis;
  std::unique_ptr<Log> log;
  std::unique_ptr<Log> between;
  std::unique_ptr<Projection> projection;
  std::unique_ptr<CoreBackend> backend;
  std::unique_ptr<Keyring> keyring;
  Router router;
  std::unique_ptr<Api> api;

 private:
  std::future<Response> give(Request request, Headers headers);
  struct Leader;
  void end_controller();
  reprise::testing::TemporaryFolder folder_;
  std::unique_ptr<PasswordPool> passwords_;
  std::unique_ptr<RateLimit> rate_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<Leader> leader_;
};

}  // namespace reprise::api
