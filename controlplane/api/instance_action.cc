#include <fmt/format.h>

#include <algorithm>

#include "controlplane/api/compute.h"
#include "controlplane/api/hosts.h"
#include "controlplane/api/timestamp.h"

namespace reprise::api {
namespace {

constexpr std::size_t actions_a_page_max = 1000;
constexpr std::size_t actions_looked_at_max = 10'000;  // for a marker or a filter

std::string time_of(std::int64_t ms) { return time_micros(static_cast<std::uint64_t>(ms)); }
std::int64_t updated_ms(const InstanceAction& row) { return row.finish_ms ? row.finish_ms : row.start_ms; }

void write_basics(JsonWriter& json, const Ask& ask, const InstanceAction& row, unsigned minor) {
  json.field("action", row.action)
      .field("instance_uuid", row.id.server.str())
      .field("request_id", row.request_id);
  json.field("user_id", row.user.hex())
      .field("project_id", row.project.hex())
      .field("start_time", time_of(row.start_ms));
  json.field_or_null("message", ask.actor().rights.admin ? row.message : without_hosts(ask.view(), row.message));
  if (minor >= 58) json.field("updated_at", time_of(updated_ms(row)));
}

// The newest first, of those that the state holds in that view.
std::vector<InstanceAction> kept_actions(const View& view, ServerId server) {
  std::vector<InstanceAction> rows;
  view.each_by<InstanceAction>(InstanceAction::by_server, encode_key(server),
                               [&](const InstanceAction& row) { rows.push_back(row); });
  std::reverse(rows.begin(), rows.end());
  return rows;
}

// One that was under way then has ended in a later view that still holds it: half as many newer ones later.
void finish_from(const View& later, InstanceAction& row) {
  if (row.finish_ms) return;
  if (auto ended = later.find<InstanceAction>(row.id)) row = std::move(*ended);
}

// At least `most` of them, the newest first, if there are as many and the past has not been cut: before the oldest that is
// kept was asked for, the state held those before it.
std::vector<InstanceAction> actions_of(const View& view, ServerId server, std::size_t most) {
  auto rows = kept_actions(view, server);
  while (rows.size() >= actions_kept_max && rows.size() < most) {
    const auto then = view.past(rows.back().id.born.seq - 1);
    const auto later = view.past(rows[rows.size() - actions_kept_max / 2].id.born.seq - 1);
    if (!then || !later) break;
    auto older = kept_actions(*then, server);
    std::erase_if(older, [&](const InstanceAction& row) { return row.id.born.seq >= rows.back().id.born.seq; });
    if (older.empty()) break;
    for (auto& row : older) finish_from(*later, row);
    rows.insert(rows.end(), std::make_move_iterator(older.begin()), std::make_move_iterator(older.end()));
  }
  return rows;
}

// A filter on times, from the microversion on that has it.
std::optional<std::int64_t> time_filter(Ask& ask, std::string_view key, unsigned since) {
  const auto text = ask.query(key);
  if (!text || microversion(ask) < since) return std::nullopt;
  const auto ms = parse_time(*text);
  if (!ms) ask.mistakes().add(key, "Invalid time: it must be as 2026-11-03T09:08:07Z");
  return static_cast<std::int64_t>(ms.value_or(0));
}

Plan list(Ask& ask) {
  const auto server = seen_server(ask);
  if (!server) return no_server(ask, ask.param(0));
  const unsigned minor = microversion(ask);
  auto page = ask.page(actions_a_page_max);
  if (minor < 58) page = {.limit = actions_a_page_max};
  const auto since = time_filter(ask, "changes-since", 58), before = time_filter(ask, "changes-before", 66);
  if (auto bad = ask.bad()) return std::move(*bad);
  const bool from_the_newest = page.marker.empty() && !since && !before;
  auto rows = actions_of(ask.view(), server->id, from_the_newest ? page.limit + 1 : actions_looked_at_max);
  std::erase_if(rows, [&](const InstanceAction& row) {
    return (since && updated_ms(row) < *since) || (before && updated_ms(row) > *before);
  });
  bool more = false;
  if (!cut_to_page(rows, page, more, [](const InstanceAction& row) { return row.request_id; }))
    return ask.error(400, fmt::format("marker [{}] not found", page.marker));
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("instanceActions");
  for (const auto& row : rows) {
    json.begin_object();
    write_basics(json, ask, row, minor);
    json.end_object();
  }
  json.end_array();
  if (more && minor >= 58) {
    json.array("links");
    write_link(json, "next", ask.next_url(rows.back().request_id));
    json.end_array();
  }
  json.end_object();
  return json_response(200, std::move(body));
}

// Each action is one event here: what the log has of it.
void write_event(JsonWriter& json, const InstanceAction& row, unsigned minor, bool admin) {
  json.begin_object().field("event", "compute_" + row.action).field("start_time", time_of(row.start_ms));
  json.key("finish_time");
  row.finish_ms ? json.value(time_of(row.finish_ms)) : json.null();
  json.field_or_null("result", !row.finish_ms ? "" : row.message.empty() ? "Success" : "Error");
  if (admin) json.field_or_null("traceback", row.message);
  if (minor >= 62 && admin) json.key("host").null();
  if (minor >= 62) json.field("hostId", "");
  json.end_object();
}

Plan show(Ask& ask) {
  const auto server = seen_server(ask);
  if (!server) return no_server(ask, ask.param(0));
  const unsigned minor = microversion(ask);
  const bool admin = ask.actor().rights.admin;
  for (const auto& row : actions_of(ask.view(), server->id, actions_looked_at_max)) {
    if (row.request_id != ask.param(1)) continue;
    std::string body;
    JsonWriter json(body);
    json.begin_object().object("instanceAction");
    write_basics(json, ask, row, minor);
    if (admin || minor >= 51) {
      json.array("events");
      write_event(json, row, minor, admin);
      json.end_array();
    }
    json.end_object().end_object();
    return json_response(200, std::move(body));
  }
  return ask.error(
      404, fmt::format("Action for request_id {} on instance {} not found", ask.param(1), server->id.str()));
}

}  // namespace

void register_instance_actions(Api& api) {
  api.read(Service::compute, "/v2.1/servers/{id}/os-instance-actions", Need::reader, microversioned(list));
  api.read(Service::compute, "/v2.1/servers/{id}/os-instance-actions/{request}", Need::reader,
           microversioned(show));
}

}  // namespace reprise::api
