#include "controlplane/decide/decide.h"
#include "events/named.h"
#include "projections/references.h"

namespace reprise::image {
namespace {

// May the actor see it at all? Public and community images are everybody's to see.
const Image* visible(const State& s, ImageId id, const Context& c) {
  const Image* image = s.images.find(id);
  if (!image) return nullptr;
  const bool open = image->visibility == Visibility::public_ || image->visibility == Visibility::community;
  return open || c.sees(image->project) ? image : nullptr;
}

Events no_image(ImageId id) {
  return refuse(Refusal::no_such_image, fmt::format("No image found with ID {}", id.str()), id.as<AnyId>());
}

std::optional<Events> not_mine(const Image& image, const Context& c) {
  if (!c.rights.member) return refuse(Refusal::not_allowed, "Changing images needs the role member.", image.object());
  if (!c.sees(image.project))
    return refuse(Refusal::not_allowed, fmt::format("Image {} belongs to another project.", image.id.str()), image.object());
  return std::nullopt;
}

// Who needs its bytes, and what to do; empty: nobody. Disks are filled from it once; direct boot reads kernel and
// ramdisk at every start.
std::string user_of(const State& s, ImageId id) {
  std::string user;
  s.servers.each_by(Server::by_image, encode_key(id), [&](const Server& row) {
    if (needs_image(row) || (row.tenure == Tenure::placed && !row.disk_ready))
      user = fmt::format("the disk of server {} is being made of it; wait until the server is ACTIVE, or delete the server first", row.id.str());
    return user.empty();
  });
  if (!user.empty()) return user;
  s.volumes.each_by(Volume::by_image, encode_key(id), [&](const Volume& row) {
    if (needs_image(row))
      user = fmt::format("volume {} is being made of it; wait until the volume is available, or delete the volume first", row.id.str());
    return user.empty();
  });
  if (!user.empty()) return user;
  s.servers.each([&](const Server& row) {
    if (user.empty() && (row.kernel == id || row.ramdisk == id))
      user = fmt::format("server {} starts with it as its {}; delete the server first", row.id.str(), row.kernel == id ? "kernel" : "ramdisk");
  });
  return user;
}

void take_tags(UpdateImage& i) {
  std::erase_if(i.tags, [&](const auto& tag) { return std::ranges::count(i.tags_removed, tag) != 0; });
  for (const auto& tag : i.tags_added)
    if (!std::ranges::count(i.tags, tag)) i.tags.push_back(tag);
}

// Key, value, key, value.
void take_properties(UpdateImage& i) {
  const auto& set = i.properties_set;
  std::vector<std::string> kept;
  for (std::size_t at = 0; at + 1 < i.properties.size(); at += 2) {
    std::string value = i.properties[at + 1];
    for (std::size_t other = 0; other + 1 < set.size(); other += 2)
      if (set[other] == i.properties[at]) value = set[other + 1];
    if (!std::ranges::count(i.properties_removed, i.properties[at])) kept.insert(kept.end(), {i.properties[at], value});
  }
  for (std::size_t at = 0; at + 1 < set.size(); at += 2) {
    bool there = false;
    for (std::size_t other = 0; other < kept.size(); other += 2) there = there || kept[other] == set[at];
    if (!there) kept.insert(kept.end(), {set[at], set[at + 1]});
  }
  i.properties = std::move(kept);
}

UpdateImage merged(UpdateImage i, const Image& row) {
  using Named = wire::UpdateImageNamed;
  unless_named(i, Named::VT_NAME, i.name, row.name);
  unless_named(i, Named::VT_VISIBILITY, i.visibility, row.visibility);
  unless_named(i, Named::VT_PROTECTED_, i.protected_, row.is_protected);
  unless_named(i, Named::VT_MIN_DISK_GIB, i.min_disk_gib, row.min_disk_gib);
  unless_named(i, Named::VT_MIN_RAM_MIB, i.min_ram_mib, row.min_ram_mib);
  unless_named(i, Named::VT_PROPERTIES, i.properties, row.properties);
  unless_named(i, Named::VT_TAGS, i.tags, row.tags);
  unless_named(i, Named::VT_DISK_FORMAT, i.disk_format, row.disk_format);
  unless_named(i, Named::VT_CONTAINER_FORMAT, i.container_format, row.container_format);
  take_tags(i);
  take_properties(i);
  return i;
}

}  // namespace

Events create(const State& s, const CreateImage& i, const Context& c) {
  if (!c.rights.member) return refuse(Refusal::not_allowed, "Creating an image needs the role member.");
  if (i.visibility == Visibility::public_ && !c.rights.admin)
    return refuse(Refusal::not_allowed, "Only an admin may make an image public; use visibility private, shared or community.");
  if (s.images.contains(i.id)) return refuse(Refusal::id_taken, fmt::format("Image ID {} already exists!", i.id.str()));
  const auto owner = i.project ? i.project : c.project();
  if (auto refused = refuse_owner(s, owner, c)) return *refused;
  if (auto over = over_quota(s, owner, Resource::images, 1)) return *over;
  return {ImageCreated{.id = i.id, .name = i.name, .disk_format = i.disk_format, .container_format = i.container_format,
                       .visibility = i.visibility, .protected_ = i.protected_, .min_disk_gib = i.min_disk_gib,
                       .min_ram_mib = i.min_ram_mib, .properties = i.properties, .tags = i.tags, .project = owner}};
}

Events store(const State& s, const StoreImage& i, const Context& c) {
  const Image* image = visible(s, i.id, c);
  if (!image) return no_image(i.id);
  if (auto refused = not_mine(*image, c)) return *refused;
  if (i.born && i.born != image->born)
    return refuse(Refusal::no_such_image, fmt::format("The image that these bytes were sent for was deleted meanwhile, and image {} "
                                                      "made anew: send them again if they are for this one.", i.id.str()), image->object());
  if (image->status != ImageStatus::queued)
    return refuse(Refusal::wrong_state, "Image status transition from active to saving is not allowed: its data is there "
                                        "already. Create a new image for other data.", image->object());
  if (!i.disk_format.empty() && i.disk_format != image->disk_format)
    return refuse(Refusal::wrong_state, fmt::format("The disk_format of image {} was changed to {} while its data came as {}: send them again.",
                                                    i.id.str(), image->disk_format, i.disk_format), image->object());
  if (auto over = over_quota(s, image->project, Resource::image_bytes, static_cast<std::int64_t>(i.size))) return *over;
  return {ImageStored{.id = i.id, .size = i.size, .virtual_size = i.virtual_size, .md5 = i.md5, .sha512 = i.sha512}};
}

Events update(const State& s, const UpdateImage& asked, const Context& c) {
  const Image* image = visible(s, asked.id, c);
  if (!image) return no_image(asked.id);
  if (auto refused = not_mine(*image, c)) return *refused;
  const auto i = merged(asked, *image);
  if (i.tags.size() > std::max(image->tags.size(), image_tags_max))
    return refuse(Refusal::quota_exceeded, fmt::format("An image has at most {} tags.", image_tags_max), image->object());
  if (i.properties.size() / 2 > std::max(image->properties.size() / 2, image_properties_max))
    return refuse(Refusal::quota_exceeded, fmt::format("An image has at most {} properties.", image_properties_max), image->object());
  if (i.visibility == Visibility::public_ && image->visibility != Visibility::public_ && !c.rights.admin)
    return refuse(Refusal::not_allowed, "Only an admin may make an image public.", image->object());
  const bool formats_change = i.disk_format != image->disk_format || i.container_format != image->container_format;
  if (formats_change && image->status != ImageStatus::queued)
    return refuse(Refusal::wrong_state, "disk_format and container_format are fixed once an image has data.", image->object());
  return {ImageUpdated{.id = i.id, .name = i.name, .visibility = i.visibility, .protected_ = i.protected_,
                       .min_disk_gib = i.min_disk_gib, .min_ram_mib = i.min_ram_mib, .properties = i.properties,
                       .tags = i.tags, .disk_format = i.disk_format, .container_format = i.container_format}};
}

Events remove(const State& s, const DeleteImage& i, const Context& c) {
  const Image* image = visible(s, i.id, c);
  if (!image) return no_image(i.id);
  if (auto refused = not_mine(*image, c)) return *refused;
  if (image->is_protected)
    return refuse(Refusal::protected_image,
                  fmt::format("Image {} is protected and cannot be deleted; set protected to false first.", i.id.str()),
                  image->object());
  if (const auto user = user_of(s, i.id); !user.empty())
    return refuse(Refusal::in_use, fmt::format("Image {} could not be deleted because it is in use: {}.", i.id.str(), user),
                  image->object());
  return {ImageDeleted{.id = i.id}};
}

}  // namespace reprise::image
