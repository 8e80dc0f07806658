// One event of the log as a line of JSON: the same fields as GET /events has
// (controlplane/api/event_stream.h).
#pragma once

#include <string>

#include "events/codec.h"

namespace reprise::story {

// Every event of the record, a line each, with its newline.
std::string event_lines(const Record& record);

}  // namespace reprise::story
