// GET /events: what happened, one JSON object a line, in the order of the log.
//
//   ?from=SEQ, ?from=SEQ.INDEX  the first one to see (default: the very first). Each line carries seq and
//                               index: who was cut off asks from the one after the last that it got, and
//                               misses none and gets none twice.
//   ?follow=false               ends at the head; else it goes on until the client or the token does
//   under /at/…                 ends there
//
//   {"seq":12,"index":0,"at":"2026-11-03T09:08:07.123000Z","at_ms":…,"cause":"intent",
//    "intent":{"type":"CreateServer","id":…,"request_id":…,"user":…,"project":…},
//    "event":{"type":…,…}}
//
// Admins see everything. Others see what happened to what belongs to their project, and their own refusals;
// of what was gone before the history was cut nobody knows any more whose it was.
#pragma once

#include "controlplane/api/service.h"

namespace reprise::api {

Response open_event_stream(Ask& ask, Api& api);

}  // namespace reprise::api
