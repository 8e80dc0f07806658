// Quotas of a project, as every service shows its part of them.
#pragma once

#include <array>

#include "controlplane/api/ask.h"

namespace reprise::api {

using PerResource = std::array<std::int64_t, resource_count>;

// What was set, else the defaults; -1 is unlimited.
PerResource quota_limits(const View& view, ProjectId project);
PerResource quota_used(const View& view, ProjectId project);  // all but images
// What a project's images are and hold; everything else is 0.
PerResource image_usage(const View& view, ProjectId project);

inline std::int64_t& of(PerResource& all, Resource resource) {
  return all[static_cast<std::size_t>(resource)];
}
inline std::int64_t of(const PerResource& all, Resource resource) {
  return all[static_cast<std::size_t>(resource)];
}

}  // namespace reprise::api
