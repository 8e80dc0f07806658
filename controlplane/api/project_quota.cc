#include "controlplane/api/project_quota.h"

#include <fmt/format.h>

namespace reprise::api {

void read_limit(Fields& fields, std::string_view key, Resource resource, bool force, ProjectQuota& quota) {
  const auto wished = fields.optional_integer(key, -1, INT32_MAX);
  if (!wished) return;
  const auto used = of(quota.used, resource);
  if (!force && *wished >= 0 && *wished < used)
    return fields.fail(key,
                       fmt::format("Quota limit {} for {} must be greater than or equal to already used {}; "
                                   "set force to go below",
                                   *wished, key, used));
  of(quota.limit, resource) = *wished;
}

}  // namespace reprise::api
