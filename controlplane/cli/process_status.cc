#include "controlplane/cli/process_status.h"

namespace reprise::cli {
namespace {

story::AgentLine line_of(const char* kind, const AgentStatus& status) {
  return {kind, status.trouble, status.last_error, status.realized, status.actions, status.failures,
          status.busy_since_ms, status.busy_with};
}

story::Running running_of(const ProcessStatus& process, ProjectionStatus projection) {
  story::Running running{
      .roles = process.roles, .projection = std::move(projection), .verification = process.verification};
  if (const auto& c = process.controller)
    running.controller = {role_name(c->role), c->id, c->reason, c->claims, c->decisions, c->held, c->clock};
  for (const auto& node : process.nodes)
    running.nodes.push_back({.id = node.facts.id,
                             .stopped = node.stopped,
                             .reports_waiting = node.reports_waiting,
                             .agents = {line_of("compute", node.compute), line_of("storage", node.storage),
                                        line_of("network", node.network)}});
  return running;
}

}  // namespace

void register_process_routes(api::Api& api, const ProcessStatusSource& source) {
  using api::Ask;
  using api::Plan;
  api.read(api::Service::none, "/status", api::Need::admin, [&api, &source](Ask&) {
    return api::on_worker(api, [&api, &source](Ask& ask) -> Plan {
      if (!ask.view().is_now())
        return api::json_response(200, story::status_json(ask.view(), nullptr) + "\n");
      const auto running = running_of(source.process_status(), api.backend().status());
      return api::json_response(200, story::status_json(ask.view(), &running) + "\n");
    });
  });
}

}  // namespace reprise::cli
