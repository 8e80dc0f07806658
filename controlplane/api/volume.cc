#include "controlplane/api/volume.h"

#include <fmt/format.h>

#include <algorithm>

#include "events/named.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::volume;
constexpr std::size_t metadata_items_most = 128;

constexpr std::string_view other_actions[] = {"os-attach",
                                              "os-begin_detaching",
                                              "os-detach",
                                              "os-extend",
                                              "os-extend_volume_completion",
                                              "os-force_detach",
                                              "os-initialize_connection",
                                              "os-migrate_volume",
                                              "os-migrate_volume_completion",
                                              "os-reserve",
                                              "os-reset_status",
                                              "os-retype",
                                              "os-roll_detaching",
                                              "os-set_bootable",
                                              "os-set_image_metadata",
                                              "os-show_image_metadata",
                                              "os-terminate_connection",
                                              "os-unmanage",
                                              "os-unreserve",
                                              "os-unset_image_metadata",
                                              "os-update_readonly_flag",
                                              "os-volume_upload_image",
                                              "revert"};

Plan print(Ask& ask, VolumeId id, int status) {
  const auto volume = ask.view().find<Volume>(id);
  if (!volume) return no_volume(ask, id.str());
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("volume");
  VolumeWriter(ask, microversion(ask), true).write(json, *volume);
  json.end_object();
  return json_response(status, std::move(body));
}

// Cinder's older names for the two are taken as well.
std::optional<std::string> either(Fields& fields, std::string_view key, std::string_view old_key,
                                  std::size_t most) {
  auto value = fields.optional_text(key, 0, most);
  auto old = fields.optional_text(old_key, 0, most);
  return value ? value : old;
}

void refuse_sources(Fields& volume) {
  const auto refuse = [&](std::string_view key, std::string_view why) {
    if (volume.optional_string(key, 0, 255).value_or("") != "") volume.fail(key, why);
  };
  refuse("snapshot_id", "snapshots are not here yet: leave it out");
  refuse("source_volid", "volumes are not copied from volumes here: leave it out");
  refuse("backup_id", "backups are not here yet: leave it out");
  refuse("consistencygroup_id", "consistency groups are not here: leave it out");
  refuse("group_id", "volume groups are not here: leave it out");
  refuse("source_replica", "replicas are not here: leave it out");
  if (volume.optional_boolean("multiattach").value_or(false))
    volume.fail("multiattach", "a volume is attached to one server at a time: it must be false");
  for (const auto key : {"user_id", "project_id", "status", "attach_status"})
    volume.ignore(key);  // without effect in cinder too
}

Plan create(Ask& ask) {
  auto body = ask.body();
  auto volume = body.object("volume");
  CreateVolume intent{.id = ask.new_id<VolumeId>()};
  intent.size_gib = static_cast<std::uint64_t>(volume.integer("size", 1, 64 * 1024));
  intent.name = either(volume, "name", "display_name", 255).value_or("");
  intent.description = either(volume, "description", "display_description", 255).value_or("");
  intent.zone = volume.optional_string("availability_zone", 0, 255).value_or("");
  for (const auto key : {"imageRef", "image_id"})
    if (const auto image = volume.optional_string(key, 0, 1024); image && !image->empty()) {
      const auto id = ImageId::parse(std::string_view(*image).substr(image->rfind('/') + 1));
      if (!id) volume.fail(key, "is not a UUID");
      intent.image = id.value_or(ImageId{});
    }
  if (const auto type = volume.optional_string("volume_type", 0, 255).value_or("");
      !type.empty() && type != volume_type_name && type != volume_type_id && type != "__DEFAULT__")
    volume.fail("volume_type",
                fmt::format("Volume type with name {} could not be found: there is one type, {}", type,
                            volume_type_name));
  for (auto& [key, value] : volume.string_map("metadata", metadata_items_most, 255)) {
    intent.metadata.push_back(std::move(key));
    intent.metadata.push_back(std::move(value));
  }
  refuse_sources(volume);
  volume.done();
  if (auto hints = body.optional_object("OS-SCH-HNT:scheduler_hints"); hints && !hints->keys().empty())
    body.fail("OS-SCH-HNT:scheduler_hints", "scheduler hints are not known here: leave them out");
  body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  bool zone_known = intent.zone.empty();
  ask.view().each<Node>([&](const Node& node) { zone_known = zone_known || node.zone == intent.zone; });
  if (!zone_known)
    return ask.error(400, fmt::format("Availability zone '{}' is invalid: no node is in it.", intent.zone));
  const auto id = intent.id;
  Change change(std::move(intent), id, [id](Ask& ask) { return print(ask, id, 202); });
  // What the body names and is not there is a mistake in the body: not the volume is missing.
  change.refused = [](Ask& ask, const IntentRefused& event) -> std::optional<Response> {
    if (static_cast<Refusal>(event.refusal) != Refusal::no_such_image) return std::nullopt;
    return ask.error(400, "Invalid image identifier or unable to access requested image: " + event.text);
  };
  return change;
}

