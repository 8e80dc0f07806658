// Which node something is on is the operator's business: who is no admin reads "its node" (nova's policy for
// OS-EXT-SRV-ATTR and the like).
#pragma once

#include <string>

#include "projections/view.h"

namespace reprise::api {

// Names of nodes, which stand after the word "node" in every text of ours, are taken out.
std::string without_hosts(const View& view, std::string text);

}  // namespace reprise::api
