// A project's limits beside what it uses, and a new limit as a client gives it.
#pragma once

#include "controlplane/api/quota.h"

namespace reprise::api {

struct ProjectQuota {
  PerResource limit = default_limits;  // -1: unlimited
  PerResource used{};
};
inline ProjectQuota quota_of(const View& view, ProjectId project) {
  return {quota_limits(view, project), quota_used(view, project)};
}

// Reads "key" as the new limit of a resource: -1 or more, and not less than is used unless `force`.
void read_limit(Fields& fields, std::string_view key, Resource resource, bool force, ProjectQuota& quota);

}  // namespace reprise::api
