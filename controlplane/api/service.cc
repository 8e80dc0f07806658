#include "controlplane/api/service.h"

#include "controlplane/api/exchange.h"

namespace reprise::api {
namespace {

// Of who has no token yet: a login with the longest names and password fits well.
constexpr std::uint64_t strangers_body_bytes_max = 64 << 10;

Router::Handle serve(Api& api, Route route) {
  return [&api, shared = std::make_shared<const Route>(std::move(route))](Call call, Responder responder) {
    std::make_shared<Exchange>(api, shared, std::move(call), std::move(responder))->begin();
  };
}

Router::Guard guard(const Api& api, Need need) {
  if (need == Need::nothing) return {};
  return [&api](const Request& head, Service service) { return refuse_unauthenticated(api, head, service); };
}

}  // namespace

Api::Api(Parts parts, ApiConfig config) : parts_(parts), config_(std::move(config)) {
  CHECK(parts.router && parts.backend && parts.keyring && parts.passwords && parts.rate && parts.workers &&
        parts.metrics);
}

Api::~Api() {
  for (const auto id : followers_) parts_.backend->unwatch(id);
  parts_.backend->stop();
  parts_.passwords->stop();
  parts_.workers->stop();
}

void Api::follow(std::function<void(const Folded&)> follower) {
  followers_.push_back(backend().watch(std::move(follower)));
}

void Api::read(Service service, std::string_view pattern, Need need, Handle handle) {
  router().add(service, Method::get, pattern, serve(*this, {.need = need, .handle = std::move(handle)}), {}, guard(*this, need));
}

void Api::read_now(Service service, std::string_view pattern, Need need, Handle handle) {
  router().add(service, Method::get, pattern,
               serve(*this, {.need = need, .present = true, .handle = std::move(handle)}), {}, guard(*this, need));
}

void Api::write(Service service, Method method, std::string_view pattern, Need need, Handle handle,
                BodyPlan body) {
  CHECK(method != Method::get && method != Method::head);
  if (need == Need::nothing && body.limit == 0) body.limit = strangers_body_bytes_max;
  router().add(service, method, pattern,
               serve(*this, {.need = need, .write = true, .handle = std::move(handle)}), body, guard(*this, need));
}

Plan on_worker(Api& api, std::function<Plan(Ask&)> work) {
  return Later{[&api, work = std::move(work)](Ask& ask, Later::Resume resume) {
    const auto posted = api.workers().post_slow(ask.actor().project.str(), [&ask, work, resume] { resume(work(ask)); });
    if (posted) return;
    auto busy = ask.error(503, "Too many requests wait to be answered: try again in a second.");
    busy.header("Retry-After", "1");
    resume(std::move(busy));
  }};
}

}  // namespace reprise::api
