// GET /why, GET /diff and GET /whatif: what a running server tells of how things came about, of other moments and other
// rules.
//
//   /why/OBJECT                     a name or an id; admins only: it names nodes and people
//   /diff?from=MOMENT[&to=MOMENT]   to: the newest, or that of /at/. Admins see everything, others what is their
//                                   project's, as in /events
//   /whatif?object=ID&at=MOMENT|now&flavor=&vcpus=&ram=&disk=&zone=&host=&without=NODE…&with=NODE…
//          &vcpus_times=&ram_times=&disk_times=&count=      admins only: it names nodes
//
// A MOMENT is a seq or an RFC 3339 time. What comes back is in why.h, diff.h and whatif.h.
#pragma once

#include "controlplane/api/service.h"

namespace reprise::story {

void register_routes(api::Api& api);

}  // namespace reprise::story
