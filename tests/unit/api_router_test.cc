#include "controlplane/api/rate_limit.h"
#include "controlplane/api/router.h"
#include "tests/unit/api_catch.h"

using namespace reprise;
using namespace reprise::api;

namespace {

struct Caught : AnswerTarget {
  void answer(std::uint64_t, Response given) override { response = std::move(given); }
  Response response{0};
};

Response ask(Router& router, std::string_view method, std::string_view target,
             const std::vector<std::pair<std::string, std::string>>& headers = {}) {
  Request request;
  request.method_text = method;
  request.method = parse_method(method);
  REQUIRE(request.set_target(target).ok());
  for (const auto& [name, value] : headers) request.add_header(name, value);
  auto caught = std::make_shared<Caught>();
  router.handle(std::move(request), Responder(caught, 1));
  return std::move(caught->response);
}

Router::Handle say(std::string name) {
  return [name](Call call, Responder responder) {
    auto text = name;
    for (const auto& param : call.params) text += " " + param;
    if (call.at) text += std::holds_alternative<AtSeq>(*call.at) ? " @seq" : " @time";
    responder(Response(200, "text/plain", text));
  };
}

void fill(Router& router) {
  router.add(Service::compute, Method::get, "/v2.1/servers", say("list"));
  router.add(Service::compute, Method::post, "/v2.1/servers", say("create"));
  router.add(Service::compute, Method::get, "/v2.1/servers/detail", say("detail"));
  router.add(Service::compute, Method::get, "/v2.1/servers/{id}", say("show"));
  router.add(Service::compute, Method::get, "/v2.1/servers/{id}/os-volume_attachments/{volume}",
             say("attachment"));
  router.add(Service::compute, Method::del, "/v2.1/servers/{id}", say("delete"));
  router.add(Service::identity, Method::post, "/v3/auth/tokens", say("token"));
  router.add(Service::volume, Method::get, "/v3/{project}/volumes/detail", say("volumes"));
  router.add(Service::image, Method::put, "/v2/images/{id}/file", say("upload"), {true, 1000});
  router.add(Service::network, Method::get, "/v2.0/networks/{id}", say("network"));
  router.add(Service::none, Method::get, "/healthz", say("healthy"));
}

}  // namespace

TEST_CASE("router: literals win over parameters, parameters are handed over") {
  Router router;
  fill(router);
  CHECK(ask(router, "GET", "/compute/v2.1/servers").body == "list");
  CHECK(ask(router, "HEAD", "/compute/v2.1/servers/").body == "list");
  CHECK(ask(router, "GET", "/compute/v2.1/servers/detail?limit=1").body == "detail");
  CHECK(ask(router, "GET", "/compute/v2.1/servers/a%20b").body == "show a b");
  CHECK(ask(router, "GET", "/compute/v2.1/servers/detail/os-volume_attachments/v").body ==
        "attachment detail v");
  CHECK(ask(router, "GET", "/volume/v3/p/volumes/detail").body == "volumes p");
  CHECK(ask(router, "GET", "/healthz").body == "healthy");
}

TEST_CASE("router: no path, no method: in the service's words") {
  Router router;
  fill(router);
  const auto missing = ask(router, "GET", "/compute/v2.1/nothing");
  CHECK(missing.status == 404);
  CHECK(missing.body.find("\"itemNotFound\"") != std::string::npos);
  CHECK(ask(router, "GET", "/network/v2.0").body.find("\"NeutronError\"") != std::string::npos);
  const auto method = ask(router, "PATCH", "/compute/v2.1/servers/x");
  CHECK(method.status == 405);
  CHECK(method.header_value("Allow") == "GET, HEAD, DELETE");
  CHECK(ask(router, "BREW", "/healthz").status == 405);
}

TEST_CASE("router: /at/ is taken off in front of any service, and only reads") {
  Router router;
  fill(router);
  CHECK(ask(router, "GET", "/at/42/compute/v2.1/servers").body == "list @seq");
  CHECK(ask(router, "GET", "/at/2026-11-03T09:08:07Z/compute/v2.1/servers/x").body == "show x @time");
  CHECK(ask(router, "POST", "/at/42/identity/v3/auth/tokens").body == "token @seq");
  CHECK(ask(router, "GET", "/at/noon/compute/v2.1/servers").status == 400);
  const auto write = ask(router, "POST", "/at/42/compute/v2.1/servers");
  CHECK(write.status == 405);
  CHECK(write.header_value("Allow") == "GET, HEAD");
  CHECK(write.body.find("\"badMethod\"") != std::string::npos);
  CHECK(ask(router, "DELETE", "/at/42/compute/v2.1/servers/x").status == 405);
}

