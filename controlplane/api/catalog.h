// The service catalog: where each service is, for the project of a token.
#pragma once

#include "controlplane/api/ask.h"
#include "controlplane/api/service.h"

namespace reprise::api {

// A JSON array. Endpoints begin with the address that was asked, /at/… included.
void write_catalog(JsonWriter& json, const Ask& ask, const Api& api, ProjectId project);

// GET /services, /endpoints and /regions of identity.
void register_catalog(Api& api);

}  // namespace reprise::api
