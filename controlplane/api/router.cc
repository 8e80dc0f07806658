#include "controlplane/api/router.h"

#include <fmt/format.h>
#include <sodium.h>

#include <array>

#include "events/check.h"

namespace reprise::api {
namespace {

constexpr std::string_view mounts[] = {"", "identity", "compute", "image", "volume", "network"};

Service service_of(std::string_view segment) {
  for (std::size_t i = 1; i < std::size(mounts); ++i)
    if (segment == mounts[i]) return static_cast<Service>(i);
  return Service::none;
}

std::size_t first_segment(const Request& request) {
  return request.segments.size() >= 2 && request.segments[0] == "at" ? 2 : 0;
}

Service service_of(const Request& request) {
  const auto first = first_segment(request);
  return first < request.segments.size() ? service_of(request.segments[first]) : Service::none;
}

template <class Target>
void add_request_id(Target& target, Service service, const std::string& id) {
  target.header("x-openstack-request-id", id);
  if (service == Service::compute || service == Service::volume) target.header("x-compute-request-id", id);
}

std::string fresh_request_id() { return "req-" + random_id().str(); }

// One that is none is passed over.
std::string global_request_id_of(const Request& request) {
  const auto given = request.header("X-Openstack-Request-Id");
  const bool well = given.size() == 40 && given.starts_with("req-") && AnyId::parse(given.substr(4));
  return well ? std::string(given) : std::string();
}

bool is_read(Method method) { return method == Method::get || method == Method::head; }

}  // namespace

AnyId random_id() {
  // A system call for each would be felt.
  thread_local std::array<AnyId, 64> drawn;
  thread_local std::size_t left = 0;
  if (left == 0) {
    randombytes_buf(drawn.data(), sizeof drawn);
    left = drawn.size();
  }
  AnyId id = drawn[--left];
  id.hi = (id.hi & ~std::uint64_t{0xf000}) | 0x4000;
  id.lo = (id.lo & ~(std::uint64_t{3} << 62)) | (std::uint64_t{2} << 62);
  return id;
}

void Router::add(Service service, Method method, std::string_view pattern, Handle handle, BodyPlan body, Guard guard) {
  auto text =
      service == Service::none ? std::string() : "/" + std::string(mounts[static_cast<std::size_t>(service)]);
  text.append(pattern);
  Node* node = &root_;
  for (std::string_view rest = text; !rest.empty();) {
    CHECK(rest[0] == '/');
    rest.remove_prefix(1);
    const auto part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(part.size());
    if (part.empty()) continue;
    auto& next = part[0] == '{' ? node->param : node->literals[std::string(part)];
    if (!next) next = std::make_unique<Node>();
    node = next.get();
  }
  CHECK(node->routes.emplace(method, Route{std::move(handle), body, std::move(guard)}).second);
}

const Router::Node* Router::descend(const Node& node, const std::vector<std::string>& segments,
                                    std::size_t depth, std::vector<std::string>& params) {
  if (depth == segments.size()) return node.routes.empty() ? nullptr : &node;
  if (const auto next = node.literals.find(segments[depth]); next != node.literals.end())
    if (const auto* found = descend(*next->second, segments, depth + 1, params)) return found;
  if (!node.param) return nullptr;
  params.push_back(segments[depth]);
  if (const auto* found = descend(*node.param, segments, depth + 1, params)) return found;
  params.pop_back();
  return nullptr;
}

const Router::Route* Router::route_of(const Node& node, Method method) {
  auto found = node.routes.find(method);
  if (found == node.routes.end() && method == Method::head) found = node.routes.find(Method::get);
  return found == node.routes.end() ? nullptr : &found->second;
}

Router::Found Router::find(const Request& request) const {
  Found found;
  const auto first = first_segment(request);
  found.service = service_of(request);
  if (first > 0) {
    found.at = parse_moment(request.segments[1]);
    found.bad_moment = !found.at;
  }
  found.node = descend(root_, request.segments, first, found.params);
  return found;
}

std::vector<std::string> Router::routes() const {
  std::vector<std::string> all;
  const std::function<void(const Node&, const std::string&)> add = [&](const Node& node, const std::string& path) {
    for (const auto& [method, route] : node.routes)
      all.push_back(std::string(method_name(method)) + " " + (path.empty() ? "/" : path));
    for (const auto& [part, next] : node.literals) add(*next, path + "/" + part);
    if (node.param) add(*node.param, path + "/{}");
  };
  add(root_, "");
  return all;
}

BodyPlan Router::plan(const Request& head) {
  const auto found = find(head);
  const auto* route = found.node != nullptr && !found.at ? route_of(*found.node, head.method) : nullptr;
  return route != nullptr ? route->body : BodyPlan{};
}

std::optional<Response> Router::no_route(const Found& found, const Request& request) {
  const auto error = [&](int status, std::string text) { return error_response(found.service, status, text, request.header("Accept")); };
  if (found.bad_moment) return error(400, fmt::format("'{}' after /at/ {}", request.segments[1], not_a_moment));
  if (found.node == nullptr) return error(404, "The resource could not be found: no such path here.");
  const auto* route = route_of(*found.node, request.method);
  const bool asks_token = found.service == Service::identity && request.method == Method::post && request.segments.back() == "tokens";
  const bool past_write = found.at && !is_read(request.method) && !asks_token;
  if (route != nullptr && !past_write) return std::nullopt;
  std::string allow;
  for (const auto& [method, other] : found.node->routes) {
    if (found.at && !is_read(method)) continue;
    allow += (allow.empty() ? "" : ", ") + std::string(method_name(method));
    if (method == Method::get && !found.node->routes.contains(Method::head)) allow += ", HEAD";
  }
  auto response = error(405, past_write ? "The past can be read, not changed: leave /at/… out."
                                        : fmt::format("{} is not a method of this path; it has: {}", request.method_text, allow));
  response.header("Allow", allow);
  return response;
}

std::optional<Response> Router::before_body(const Request& head) {
  const auto found = find(head);
  auto answer = no_route(found, head);
  if (!answer)
    if (const auto* route = route_of(*found.node, head.method); route->guard) answer = route->guard(head, found.service);
  if (answer) add_request_id(*answer, found.service, fresh_request_id());
  return answer;
}

void Router::handle(Request request, Responder responder) {
  auto found = find(request);
  Call call;
  call.service = found.service;
  call.request_id = fresh_request_id();
  call.global_request_id = global_request_id_of(request);
  add_request_id(responder, call.service, call.request_id);
  if (auto refused = no_route(found, request)) return responder(std::move(*refused));
  const auto* route = route_of(*found.node, request.method);
  call.request = std::move(request);
  call.at = found.at;
  call.params = std::move(found.params);
  route->handle(std::move(call), std::move(responder));
}

Response Router::refuse(const Request& head, int status, std::string text) {
  const auto service = service_of(head);
  auto response = error_response(service, status, text, head.header("Accept"));
  add_request_id(response, service, fresh_request_id());
  return response;
}

}  // namespace reprise::api
