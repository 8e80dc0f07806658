#include "controlplane/api/project_quota.h"

#include <fmt/format.h>

#include "events/named.h"

namespace reprise::api {

// The fields of the intent stand in the order of the resources, after the project.
void ProjectQuota::set(Resource resource, std::int64_t to) {
  static_assert(bit_of(wire::SetQuotaNamed::VT_INSTANCES) == 2u << static_cast<unsigned>(Resource::instances));
  static_assert(bit_of(wire::SetQuotaNamed::VT_IMAGE_BYTES) == 2u << static_cast<unsigned>(Resource::image_bytes));
  of(limit, resource) = to;
  named |= 2u << static_cast<unsigned>(resource);
}

void read_limit(Fields& fields, std::string_view key, Resource resource, bool force, ProjectQuota& quota) {
  const auto wished = fields.optional_integer(key, -1, INT32_MAX);
  if (!wished) return;
  const auto used = of(quota.used, resource);
  if (!force && *wished >= 0 && *wished < used)
    return fields.fail(key,
                       fmt::format("Quota limit {} for {} must be greater than or equal to already used {}; "
                                   "set force to go below",
                                   *wished, key, used));
  quota.set(resource, *wished);
}

SetQuota set_quota(ProjectId project, const ProjectQuota& quota) {
  const auto& limits = quota.limit;
  return {.project = project,
          .instances = of(limits, Resource::instances),
          .cores = of(limits, Resource::cores),
          .ram_mib = of(limits, Resource::ram_mib),
          .volumes = of(limits, Resource::volumes),
          .gigabytes = of(limits, Resource::gigabytes),
          .networks = of(limits, Resource::networks),
          .subnets = of(limits, Resource::subnets),
          .ports = of(limits, Resource::ports),
          .key_pairs = of(limits, Resource::key_pairs),
          .images = of(limits, Resource::images),
          .image_bytes = of(limits, Resource::image_bytes),
          .says_images = true,
          .named = quota.named};
}

SetQuota unset_quota(ProjectId project, std::initializer_list<Resource> resources) {
  ProjectQuota quota;
  for (const auto resource : resources) quota.set(resource, of(default_limits, resource));
  return set_quota(project, quota);
}

}  // namespace reprise::api
