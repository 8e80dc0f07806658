// From a path to its handler: five services under one port, and what is ours.
//
//   /identity…  /compute…  /image…  /volume…  /network…   /events  /metrics  /healthz
//   /at/{seq or RFC 3339 time}/ before any of them: the same, as it was then; only reads, and asking for a
//   token
//
// Every answer carries x-openstack-request-id (compute and volume also x-compute-request-id), always a fresh one. A
// well-formed one ("req-" and a UUID) that the client sent is kept beside it as the global one, as oslo.middleware does.
// What fits no route is 404, a path that knows other methods 405 with Allow, each in the service's own format.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/api/errors.h"
#include "controlplane/api/http_message.h"
#include "controlplane/api/timestamp.h"
#include "events/ids.h"

namespace reprise::api {

// One request on its way: what the router found out about it.
struct Call {
  Request request;
  Service service = Service::none;
  std::string request_id;           // "req-…", this request's alone
  std::string global_request_id;    // "req-…" that the client gave (oslo.context); empty: none
  std::optional<Moment> at;         // nothing: now
  std::vector<std::string> params;  // what stood at each {…}, in order

  // A refusal in the service's format.
  Response error(int status, std::string_view message, std::string_view neutron_type = {}) const {
    return error_response(service, status, message, request.header("Accept"), neutron_type);
  }
};

class Router : public Handler {
 public:
  using Handle = std::function<void(Call call, Responder responder)>;
  // What can be said of a request by its head, before its body is read; nothing: the handler says it.
  using Guard = std::function<std::optional<Response>(const Request& head, Service service)>;

  // `pattern` is relative to the service's mount ("/v2.1/servers/{id}"), or absolute for Service::none. A
  // literal segment wins over a {…}. GET serves HEAD too. Adding one twice stops the process.
  void add(Service service, Method method, std::string_view pattern, Handle handle, BodyPlan body = {}, Guard guard = {});

  // Every route, as "PUT /image/v2/images/{}/file": for tests that look at all of them.
  std::vector<std::string> routes() const;

  std::optional<Response> before_body(const Request& head) override;
  BodyPlan plan(const Request& head) override;
  void handle(Request request, Responder responder) override;
  Response refuse(const Request& head, int status, std::string text) override;

 private:
  struct Route {
    Handle handle;
    BodyPlan body;
    Guard guard;
  };
  struct Node {
    std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
    std::unique_ptr<Node> param;
    std::map<Method, Route> routes;
  };
  struct Found {
    const Node* node = nullptr;
    std::optional<Moment> at;
    bool bad_moment = false;
    std::vector<std::string> params;
    Service service = Service::none;
  };

  Found find(const Request& request) const;
  static const Node* descend(const Node& node, const std::vector<std::string>& segments, std::size_t depth,
                             std::vector<std::string>& params);
  static const Route* route_of(const Node& node, Method method);
  // 400, 404 or 405; nothing: there is a route.
  static std::optional<Response> no_route(const Found& found, const Request& request);

  Node root_;
};

// 128 random bits as a version 4 UUID.
AnyId random_id();

}  // namespace reprise::api
