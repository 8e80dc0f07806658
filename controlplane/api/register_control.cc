#include "controlplane/api/service.h"

namespace reprise::api {

void register_control(Api& api) {
  register_own(api);
  register_identity(api);
  register_network(api);
  register_log(api);
}

}  // namespace reprise::api
