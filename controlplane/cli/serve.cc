#include "controlplane/cli/serve.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <future>
#include <optional>

#include "agents/core/agent_host.h"
#include "controlplane/api/backend.h"
#include "controlplane/api/http_server.h"
#include "controlplane/api/image_store.h"
#include "controlplane/api/service.h"
#include "controlplane/cli/checkpoints.h"
#include "controlplane/cli/config_choice.h"
#include "controlplane/cli/controller_thread.h"
#include "controlplane/cli/log_access.h"
#include "controlplane/cli/log_patrol.h"
#include "controlplane/cli/node_drivers.h"
#include "controlplane/cli/process_status.h"
#include "controlplane/story/routes.h"
#include "events/chain.h"

namespace reprise::cli {
namespace {

using namespace std::chrono_literals;

void say(const std::string& text) { spdlog::info("{}", text); }

// One process of a cloud. Members stand in the order in which they are made; the end goes backwards.
class Process final : public ProcessStatusSource {
 public:
  Process(Config config, StateFolder state) : config_(std::move(config)), state_(std::move(state)) {}
  ~Process() override { stop(); }
  // Some thread of it does not end: nothing that it may use can be taken apart.
  bool hangs() const { return hangs_; }

  Status start(std::function<void(const Error&)> broken);
  void stop();
  void when_caught_up(std::function<void()> then, std::function<void(const Error&)> ended);
  ProcessStatus process_status() const override;

 private:
  Status open_projection(std::function<void(const Error&)> broken);
  Status refuse_if_sealed();
  Error sealed(const Error& error) const;
  void start_controller();
  void start_patrol();
  Status start_agents();
  Status start_api();
  std::string why_nobody_leads() const;
  void sweep_images(const std::string& directory);
  void console(ServerId server, NodeId node, std::size_t bytes_max, api::Backend::Console answer);

  const Config config_;
  const StateFolder state_;
  std::optional<FileLock> lock_;
  std::unique_ptr<api::Keyring> keyring_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<Projection> projection_;
  Waiters::Id broken_waiter_ = 0;
  std::unique_ptr<Checkpoints> checkpoints_;
  std::unique_ptr<LogPatrol> patrol_;
  std::unique_ptr<ControllerThread> controller_;
  std::unique_ptr<NodeSet> nodes_;
  std::unique_ptr<AgentHost> agents_;
  bool hangs_ = false;
  Projection::WatchId agents_watch_ = 0;

