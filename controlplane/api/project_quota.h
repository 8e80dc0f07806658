// A project's limits beside what it uses, and a new limit as a client gives it.
#pragma once

#include "controlplane/api/quota.h"

namespace reprise::api {

struct ProjectQuota {
  PerResource limit = default_limits;  // -1: unlimited
  PerResource used{};
  std::uint32_t named = 0;  // events/named.h: those that set() was called for

  void set(Resource resource, std::int64_t to);
};
inline ProjectQuota quota_of(const View& view, ProjectId project) {
  return {quota_limits(view, project), quota_used(view, project)};
}

// Reads "key" as the new limit of a resource: -1 or more, and not less than is used unless `force`.
void read_limit(Fields& fields, std::string_view key, Resource resource, bool force, ProjectQuota& quota);

// Of the limits that were set alone; the others stay as they are.
SetQuota set_quota(ProjectId project, const ProjectQuota& quota);
// These limits as they are where nobody set any.
SetQuota unset_quota(ProjectId project, std::initializer_list<Resource> resources);

}  // namespace reprise::api
