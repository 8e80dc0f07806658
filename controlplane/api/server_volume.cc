#include <fmt/format.h>

#include "controlplane/api/compute.h"

namespace reprise::api {
namespace {

constexpr std::size_t attachments_a_page_max = 1000;

void write_attachment(JsonWriter& json, const Volume& volume, unsigned minor) {
  const auto id = volume.id.str();
  json.begin_object().field("id", id).field("serverId", volume.server.str());
  json.field("volumeId", id).field_or_null("device", volume.device);
  if (minor >= 70) json.key("tag").null();
  if (minor >= 79) json.field("delete_on_termination", false);
  json.end_object();
}

Plan print(Ask& ask, const Volume& volume) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("volumeAttachment");
  write_attachment(json, volume, microversion(ask));
  json.end_object();
  return json_response(200, std::move(body));
}

Plan list(Ask& ask) {
  const auto server = seen_server(ask);
  if (!server) return no_server(ask, ask.param(0));
  std::size_t offset = 0;
  const auto page = ask.page(attachments_a_page_max);
  if (const auto text = ask.query("offset"); text && !text->empty()) {
    offset = std::min<std::size_t>(
        text->size() > 9 ? SIZE_MAX : std::strtoul(std::string(*text).c_str(), nullptr, 10), 1'000'000);
    if (text->find_first_not_of("0123456789") != text->npos)
      ask.mistakes().add("offset", "must be a whole number, 0 or more");
  }
  if (auto bad = ask.bad()) return std::move(*bad);
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("volumeAttachments");
  std::size_t at = 0;
  ask.view().each_by<Volume>(Volume::by_server, encode_key(server->id), [&](const Volume& row) {
    if (at >= offset && at - offset < page.limit) write_attachment(json, row, microversion(ask));
    ++at;
  });
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

// The volume at {1}, if it is attached to the server at {0}.
std::optional<Volume> attached(Ask& ask, const Server& server) {
  const auto id = ask.id<VolumeId>(1);
  auto volume = id ? ask.view().find<Volume>(*id) : std::nullopt;
  if (volume && volume->server != server.id) return std::nullopt;
  return volume;
}

Response not_attached(const Ask& ask, const Server& server) {
  return ask.error(404,
                   fmt::format("Instance {} is not attached to volume {}", server.id.str(), ask.param(1)));
}

Plan show(Ask& ask) {
  const auto server = seen_server(ask);
  if (!server) return no_server(ask, ask.param(0));
  const auto volume = attached(ask, *server);
  return volume ? print(ask, *volume) : Plan(not_attached(ask, *server));
}

Plan attach(Ask& ask) {
  const auto server = seen_server(ask);
  if (!server) return no_server(ask, ask.param(0));
  const unsigned minor = microversion(ask);
  auto body = ask.body();
  auto fields = body.object("volumeAttachment");
  const auto id = fields.id("volumeId").as<VolumeId>();
  fields.optional_string("device", 0, 255);  // the guest names its disks itself: nova passes over it too
  if (minor >= 49 && fields.optional_string("tag", 0, 60).value_or("") != "")
    fields.fail("tag", "device tags are not kept here: leave it out");
  if (minor >= 79 && fields.optional_boolean("delete_on_termination").value_or(false))
    fields.fail("delete_on_termination", "volumes outlive their servers here: it must be false");
  fields.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  Change change(AttachVolume{.id = id, .server = server->id}, id, [id](Ask& ask) -> Plan {
    const auto volume = ask.view().find<Volume>(id);
    return volume ? print(ask, *volume)
                  : Plan(ask.error(404, fmt::format("Volume {} could not be found.", id.str())));
  });
  // Of the volume's state nova says 400, of the server's 409.
  change.refused = [](Ask& ask, const IntentRefused& event) -> std::optional<Response> {
    const bool of_volume = event.text.starts_with("Invalid volume");
    return static_cast<Refusal>(event.refusal) == Refusal::wrong_state && of_volume
               ? std::optional(ask.error(400, event.text))
               : std::nullopt;
  };
  return change;
}

Plan detach(Ask& ask) {
  const auto server = seen_server(ask);
  if (!server) return no_server(ask, ask.param(0));
  const auto volume = attached(ask, *server);
  if (!volume) return not_attached(ask, *server);
  Change change(DetachVolume{.id = volume->id, .server = server->id}, volume->id,
                [](Ask&) -> Plan { return Response(202); });
  change.refused = [](Ask& ask, const IntentRefused& event) -> std::optional<Response> {
    return static_cast<Refusal>(event.refusal) == Refusal::wrong_state
               ? std::optional(ask.error(400, event.text))
               : std::nullopt;
  };
  return change;
}

}  // namespace

void register_server_volumes(Api& api) {
  constexpr auto service = Service::compute;
  constexpr std::string_view all = "/v2.1/servers/{id}/os-volume_attachments",
                             one = "/v2.1/servers/{id}/os-volume_attachments/{volume}";
  api.read(service, all, Need::reader, microversioned(list));
  api.read(service, one, Need::reader, microversioned(show));
  api.write(service, Method::post, all, Need::member, microversioned(attach));
  api.write(service, Method::del, one, Need::member, microversioned(detach));
  api.write(service, Method::put, one, Need::member, microversioned([](Ask& ask) -> Plan {
              return not_implemented(
                  ask, "An attached volume is not swapped for another; detach it and attach the other");
            }));
}

}  // namespace reprise::api
