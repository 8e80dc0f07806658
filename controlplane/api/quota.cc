#include "controlplane/api/quota.h"

#include <algorithm>

namespace reprise::api {

PerResource quota_limits(const View& view, ProjectId project) {
  PerResource limits = default_limits;
  if (const auto row = view.find<Quota>(project))
    std::copy_n(row->limits.begin(), std::min(row->limits.size(), limits.size()), limits.begin());
  return limits;
}

PerResource quota_used(const View& view, ProjectId project) {
  PerResource used{};
  if (const auto row = view.find<Usage>(project))
    std::copy_n(row->used.begin(), std::min(row->used.size(), used.size()), used.begin());
  return used;
}

PerResource image_usage(const View& view, ProjectId project) {
  PerResource used{};
  view.each_by<Image>(Image::by_project, encode_key(project), [&](const Image& row) {
    ++of(used, Resource::images);
    of(used, Resource::image_bytes) += static_cast<std::int64_t>(row.size);
  });
  return used;
}

}  // namespace reprise::api
