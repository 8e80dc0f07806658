#include <fmt/format.h>

#include "controlplane/api/timestamp.h"
#include "controlplane/api/volume.h"
#include "events/hash.h"

namespace reprise::api {
namespace {

void write_time(JsonWriter& json, std::string_view key, std::int64_t ms) {
  json.key(key);
  ms ? json.value(time_micros(static_cast<std::uint64_t>(ms))) : json.null();
}

}  // namespace

AttachmentId attachment_of(const Volume& volume) {
  const Hash hash = blake2b(std::string(KeyWriter().id(volume.id).id(volume.server)));
  KeyReader reader({reinterpret_cast<const char*>(hash.bytes.data()), 16});
  AttachmentId id;
  reader.id(id);
  return id;
}

const VolumeWriter::Place& VolumeWriter::place_of(const Volume& volume) {
  const auto [at, made] = places_.try_emplace(volume.node);
  if (made) {
    const auto node = ask_.view().find<Node>(volume.node);
    at->second = node ? Place{node->name, node->zone.empty() ? "nova" : node->zone}
                      : Place{volume.node.str(), volume.zone};
  }
  return at->second;
}

void VolumeWriter::write_attachments(JsonWriter& json, const Volume& volume) {
  json.array("attachments");
  const bool attached = volume.status == VolumeStatus::in_use || volume.status == VolumeStatus::detaching;
  if (volume.server && attached) {
    json.begin_object().field("id", volume.id.str()).field("attachment_id", attachment_of(volume).str());
    json.field("volume_id", volume.id.str()).field("server_id", volume.server.str());
    json.key("host_name");
    admin_ ? json.value(place_of(volume).node) : json.null();
    json.field("device", volume.device);
    write_time(json, "attached_at", volume.attached_ms);
    json.end_object();
  }
  json.end_array();
}

// What cinder copies of the image: enough to know it again.
void VolumeWriter::write_image(JsonWriter& json, const Volume& volume) {
  if (!volume.image) return;
  json.object("volume_image_metadata").field("image_id", volume.image.str());
  if (const auto image = ask_.view().find<Image>(volume.image)) {
    json.field("image_name", image->name)
        .field("checksum", image->md5)
        .field("disk_format", image->disk_format);
    json.field("container_format", image->container_format).field("size", std::to_string(image->size));
    json.field("min_disk", std::to_string(image->min_disk_gib))
        .field("min_ram", std::to_string(image->min_ram_mib));
  }
  json.end_object();
}

void VolumeWriter::write(JsonWriter& json, const Volume& volume) {
  const auto id = volume.id.str();
  const auto path = "/volume/v3/" + volume.project.hex() + "/volumes/" + id;
  json.begin_object().field("id", id).field_or_null("name", volume.name).array("links");
  json.begin_object().field("rel", "self").field("href", ask_.url(path)).end_object();
  json.begin_object()
      .field("rel", "bookmark")
      .field("href", ask_.url("/volume/" + volume.project.hex() + "/volumes/" + id))
      .end_object();
  json.end_array();
  if (!details_) {
    json.end_object();
    return;
  }
  json.field("status", volume_status_word(volume.status)).field("size", volume.size_gib);
  json.field("availability_zone", place_of(volume).zone).field_or_null("description", volume.description);
  write_time(json, "created_at", volume.created_ms);
  write_time(json, "updated_at", volume.updated_ms);
  json.field("volume_type", volume_type_name).key("snapshot_id").null().key("source_volid").null();
  json.object("metadata");
  for (std::size_t i = 0; i + 1 < volume.metadata.size(); i += 2)
    json.text_key(volume.metadata[i]).value(volume.metadata[i + 1]);
  json.end_object().field("user_id", volume.user.hex()).field("bootable", volume.image ? "true" : "false");
  json.field("encrypted", false)
      .key("replication_status")
      .null()
      .key("consistencygroup_id")
      .null()
      .field("multiattach", false);
  write_attachments(json, volume);
  write_image(json, volume);
  json.key("migration_status").null().field("os-vol-tenant-attr:tenant_id", volume.project.hex());
  if (admin_) {
    json.field("os-vol-host-attr:host", place_of(volume).node + "@local#local");
    json.key("os-vol-mig-status-attr:migstat").null().key("os-vol-mig-status-attr:name_id").null();
  }
  if (minor_ >= 13) json.key("group_id").null();
  if (minor_ >= 21 && admin_) json.key("provider_id").null();
  json.end_object();
}

}  // namespace reprise::api