  struct ApiParts {
    explicit ApiParts(const Config& config)
        : passwords(static_cast<int>(config.api.password_threads)),
          rate({.per_second = config.api.rate_per_second, .burst = config.api.rate_burst}),
          workers(4, 1024) {}
    api::Router router;
    api::PasswordPool passwords;
    api::RateLimit rate;
    api::WorkerPool workers;
    api::Metrics metrics;
    std::unique_ptr<api::CoreBackend> backend;
    std::unique_ptr<api::Api> api;
    std::unique_ptr<api::HttpServer> server;
  };
  std::unique_ptr<ApiParts> api_;
};

Status Process::start(std::function<void(const Error&)> broken) {
  if (!file_exists(state_.keyring()) || file_exists(state_.pending()))
    return {Errc::not_found, fmt::format("there is no cloud in {}: `reprise init --state {}` makes one",
                                         state_.dir, state_.dir)};
  auto lock = FileLock::take(state_.lock(), "reprise serve");
  if (!lock)
    return {lock.error().code,
            lock.error().text + ": one process at a time serves this state; end that one first"};
  lock_.emplace(std::move(*lock));
  auto keyring = api::Keyring::open(state_.keyring());
  if (!keyring) return keyring.error();
  keyring_ = std::move(*keyring);
  auto log = open_log(config_.log.place, state_, LogMode::write);
  if (!log) return log.error();
  log_ = std::move(*log);
  if (auto done = open_projection(std::move(broken)); !done) return done;
  if (auto done = refuse_if_sealed(); !done) return done;
  if (config_.verify.cpu_share > 0) start_patrol();
  if (config_.has_role("controller")) start_controller();
  if (config_.has_role("agent"))
    if (auto done = start_agents(); !done) return done;
  if (config_.has_role("api"))
    if (auto done = start_api(); !done) return done;
  return {};
}

Status Process::open_projection(std::function<void(const Error&)> broken) {
  if (auto made = make_folders(state_.projection()); !made) return made;
  const std::string checkpoints = checkpoints_folder(config_, state_);
  StoreOptions store{.dir = state_.projection(), .history_ms = config_.history.keep_days * 86'400'000};
  auto projection = Projection::open(*log_, {.store = std::move(store), .cloud = keyring_->cloud(), .checkpoints = checkpoints});
  if (!projection) return projection.error();
  projection_ = std::move(*projection);
  if (const auto began = projection_->status().began; !began.empty()) say("projection: " + began);
  checkpoints_ = std::make_unique<Checkpoints>(
      *projection_,
      Checkpoints::Options{.folder = checkpoints,
                           .every_records = static_cast<std::uint64_t>(config_.checkpoints.every_records),
                           .keep = static_cast<std::size_t>(config_.checkpoints.keep)},
      say);
  broken_waiter_ = projection_->wait_passed(INT64_MAX, [broken = std::move(broken)](Status status) {
    // Whatever ended it (`again`: we did), nothing can be answered any more.
    if (!status && status.error().code != Errc::again) broken(status.error());
  });
  projection_->start();
  return {};
}

Error Process::sealed(const Error& error) const {
  return {error.code, fmt::format("{}: {}. Name that place in the configuration (log.place) and start again; if the "
                                  "copy there did not end, `reprise log copy` first",
                                  log_->place(), error.text)};
}

// Unless this log is where a sealed one went: then more follows.
Status Process::refuse_if_sealed() {
  if (!projection_->head().sealed_to) return {};
  const auto told = std::make_shared<std::promise<Status>>();
  auto fresh = told->get_future();
  projection_->fresh([told](Status status) { told->set_value(std::move(status)); });
  if (fresh.wait_for(30s) != std::future_status::ready)
    return {Errc::unreachable, log_->place() + " was sealed, and does not say whether it went on: try again"};
  const Status status = fresh.get();
  return status || status.error().code != Errc::conflict ? status : Status(sealed(status.error()));
}

void Process::start_controller() {
  const auto& c = config_.controller;
  Controller::Options options;
  options.host = config_.agent.node.empty() ? config_.name : config_.agent.node;
  options.lease_ms = c.lease_ms;
  options.claim_deadline_ms = c.claim_deadline_ms;
  options.append_deadline_ms = c.append_deadline_ms;
  options.batch_max = static_cast<std::size_t>(c.batch_max);
  options.pipeline_max = static_cast<std::size_t>(c.pipeline_max);
  controller_ = std::make_unique<ControllerThread>(*log_, *projection_, std::move(options), say);
}

void Process::start_patrol() {
  patrol_ = std::make_unique<LogPatrol>(*log_, *projection_,
                                        LogPatrolOptions{.cpu_share = config_.verify.cpu_share,
                                                         .pause = std::chrono::hours(config_.verify.pause_h),
                                                         .file = state_.verified()},
                                        say);
}

Status Process::start_agents() {
  auto nodes = NodeSet::open(
      config_, state_, *keyring_,
      [this](ImageId id) -> std::optional<Born> {
        const auto image = projection_->view().find<Image>(id);
        return image ? std::optional(image->born) : std::nullopt;
      },
      say);
  if (!nodes) return nodes.error();
  nodes_ = std::move(*nodes);
  AgentSource source;
  source.with_state = [p = projection_.get()](const auto& use) { p->with_state(use); };
  source.fresh = [p = projection_.get()](std::function<void(Status)> done) { p->fresh(std::move(done)); };
  agents_ = std::make_unique<AgentHost>(*log_, std::move(source),
                                        ReconcilerOptions{.lease_ms = config_.controller.lease_ms}, say);
  for (const auto& node : nodes_->nodes())
    agents_->add(node.facts, *node.compute, *node.storage, *node.network);
  agents_watch_ = projection_->watch(
      [this](const Folded& folded) { agents_->changed(folded.touched, is_claim(folded.record)); });
  agents_->start();
  return {};
}

Status Process::start_api() {
  const auto& c = config_.api;
  const std::string images = config_.images.directory.empty() ? state_.images() : config_.images.directory;
  if (auto made = make_folders(images); !made) return made;
  api_ = std::make_unique<ApiParts>(config_);
  api_->backend = std::make_unique<api::CoreBackend>(api::CoreBackend::Parts{
      .log = log_.get(),
      .projection = projection_.get(),
      .console = [this](ServerId server, NodeId node, std::size_t bytes, api::Backend::Console answer) {
        console(server, node, bytes, std::move(answer));
      },
      .why_nobody_leads = [this] { return why_nobody_leads(); },
      .say = say});
  api_->api = std::make_unique<api::Api>(
      api::Api::Parts{.router = &api_->router,
                      .backend = api_->backend.get(),
                      .keyring = keyring_.get(),
                      .passwords = &api_->passwords,
                      .rate = &api_->rate,
                      .workers = &api_->workers,
                      .metrics = &api_->metrics},
      api::ApiConfig{.public_url = c.public_url,
                     .image_dir = images,
                     .image_bytes_max = static_cast<std::uint64_t>(c.image_gib_max) << 30,
                     .image_reserve_bytes = static_cast<std::uint64_t>(config_.images.reserve_mib) << 20,
                     .window_ms = c.intent_ms,
                     .token_lifetime_ms = c.token_s * 1000});
  api::register_all(*api_->api);
  register_process_routes(*api_->api, *this);
  register_checkpoint_route(*api_->api, *checkpoints_);
  story::register_routes(*api_->api);
  if (patrol_) api_->metrics.watch([this](auto& registry) { count(registry, patrol_->status()); });
  sweep_images(images);
  auto server = api::HttpServer::start({.address = c.listen,
                                        .port = static_cast<std::uint16_t>(c.port),
                                        .threads = static_cast<int>(c.threads),
                                        .connections_max = static_cast<std::uint32_t>(c.connections_max),
                                        .connections_a_source_max = static_cast<std::uint32_t>(c.connections_max / 4 * 3),
                                        .body_bytes_max = static_cast<std::uint64_t>(c.body_kib_max) * 1024},
                                       api_->router);
  if (!server) return server.error();
  api_->server = std::move(*server);
  spdlog::info("api: listening on {}:{}", c.listen, api_->server->port());
  return {};
}

// Known for certain only where this process alone can write the log.
std::string Process::why_nobody_leads() const {
  if (!log_->place().starts_with("embedded:")) return {};
  return controller_ ? controller_->why_not_leading() : "this server, which alone writes its log, has not the role controller";
}

// What a crash left of uploads, once everything that was decided before is known here.
void Process::sweep_images(const std::string& directory) {
  projection_->fresh([this, directory](const Status& caught_up) {
    if (!caught_up) return;
    (void)api_->workers.post([this, directory] {
      if (const auto swept = api::sweep_images(directory, projection_->view(), config_.api.intent_ms); !swept)
        spdlog::warn("images: {}", swept.error().text);
    });
  });
}

void Process::console(ServerId server, NodeId node, std::size_t bytes_max, api::Backend::Console answer) {
  compute::Driver* driver = nullptr;
  if (nodes_)
    for (const auto& ours : nodes_->nodes())
      if (ours.facts.id == node) driver = ours.compute;
  if (!driver)
    return answer(Error{Errc::not_found, fmt::format("node {} is not in this process", node.str())});
  const bool taken =
      api_->workers.post([driver, server, bytes_max, answer] { answer(driver->console(server, bytes_max)); });
  if (!taken) answer(Error{Errc::again, "too much is waiting here: try again"});
}

void Process::when_caught_up(std::function<void()> then, std::function<void(const Error&)> ended) {
  projection_->fresh([this, then = std::move(then), ended = std::move(ended)](const Status& fresh) {
    if (fresh) then();
    else if (fresh.error().code == Errc::conflict) ended(sealed(fresh.error()));
  });
}

ProcessStatus Process::process_status() const {
  ProcessStatus status{.roles = config_.roles};
  if (controller_) status.controller = controller_->status().controller;
  if (agents_) status.nodes = agents_->status();
  if (patrol_) status.verification = patrol_->status();
  return status;
}

// First whoever asks, then whoever acts, then what they stand on.
void Process::stop() {
  if (api_ && api_->server) api_->server->stop(3s);
  if (agents_) {
    projection_->unwatch(agents_watch_);
    if (!agents_->stop()) {
      say("an action of the agents hangs (see `reprise status`): it is left to itself");
      hangs_ = true;
      // It goes on with what it stands on.
      (void)agents_.release();
      (void)nodes_.release();
    }
  }
  if (controller_) controller_->stop();
  if (patrol_) patrol_->stop();
  if (projection_) {
    projection_->cancel(broken_waiter_);
    projection_->stop();
  }
  api_.reset();
  agents_.reset();
  nodes_.reset();
  controller_.reset();
  checkpoints_.reset();
  patrol_.reset();
  projection_.reset();
  log_.reset();
}

// SIGTERM and SIGINT come to whoever waits for them, and to nobody else.
sigset_t block_signals() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return ends;
}

void log_to_stderr() {
  auto logger = spdlog::stderr_logger_mt("reprise");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace

int run_serve(const ServeOptions& options) {
  log_to_stderr();
  const auto config = choose_config(options.common);
  if (!config) return fail(options.common, config.error());
  const sigset_t ends = block_signals();
  std::mutex mutex;
  std::optional<Error> broken;
  Process process(*config, StateFolder{options.common.state});
  const auto end = [&](const Error& error) {
    const std::lock_guard lock(mutex);
    broken = error;
    ::kill(::getpid(), SIGTERM);
  };
  auto started = process.start(end);
  if (!started) {
    process.stop();
    return fail(options.common, started.error());
  }
  process.when_caught_up([] { say("caught up"); }, end);
  say("serving: " + fmt::format("{}", fmt::join(config->roles, ", ")));
  int signal = 0;
  ::sigwait(&ends, &signal);
  say("ending");
  ::signal(SIGTERM, SIG_DFL), ::signal(SIGINT, SIG_DFL);
  ::pthread_sigmask(SIG_UNBLOCK, &ends, nullptr);  // a second signal ends it at once
  process.stop();
  const std::lock_guard lock(mutex);
  if (broken) spdlog::critical("{}", broken->text);
  const int code = broken ? fail(options.common, *broken) : exit_well;
  if (process.hangs()) std::_Exit(code);
  return code;
}

int run_wipe(const WipeOptions& options) {
  log_to_stderr();
  const StateFolder state{options.common.state};
  const auto config = choose_config(options.common);
  if (!config) return fail(options.common, config.error());
  const auto lock = FileLock::take(state.lock(), "reprise wipe");
  if (!lock) return fail(options.common, lock.error().code, lock.error().text + ": end it first");
  const auto keyring = api::Keyring::open(state.keyring());
  if (!keyring) return fail(options.common, keyring.error());
  const auto nodes = NodeSet::open(*config, state, **keyring, [](ImageId) { return std::nullopt; }, say);
  if (!nodes) return fail(options.common, nodes.error());
  const auto wiped = (*nodes)->wipe();
  return wiped ? exit_well : fail(options.common, wiped.error());
}

}  // namespace reprise::cli
