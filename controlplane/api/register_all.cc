#include "controlplane/api/compute.h"
#include "controlplane/api/image.h"
#include "controlplane/api/service.h"
#include "controlplane/api/volume.h"

namespace reprise::api {

void register_all(Api& api) {
  register_control(api);
  register_compute(api);
  register_images(api);
  register_volumes(api);
}

}  // namespace reprise::api
