// What decide refused, in HTTP: the status that the service's own client expects, and the event's words.
#pragma once

#include "controlplane/api/errors.h"
#include "events/codec.h"
#include "events/refusal.h"

namespace reprise::api {

// `own`: the object that the request is about. What is missing beside it (a server's flavor) is a mistake in
// the body for compute and volume, not a 404.
int refusal_status(Service service, Refusal refusal, bool own);

// Neutron's name for it.
const char* neutron_type(Refusal refusal, IntentType intent);

}  // namespace reprise::api
