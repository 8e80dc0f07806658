// What is ours and no OpenStack service's: /, /at, /events, /healthz, /metrics.
#include <fmt/format.h>

#include "controlplane/api/event_stream.h"
#include "controlplane/api/moment.h"
#include "controlplane/api/service.h"

namespace reprise::api {
namespace {

Response show_root(Ask& ask) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().field("name", "reprise").array("services");
  for (const char* path : {"/identity/v3", "/compute/v2.1", "/image/v2", "/volume/v3", "/network/v2.0"})
    json.begin_object().field("path", path).field("url", ask.url(path)).end_object();
  json.end_array();
  json.field("events", ask.url("/events"))
      .field("metrics", ask.url("/metrics"))
      .field("health", ask.url("/healthz"));
  json.end_object();
  return json_response(200, std::move(body));
}

Response show_health(const Api& api) {
  const auto status = api.backend().status();
  const bool well = status.broken.empty() && status.caught_up;
  std::string body;
  JsonWriter json(body);
  json.begin_object()
      .field("status", well ? "ok" : "unwell")
      .field("seq", status.head.seq)
      .field("lag", status.lag);
  if (!status.broken.empty()) json.field("reason", status.broken);
  else if (!status.trouble.empty()) json.field("reason", status.trouble);
  else if (!well) json.field("reason", "still reading the log");
  json.end_object();
  return json_response(well ? 200 : 503, std::move(body));
}

}  // namespace

void register_own(Api& api) {
  api.read(Service::none, "/", Need::nothing, show_root);
  api.read(Service::none, "/at", Need::token,
           [](Ask& ask) { return json_response(200, readable_json(ask.view()) + "\n"); });
  api.read(Service::none, "/events", Need::reader, [&api](Ask& ask) { return open_event_stream(ask, api); });
  api.read_now(Service::none, "/healthz", Need::nothing, [&api](Ask&) { return show_health(api); });
  api.read_now(Service::none, "/metrics", Need::nothing, [&api](Ask&) {
    return Response(200, "text/plain; version=0.0.4; charset=utf-8",
                    api.metrics().text(api.backend().status()));
  });
}

}  // namespace reprise::api