Plan show(Ask& ask) {
  const auto volume = seen_volume(ask);
  return volume ? print(ask, volume->id, 200) : Plan(no_volume(ask, ask.param(1)));
}

Plan update(Ask& ask) {
  const auto volume = seen_volume(ask);
  if (!volume) return no_volume(ask, ask.param(1));
  auto body = ask.body();
  auto fields = body.object("volume");
  using Named = wire::UpdateVolumeNamed;
  UpdateVolume intent{.id = volume->id, .named = 0};
  name_if(intent, Named::VT_NAME, intent.name, either(fields, "name", "display_name", 255));
  name_if(intent, Named::VT_DESCRIPTION, intent.description, either(fields, "description", "display_description", 255));
  if (fields.kind("metadata") != JsonKind::absent)
    fields.fail("metadata", "is set when a volume is created and does not change: leave it out");
  fields.ignore("metadata");
  fields.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto id = intent.id;
  return Change(std::move(intent), id, [id](Ask& ask) { return print(ask, id, 200); });
}

Plan remove(Ask& ask) {
  const auto id = ask.id<VolumeId>(1);
  if (!id) return no_volume(ask, ask.param(1));
  return Change(DeleteVolume{.id = *id}, *id, [](Ask&) -> Plan { return Response(202); });
}

Plan act(Ask& ask) {
  const auto volume = seen_volume(ask);
  if (!volume) return no_volume(ask, ask.param(1));
  const auto body = ask.body();
  const auto keys = body.keys();
  if (auto bad = ask.bad()) return std::move(*bad);
  if (keys.size() != 1)
    return ask.error(400, fmt::format("An action is one field; the body has {}.", keys.size()));
  const auto& action = keys.front();
  if (action == "os-force_delete")
    return Change(DeleteVolume{.id = volume->id}, volume->id, [](Ask&) -> Plan { return Response(202); });
  if (std::find(std::begin(other_actions), std::end(other_actions), action) != std::end(other_actions))
    return not_here(ask, fmt::format("The action {} of volumes is not here yet", action));
  return ask.error(400, fmt::format("There is no such action: {}", action));
}

Plan list_metadata(Ask& ask) {
  const auto volume = seen_volume(ask);
  if (!volume) return no_volume(ask, ask.param(1));
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("metadata");
  for (std::size_t i = 0; i + 1 < volume->metadata.size(); i += 2)
    json.text_key(volume->metadata[i]).value(volume->metadata[i + 1]);
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

Plan keep_metadata(Ask& ask) {
  if (!seen_volume(ask)) return no_volume(ask, ask.param(1));
  return not_here(ask, "Metadata of a volume is set when it is created and does not change");
}

}  // namespace

Handle in_project(Handle handle) {
  return microversioned([handle = std::move(handle)](Ask& ask) -> Plan {
    if (ask.id<ProjectId>(0) != ask.actor().project)
      return ask.error(400, "Malformed request url: the project in it is not the token's.");
    return handle(ask);
  });
}

std::optional<Volume> seen_volume(Ask& ask) {
  const auto id = ask.id<VolumeId>(1);
  auto volume = id ? ask.view().find<Volume>(*id) : std::nullopt;
  if (volume && !ask.sees(volume->project)) return std::nullopt;
  return volume;
}

Response no_volume(const Ask& ask, std::string_view id) {
  return ask.error(404, fmt::format("Volume {} could not be found.", id));
}

Response not_here(const Ask& ask, std::string_view what) { return ask.error(501, fmt::format("{}.", what)); }

void register_volume_records(Api& api) {
  constexpr std::string_view all = "/v3/{project}/volumes", one = "/v3/{project}/volumes/{id}";
  api.write(service, Method::post, all, Need::member, in_project(create));
  api.read(service, one, Need::reader, in_project(show));
  api.write(service, Method::put, one, Need::member, in_project(update));
  api.write(service, Method::del, one, Need::member, in_project(remove));
  api.write(service, Method::post, "/v3/{project}/volumes/{id}/action", Need::member, in_project(act));
  constexpr std::string_view metadata = "/v3/{project}/volumes/{id}/metadata",
                             item = "/v3/{project}/volumes/{id}/metadata/{key}";
  api.read(service, metadata, Need::reader, in_project(list_metadata));
  api.write(service, Method::post, metadata, Need::member, in_project(keep_metadata));
  api.write(service, Method::put, metadata, Need::member, in_project(keep_metadata));
  api.write(service, Method::put, item, Need::member, in_project(keep_metadata));
  api.write(service, Method::del, item, Need::member, in_project(keep_metadata));
}

void register_volumes(Api& api) {
  register_volume_services(api);
  register_volume_records(api);
  register_volume_list(api);
  register_volume_types(api);
  register_volume_limits(api);
  register_volume_attachments(api);
}

}  // namespace reprise::api
