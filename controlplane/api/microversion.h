// Microversions of compute (2.1 to 2.79) and volume (3.0 to 3.42): asked for in a header, told in the answer.
//
//   OpenStack-API-Version: compute 2.53         (several services, separated by commas)
//   X-OpenStack-Nova-API-Version: 2.53          (compute's older name for it)
//
// Nothing asked is the least one; "latest" the greatest. 400 for what is no version, 406 for one that is not
// here. Other services have none: their requests pass unchanged.
#pragma once

#include "controlplane/api/ask.h"

namespace reprise::api {

struct MicroversionRange {
  unsigned major = 0;
  unsigned least = 0;
  unsigned most = 0;
};
MicroversionRange microversions(Service service);

// The handler, called only with a microversion that we have; its answers say which one it was.
Handle microversioned(Handle handle);

// The minor number that counts for this request: 53 for 2.53. Only behind microversioned().
unsigned microversion(Ask& ask);

}  // namespace reprise::api
