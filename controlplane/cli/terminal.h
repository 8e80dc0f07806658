// Words for a terminal out of the JSON that a server, or the folder, gives. Colour only where `colour` says
// so.
#pragma once

#include <string>
#include <string_view>

#include "events/result.h"

namespace reprise::cli {

// Is stdout a terminal that wants colour (NO_COLOR is respected)?
bool wants_colour();

Result<std::string> status_text(std::string_view json, bool colour);
Result<std::string> why_text(std::string_view json, bool colour);
Result<std::string> checkpoint_text(std::string_view json);
Result<std::string> diff_text(std::string_view json, bool colour);
Result<std::string> whatif_text(std::string_view json, bool colour);
// Of a whatif's JSON: did all that was asked for find a node?
bool all_placed(std::string_view json);
// One line of GET /events as one line of words.
Result<std::string> event_text(std::string_view line, bool colour);

}  // namespace reprise::cli
