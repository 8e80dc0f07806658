// Which record a moment means: a seq as it is, a time the last record that is not later. What /at/… and the
// commands about the past ask.
#pragma once

#include <string_view>

#include "controlplane/api/timestamp.h"
#include "projections/view.h"

namespace reprise::api {

// Up to `now`; the words say what there is instead.
//   not_found  before the beginning, or a seq that is not there yet
//   invalid    a time that has not come yet, by the clock (`wall_ms`) and by the log; no moment at all
Result<Seq> seq_of(const View& now, const Moment& moment, std::int64_t wall_ms);
Result<Seq> seq_of(const View& now, std::string_view text, std::int64_t wall_ms);

// Of a moment that cannot be shown: 404, 400; 410 when the history was cut after it; 503.
int moment_status(Errc code);
// {"from":{"seq","at"},"to":{…}}: what can be read of the past.
std::string readable_json(const View& now);

}  // namespace reprise::api