TEST_CASE("router: every answer has a request id of its own, whatever the client gives") {
  Router router;
  fill(router);
  const std::string own = "req-2b0f0c1e-2b3c-4d5e-8f90-0123456789ab";
  const auto first = ask(router, "GET", "/compute/v2.1/servers", {{"x-openstack-request-id", own}}).header_value("x-compute-request-id");
  const auto second = ask(router, "GET", "/compute/v2.1/servers", {{"x-openstack-request-id", own}}).header_value("x-compute-request-id");
  CHECK(first != second);
  for (const auto* bad :
       {own.c_str(), "", "req-1", "2b0f0c1e-2b3c-4d5e-8f90-0123456789ab", "req-2b0f0c1e-2b3c-4d5e-8f90-0123456789aX"}) {
    const auto given = ask(router, "GET", "/network/v2.0/x", {{"X-Openstack-Request-Id", bad}})
                           .header_value("X-OpenStack-Request-ID");
    REQUIRE(given);
    CHECK(*given != bad);
    CHECK(given->substr(0, 4) == "req-");
    CHECK(AnyId::parse(given->substr(4)).has_value());
  }
  Request request;
  CHECK(request.set_target("/image/v2/images").ok());
  CHECK(router.refuse(request, 413, "too large").header_value("x-openstack-request-id"));
}

TEST_CASE("router: only the route that streams has its body streamed") {
  Router router;
  fill(router);
  const auto plan = [&](std::string_view method, std::string_view target) {
    Request request;
    request.method = parse_method(method);
    REQUIRE(request.set_target(target).ok());
    return router.plan(request);
  };
  CHECK(plan("PUT", "/image/v2/images/x/file").stream);
  CHECK_FALSE(plan("POST", "/image/v2/images/x/file").stream);
  CHECK_FALSE(plan("PUT", "/at/1/image/v2/images/x/file").stream);
  CHECK_FALSE(plan("PUT", "/nothing").stream);
}

TEST_CASE("timestamps: printed and taken as RFC 3339 says") {
  CHECK(time_z(1793696887123) == "2026-11-03T09:08:07Z");
  CHECK(time_micros(1793696887123) == "2026-11-03T09:08:07.123000");
  CHECK(time_micros_z(0) == "1970-01-01T00:00:00.000000Z");
  CHECK(parse_time("2026-11-03T09:08:07Z") == 1793696887000);
  CHECK(parse_time("2026-11-03T09:08:07.1239+00:00") == 1793696887123);
  CHECK(parse_time("2026-11-03 11:08:07+02:00") == 1793696887000);
  CHECK(parse_time("2026-11-03t09:08:07") == 1793696887000);
  CHECK(parse_time("2024-02-29T00:00:00Z").has_value());
  for (const auto* bad :
       {"", "2026", "2026-11-03", "2026-13-03T09:08:07Z", "2026-02-30T09:08:07Z", "2026-11-03T24:08:07Z",
        "2026-11-03T09:08:07.Z", "2026-11-03T09:08:07X", "2026-11-03T09:08:07+2:00", "1960-01-01T00:00:00Z",
        "-026-11-03T09:08:07Z", "2026-11-03T09:08:07Z "})
    CHECK_FALSE(parse_time(bad).has_value());
  CHECK(parse_moment("17") == Moment(AtSeq{17}));
  CHECK_FALSE(parse_moment("99999999999999999999").has_value());
  CHECK_FALSE(parse_moment("-1").has_value());
}

TEST_CASE("rate limit: a burst, then so many a second, each project for itself") {
  RateLimit limit({10, 5});
  const ProjectId one{1, 1};
  const ProjectId two{2, 2};
  for (int i = 0; i < 5; ++i) CHECK_FALSE(limit.take(one, 1000).has_value());
  CHECK(limit.take(one, 1000) == 1);
  CHECK_FALSE(limit.take(two, 1000).has_value());
  CHECK_FALSE(limit.take(one, 1100).has_value());
  CHECK(limit.take(one, 1100).has_value());
  CHECK(limit.take(one, 900).has_value());  // a clock that steps back gives nothing away
  int taken = 0;
  for (int i = 0; i < 10; ++i) taken += !limit.take(one, 100'000).has_value();
  CHECK(taken == 5);
  RateLimit slow({0.1, 1});
  CHECK_FALSE(slow.take(one, 0).has_value());
  CHECK(slow.take(one, 0) == 10);
  for (std::uint64_t i = 0; i < 5000; ++i) limit.take({3, i}, 200'000 + i * 1000);
}
