// Attachments as resources of their own (microversion 3.27): shown; made and ended through the server's
// os-volume_attachments.
#include <fmt/format.h>

#include "controlplane/api/timestamp.h"
#include "controlplane/api/volume.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::volume;
constexpr unsigned since = 27;

void write_attachment(JsonWriter& json, const Volume& volume, bool details) {
  const char* status = volume.status == VolumeStatus::attaching   ? "attaching"
                       : volume.status == VolumeStatus::detaching ? "detaching"
                                                                  : "attached";
  json.begin_object().field("id", attachment_of(volume).str()).field("status", status);
  json.field("instance", volume.server.str()).field("volume_id", volume.id.str());
  if (details) {
    json.key("attached_at");
    volume.attached_ms ? json.value(time_micros(static_cast<std::uint64_t>(volume.attached_ms)))
                       : json.null();
    json.key("detached_at").null().field("attach_mode", "rw").object("connection_info").end_object();
  }
  json.end_object();
}

// Those that the actor may see; all of them with all_tenants.
std::vector<Volume> attached(Ask& ask) {
  std::vector<Volume> rows;
  const bool all = ask.flag("all_tenants").value_or(false) && ask.actor().rights.admin;
  const auto take = [&](const Volume& row) {
    if (row.server) rows.push_back(row);
  };
  if (all) ask.view().each_by<Volume>(Volume::by_server, {}, take);
  else ask.view().each_by<Volume>(Volume::by_project, encode_key(ask.actor().project), take);
  return rows;
}

Plan list(Ask& ask, bool details) {
  auto rows = attached(ask);
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto server = ask.query("instance_id"), volume = ask.query("volume_id");
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("attachments");
  for (const auto& row : rows)
    if ((!server || *server == row.server.str()) && (!volume || *volume == row.id.str()))
      write_attachment(json, row, details);
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

Plan show(Ask& ask) {
  for (const auto& row : attached(ask)) {
    if (attachment_of(row).str() != ask.param(1)) continue;
    std::string body;
    JsonWriter json(body);
    json.begin_object().key("attachment");
    write_attachment(json, row, true);
    json.end_object();
    return json_response(200, std::move(body));
  }
  return ask.error(404, fmt::format("Volume attachment could not be found with filter: attachment_id = {}.",
                                    ask.param(1)));
}

Handle from_since(Handle handle) {
  return in_project([handle = std::move(handle)](Ask& ask) -> Plan {
    if (microversion(ask) < since)
      return ask.error(404, "The resource could not be found: attachments want microversion 3.27.");
    return handle(ask);
  });
}

}  // namespace

void register_volume_attachments(Api& api) {
  api.read(service, "/v3/{project}/attachments", Need::reader,
           from_since([](Ask& ask) { return list(ask, false); }));
  api.read(service, "/v3/{project}/attachments/detail", Need::reader,
           from_since([](Ask& ask) { return list(ask, true); }));
  api.read(service, "/v3/{project}/attachments/{id}", Need::reader, from_since(show));
  const auto refused = from_since([](Ask& ask) -> Plan {
    return not_here(ask,
                    "Volumes are attached and detached through the server: POST and DELETE of compute's "
                    "servers/{id}/os-volume_attachments");
  });
  api.write(service, Method::post, "/v3/{project}/attachments", Need::member, refused);
  api.write(service, Method::put, "/v3/{project}/attachments/{id}", Need::member, refused);
  api.write(service, Method::del, "/v3/{project}/attachments/{id}", Need::member, refused);
}

}  // namespace reprise::api
