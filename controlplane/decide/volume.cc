#include "controlplane/decide/decide.h"
#include "events/named.h"
#include "controlplane/decide/placement.h"

namespace reprise::volume {
namespace {

constexpr std::uint64_t gib = 1024ull * 1024 * 1024;
constexpr std::uint64_t size_gib_max = 64 * 1024;

Events no_volume(VolumeId id) {
  return refuse(Refusal::no_such_volume, fmt::format("Volume {} could not be found.", id.str()), id.as<AnyId>());
}

struct Found {
  const Volume* volume = nullptr;
  Events refused;
};
Found find(const State& s, VolumeId id, const Context& c, const char* what) {
  const Volume* volume = s.volumes.find(id);
  if (!volume || !c.sees(volume->project)) return {nullptr, no_volume(id)};
  if (!c.rights.member)
    return {nullptr, refuse(Refusal::not_allowed, fmt::format("To {} a volume needs the role member.", what), volume->object())};
  return {volume, {}};
}

Events wrong_state(const Volume& volume, const char* needed) {
  return refuse(Refusal::wrong_state, fmt::format("Invalid volume: Volume status must be {}, but volume {} is {}.", needed,
                                                  volume.id.str(), volume_status_word(volume.status)), volume.object());
}

// Can a server on that node have it?
bool reaches(const State& s, NodeId node, const Volume& volume) {
  if (node == volume.node) return true;
  const Node* here = s.nodes.find(node);
  const Node* there = s.nodes.find(volume.node);
  return here && there && !here->storage_pool.empty() && here->storage_pool == there->storage_pool;
}

// The first of /dev/vdb … /dev/vdz that none of the server's volumes has; the guest may name it otherwise.
std::string free_device(const State& s, ServerId server) {
  std::set<std::string> used;
  s.volumes.each_by(Volume::by_server, encode_key(server), [&](const Volume& row) { return used.insert(row.device), true; });
  for (char letter = 'b'; letter < static_cast<char>('b' + volumes_per_server_max); ++letter) {
    std::string device = fmt::format("/dev/vd{}", letter);
    if (!used.contains(device)) return device;
  }
  return {};
}

}  // namespace

Events create(const State& s, const CreateVolume& i, const Context& c) {
  const auto object = i.id.as<AnyId>();
  if (!c.rights.member) return refuse(Refusal::not_allowed, "Creating a volume needs the role member.", object);
  if (s.volumes.contains(i.id)) return refuse(Refusal::id_taken, "A volume with that id exists.", object);
  if (i.size_gib < 1 || i.size_gib > size_gib_max)
    return refuse(Refusal::bad_range, fmt::format("A size of {} GiB is not possible: it must be between 1 and {}.", i.size_gib, size_gib_max), object);
  if (auto over = over_quota(s, c.project(), Resource::volumes, 1)) return *over;
  if (auto over = over_quota(s, c.project(), Resource::gigabytes, static_cast<std::int64_t>(i.size_gib))) return *over;
  if (i.image) {
    const Image* image = s.images.find(i.image);
    const bool open = image && (image->visibility == Visibility::public_ || image->visibility == Visibility::community);
    if (!image || !(open || c.sees(image->project)))
      return refuse(Refusal::no_such_image, fmt::format("Image {} could not be found.", i.image.str()), object);
    if (image->status != ImageStatus::active)
      return refuse(Refusal::image_not_active, fmt::format("Image {} is not active.", i.image.str()), object);
    if (auto refused = refuse_format(*image, object)) return *refused;
    const std::uint64_t needed = std::max(image->min_disk_gib, (image->virtual_size + gib - 1) / gib);
    if (i.size_gib < needed)
      return refuse(Refusal::flavor_too_small, fmt::format("Invalid input received: Volume size {}GB cannot be smaller than the image size {}GB.",
                                                           i.size_gib, needed), object);
  }
  const PlacementRequest request{.disk_gib = static_cast<std::int64_t>(i.size_gib), .zone = i.zone};
  const Placement placement = place(s, request);
  if (!placement.node) return refuse_placement(placement, request, object);
  return {VolumeCreated{.id = i.id, .name = i.name, .description = i.description, .size_gib = i.size_gib, .image = i.image,
                        .metadata = i.metadata, .zone = i.zone, .project = c.project(), .user = c.user(),
                        .node = placement.node, .deadline_ms = c.at_ms + deadline::volume_create_ms}};
}

Events update(const State& s, const UpdateVolume& asked, const Context& c) {
  using Named = wire::UpdateVolumeNamed;
  const auto [volume, refused] = find(s, asked.id, c, "change");
  if (!volume) return refused;
  auto i = asked;
  unless_named(i, Named::VT_NAME, i.name, volume->name);
  unless_named(i, Named::VT_DESCRIPTION, i.description, volume->description);
  return {VolumeUpdated{.id = i.id, .name = i.name, .description = i.description}};
}

Events remove(const State& s, const DeleteVolume& i, const Context& c) {
  const auto [volume, refused] = find(s, i.id, c, "delete");
  if (!volume) return refused;
  const bool deletable = volume->status == VolumeStatus::available || volume->status == VolumeStatus::error ||
                         volume->status == VolumeStatus::deleting;
  if (!deletable || volume->server) return wrong_state(*volume, "available or error");
  const Node* node = s.nodes.find(volume->node);
  Events events{VolumeDeleting{.id = i.id, .deadline_ms = c.at_ms + deadline::volume_delete_ms}};
  if (!node || (node->state == NodeState::dead && node->storage_pool.empty())) events.push_back(VolumeDeleted{.id = i.id});
  return events;
}

Events attach(const State& s, const AttachVolume& i, const Context& c) {
  const auto [volume, refused] = find(s, i.id, c, "attach");
  if (!volume) return refused;
  const Server* server = s.servers.find(i.server);
  if (!server || !c.sees(server->project))
    return refuse(Refusal::no_such_server, fmt::format("Instance {} could not be found.", i.server.str()));
  if (volume->status != VolumeStatus::available) {
    if (volume->server == i.server)
      return refuse(Refusal::already_attached, fmt::format("Invalid volume: volume {} is attached to this server already.", i.id.str()), volume->object());
    return wrong_state(*volume, "available");
  }
  const bool steady = server->task == TaskState::none && server->tenure == Tenure::placed &&
                      (server->status == ServerStatus::active || server->status == ServerStatus::shutoff || server->status == ServerStatus::paused);
  if (!steady)
    return refuse(Refusal::wrong_state, fmt::format("Cannot 'attach_volume' instance {} while it is changing or in error.", i.server.str()), volume->object());
  if (!reaches(s, server->node, *volume)) {
    const auto name = [&](NodeId id) { const Node* node = s.nodes.find(id); return node ? node->name : id.str(); };
    return refuse(Refusal::other_node, fmt::format("Volume {} lies on node {}, server {} runs on node {}: a local disk is attached "
                                                   "only on its own node.", i.id.str(), name(volume->node), i.server.str(), name(server->node)),
                  volume->object());
  }
  const std::string device = free_device(s, i.server);
  if (device.empty())
    return refuse(Refusal::too_many_disks, fmt::format("The maximum allowed number of disk devices ({}) to attach to a single instance has "
                                                       "been exceeded. Detach a volume of server {} first.", volumes_per_server_max, i.server.str()),
                  volume->object());
  return {VolumeAttaching{.id = i.id, .server = i.server, .device = device, .deadline_ms = c.at_ms + deadline::attach_ms}};
}

Events detach(const State& s, const DetachVolume& i, const Context& c) {
  const auto [volume, refused] = find(s, i.id, c, "detach");
  if (!volume) return refused;
  if (!volume->server || (i.server && volume->server != i.server))
    return refuse(Refusal::not_attached, fmt::format("Volume {} is not attached to server {}.", i.id.str(), i.server.str()), volume->object());
  if (volume->status != VolumeStatus::in_use && !volume->gone) return wrong_state(*volume, "in-use");
  const Server& server = s.servers.at(volume->server);
  if (server.tenure == Tenure::none) {
    return {VolumeDetaching{.id = i.id, .deadline_ms = c.at_ms + deadline::detach_ms}, VolumeDetached{.id = i.id}};
  }
  return {VolumeDetaching{.id = i.id, .deadline_ms = c.at_ms + deadline::detach_ms}};
}

}  // namespace reprise::volume
