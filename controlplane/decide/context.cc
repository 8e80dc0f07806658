#include "controlplane/decide/context.h"

namespace reprise {

Rights rights_of(const State& state, UserId user_id, ProjectId project_id) {
  Rights rights;
  const User* user = state.users.find(user_id);
  const Project* project = state.projects.find(project_id);
  if (!user || !user->enabled || !project || !project->enabled) return rights;
  state.role_assignments.each_by(
      RoleAssignment::by_project_user, KeyWriter().id(project_id).id(user_id), [&](const RoleAssignment& row) {
        const Role* role = state.roles.find(row.id.role);
        if (!role) return true;
        rights.known = true;
        if (role->name == "admin") rights.admin = true;
        if (role->name == "member") rights.member = true;
        if (role->name == "reader") rights.reader = true;
        return true;
      });
  // Each role implies the next (keystone's default implied roles).
  rights.member = rights.member || rights.admin;
  rights.reader = rights.reader || rights.member;
  return rights;
}

Events refuse(Refusal refusal, std::string text, AnyId object) {
  return {IntentRefused{.refusal = static_cast<std::uint16_t>(refusal), .text = std::move(text), .object = object}};
}

std::int64_t quota_limit(const State& state, ProjectId project, Resource resource) {
  const auto i = static_cast<std::size_t>(resource);
  const Quota* quota = state.quotas.find(project);
  return quota && i < quota->limits.size() ? quota->limits[i] : default_limits[i];
}

std::int64_t quota_used(const State& state, ProjectId project, Resource resource) {
  const auto i = static_cast<std::size_t>(resource);
  if (i >= counted_resources) {
    std::int64_t images = 0, bytes = 0;
    state.images.each_by(Image::by_project, encode_key(project), [&](const Image& row) {
      return ++images, bytes += static_cast<std::int64_t>(row.size), true;
    });
    return resource == Resource::images ? images : bytes;
  }
  const Usage* usage = state.usage.find(project);
  return usage && i < usage->used.size() ? usage->used[i] : 0;
}

std::optional<Events> refuse_owner(const State& s, ProjectId owner, const Context& c) {
  if (!c.sees(owner)) return refuse(Refusal::not_allowed, "Only an admin may make something for another project.");
  if (!s.projects.contains(owner))
    return refuse(Refusal::no_such_project, fmt::format("Could not find project: {}.", owner.hex()), owner.as<AnyId>());
  return std::nullopt;
}

std::optional<Events> over_quota(const State& state, ProjectId project, Resource resource, std::int64_t more) {
  const auto limit = quota_limit(state, project, resource);
  if (limit < 0) return std::nullopt;
  const auto used = quota_used(state, project, resource);
  if (more <= limit - used) return std::nullopt;  // in this order no sum runs over
  return refuse(Refusal::quota_exceeded,
                fmt::format("Quota exceeded for {}: requested {}, but already used {} of {}. Delete something, or ask an "
                            "admin to raise the quota.",
                            resource_name(resource), more, used, limit));
}

std::optional<Events> refuse_format(const Image& image, AnyId object) {
  const auto& format = image.disk_format;
  if (format == "raw" || format == "qcow2" || format.empty()) return std::nullopt;
  return refuse(Refusal::unbootable_format, fmt::format("Image {} has the disk_format {}: disks are made of raw and qcow2 images here. Convert it "
                                                        "with 'qemu-img convert -O qcow2' and upload it as another image.", image.id.str(), format),
                object);
}

}  // namespace reprise
