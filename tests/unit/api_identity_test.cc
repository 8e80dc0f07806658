#include "tests/unit/api_rig.h"

#include <fmt/format.h>

namespace reprise::api {

TEST_CASE("A token by password carries the user, its project, roles and the catalog", "[identity]") {
  ApiRig rig;
  const auto shown = rig.ask("GET", "/identity/v3/auth/tokens", "", {{"X-Auth-Token", rig.admin_token}, {"X-Subject-Token", rig.admin_token}});
  REQUIRE(shown.status() == 200);
  CHECK(shown.text("token.user.name") == "admin");
  CHECK(shown.text("token.project.name") == "admin");
  CHECK(shown.text("token.roles.0.name") == "admin");
  CHECK(shown.size("token.catalog") == 5);
  CHECK(shown.text("token.catalog.0.endpoints.0.url") == "http://cloud:8700/identity");
}

}  // namespace reprise::api
