#include "tests/unit/api_rig.h"

#include <fmt/format.h>
#include <sodium.h>

#include <future>

#include "controlplane/controller.h"
#include "events/hash.h"

namespace reprise::api {
namespace {

constexpr std::chrono::seconds patience{20};
constexpr PasswordCost cheap{.passes = 1, .memory_bytes = 8192};

class Promise final : public AnswerTarget {
 public:
  void answer(std::uint64_t, Response response) override { promise.set_value(std::move(response)); }
  std::promise<Response> promise;
};

std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

const boost::json::value* find(const boost::json::value& root, std::string_view path) {
  const auto* at = &root;
  while (!path.empty() && at != nullptr) {
    const auto part = path.substr(0, path.find('.'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (const auto* array = at->if_array()) {
      const auto index = std::stoul(std::string(part));
      at = index < array->size() ? &(*array)[index] : nullptr;
    } else {
      const auto* object = at->if_object();
      at = object != nullptr ? object->if_contains({part.data(), part.size()}) : nullptr;
    }
  }
  return at;
}

}  // namespace

boost::json::value RigAnswer::json() const {
  boost::json::error_code failed;
  auto value = boost::json::parse(response.body, failed);
  INFO(response.body);
  REQUIRE_FALSE(failed);
  return value;
}

std::string RigAnswer::text(std::string_view path) const {
  const auto root = json();
  const auto* value = find(root, path);
  if (value == nullptr) return "";
  return value->is_string() ? std::string(value->get_string().data(), value->get_string().size())
                            : boost::json::serialize(*value);
}

std::size_t RigAnswer::size(std::string_view path) const {
  const auto root = json();
  const auto* value = find(root, path);
  if (value == nullptr) return 0;
  return value->is_array() ? value->get_array().size() : value->is_object() ? value->get_object().size() : 0;
}

// The controller's thread: steps when woken, or when it said it wants to.
struct ApiRig::Leader {
  std::mutex mutex;
  std::condition_variable changed;
  bool woken = true;
  bool stopping = false;
  std::unique_ptr<Controller> controller;
  std::thread thread;

  void wake() {
    std::lock_guard lock(mutex);
    woken = true;
    changed.notify_all();
  }
  void run() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      woken = false;
      lock.unlock();
      const auto next = controller->step({.steady_ms = steady_ms(), .wall_ms = wall_ms()});
      lock.lock();
      changed.wait_for(lock, std::chrono::milliseconds(std::max<std::int64_t>(next - steady_ms(), 0)),
                       [this] { return woken || stopping; });
    }
  }
};

ApiRig::ApiRig(void (*more)(Api&)) : ApiRig(Options{}, more) {}

ApiRig::ApiRig(Options options, void (*more)(Api&)) {
  REQUIRE(sodium_init() >= 0);
  passwords_ = std::make_unique<PasswordPool>(1, 64, cheap);
  genesis = {.cloud = random_id().as<CloudId>(),
             .log = random_id().as<LogId>(),
             .project = random_id().as<ProjectId>(),
             .user = random_id().as<UserId>(),
             .admin = random_id().as<RoleId>(),
             .member = random_id().as<RoleId>(),
             .reader = random_id().as<RoleId>(),
             .name = "test",
             .password = "secret",
             .password_hash = passwords_->hash_now("secret"),
             .at_ms = wall_ms()};
  auto opened = open_embedded_log(folder_.path("log"));
  REQUIRE(opened);
  log = std::move(*opened);
  std::promise<bool> written;
  {
    auto producer = log->open_producer();
    REQUIRE(producer);
    (*producer)->append(Topic::events, encode(cli::genesis_record(genesis)).bytes,
                        [&](Result<std::int64_t> offset) { written.set_value(offset.ok()); });
    REQUIRE(written.get_future().get());
  }
  if (options.between) between = options.between(*log);
  Log& seen = between ? *between : *log;
  auto projected = Projection::open(
      seen, {.store = {.dir = folder_.path("store"), .history_ms = options.history_ms}});
  REQUIRE(projected);
  projection = std::move(*projected);
  std::promise<void> folded;
  projection->wait_passed(1, [&](const Status&) { folded.set_value(); });
  projection->start();
  REQUIRE(folded.get_future().wait_for(patience) == std::future_status::ready);

  REQUIRE(Keyring::create(folder_.path("keyring"), genesis.cloud));
  keyring = std::move(*Keyring::open(folder_.path("keyring")));
  REQUIRE(keyring->add_project(genesis.project));
  backend = std::make_unique<CoreBackend>(
      CoreBackend::Parts{.log = &seen,
                         .projection = projection.get(),
                         .late_patience = std::chrono::milliseconds(options.late_ms),
                         .console = options.console});
  rate_ = std::make_unique<RateLimit>(options.rate);
  metrics_ = std::make_unique<Metrics>();
  workers_ = std::make_unique<WorkerPool>(2, 4096);
  api = std::make_unique<Api>(Api::Parts{.router = &router,
                                         .backend = backend.get(),
                                         .keyring = keyring.get(),
                                         .passwords = passwords_.get(),
                                         .rate = rate_.get(),
                                         .workers = workers_.get(),
                                         .metrics = metrics_.get()},
                              ApiConfig{.image_dir = folder_.path("images"), .window_ms = options.window_ms});
  register_control(*api);
  if (more != nullptr) more(*api);
  start_controller();
  admin_token = token("admin", "secret", "admin");
  REQUIRE_FALSE(admin_token.empty());
}

ApiRig::~ApiRig() {
  end_controller();
  projection->stop();
  api.reset();  // it stops its parts, so before them
  workers_.reset();
  backend.reset();
  projection.reset();
}

void ApiRig::start_controller() {
  leader_ = std::make_unique<Leader>();
  Head head;
  auto state = projection->copy_state(head);
  auto* leader = leader_.get();
  leader_->controller = std::make_unique<Controller>(
      Controller::Ports{.log = log.get(),
                        .random = [] { return random_id().lo; },
                        .wake = [leader] { leader->wake(); },
                        .say = [](const std::string&) {}},
      Controller::Options{.host = "test", .backoff_ms = 1}, std::move(state), head);
  leader_->thread = std::thread([leader] { leader->run(); });
}

void ApiRig::stop_controller() {
  end_controller();
  std::promise<Status> folded;
  projection->fresh([&folded](const Status& status) { folded.set_value(status); });
  REQUIRE(folded.get_future().get());
}

void ApiRig::end_controller() {
  if (!leader_) return;
  {
    std::lock_guard lock(leader_->mutex);
    leader_->stopping = true;
    leader_->changed.notify_all();
  }
  leader_->thread.join();
  leader_->controller.reset();
  leader_.reset();
}

std::future<Response> ApiRig::send(std::string_view method, std::string_view target, std::string_view body,
                                   Headers headers) {
  Request request;
  request.method = parse_method(method);
  request.method_text = method;
  const auto set = request.set_target(target);
  INFO(target);
  REQUIRE(set);
  request.body = body;
  return give(std::move(request), std::move(headers));
}

std::future<Response> ApiRig::send_upload(std::string_view target, std::shared_ptr<Upload> upload,
                                          Headers headers) {
  Request request;
  request.method = Method::put;
  request.method_text = "PUT";
  REQUIRE(request.set_target(target));
  request.upload = std::move(upload);
  headers.emplace_back("Content-Type", "application/octet-stream");
  return give(std::move(request), std::move(headers));
}

std::future<Response> ApiRig::give(Request request, Headers headers) {
  request.client = "127.0.0.1:1";
  request.served_at = "cloud:8700";
  request.add_header("Host", "elsewhere");
  bool has_token = false;
  for (const auto& [name, value] : headers) {
    has_token = has_token || name == "X-Auth-Token";
    if (!value.empty()) request.add_header(name, value);
  }
  if (!has_token && !admin_token.empty()) request.add_header("X-Auth-Token", admin_token);
  auto promise = std::make_shared<Promise>();
  auto answer = promise->promise.get_future();
  router.handle(std::move(request), Responder(std::move(promise), 1));
  return answer;
}

RigAnswer ApiRig::wait(std::future<Response> answer) {
  REQUIRE(answer.wait_for(patience) == std::future_status::ready);
  return {answer.get()};
}

RigAnswer ApiRig::ask(std::string_view method, std::string_view target, std::string_view body,
                      Headers headers) {
  return wait(send(method, target, body, std::move(headers)));
}

std::string ApiRig::token(std::string_view user, std::string_view password, std::string_view project) {
  const auto scope =
      project.empty()
          ? std::string(R"(,"scope":"unscoped")")
          : fmt::format(R"(,"scope":{{"project":{{"name":"{}","domain":{{"id":"default"}}}}}})", project);
  const auto answer =
      ask("POST", "/identity/v3/auth/tokens",
          fmt::format(R"({{"auth":{{"identity":{{"methods":["password"],"password":{{"user":{{"name":"{}",)"
                      R"("domain":{{"name":"Default"}},"password":"{}"}}}}}}{}}}}})",
                      user, password, scope),
          {{"X-Auth-Token", ""}});
  return answer.status() == 201 ? answer.header("X-Subject-Token") : "";
}

std::string ApiRig::add_project(std::string_view name, std::string_view role) {
  const auto project =
      ask("POST", "/identity/v3/projects", fmt::format(R"({{"project":{{"name":"{}"}}}})", name));
  const auto user = ask("POST", "/identity/v3/users",
                        fmt::format(R"({{"user":{{"name":"{}","password":"secret"}}}})", name));
  const auto roles = ask("GET", fmt::format("/identity/v3/roles?name={}", role));
  const auto given =
      ask("PUT", fmt::format("/identity/v3/projects/{}/users/{}/roles/{}", project.text("project.id"),
                             user.text("user.id"), roles.text("roles.0.id")));
  REQUIRE(given.status() == 204);
  return token(name, "secret", name);
}

std::string read_all(LineSource& lines) {
  std::string text;
  for (;;) {
    std::promise<std::pair<std::string, bool>> piece;
    lines.next([&](std::string some, bool end) { piece.set_value({std::move(some), end}); });
    auto answer = piece.get_future();
    REQUIRE(answer.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
    const auto [some, end] = answer.get();
    text += some;
    if (end) return text;
  }
}

}  // namespace reprise::api
