// Whether anything bears this host's wall clock out (ops/decisions/0026): a broker's LogAppendTime, the kernel's word
// that it is synchronised (adjtimex(2)), or the hardware clock, which goes on while the machine is off.
#pragma once

#include <string>

#include "controlplane/log_time.h"
#include "events/log.h"

namespace reprise::cli {

// Why it is not to be believed, in words that end a sentence; empty: a second witness agrees within a few minutes.
std::string doubt_clock(const Log& log, Now now);

}  // namespace reprise::cli
