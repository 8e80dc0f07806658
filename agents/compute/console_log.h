// The guests' console logs. A guest may write without end: only the last part of each file is kept,
// by giving the rest of its blocks back to the file system (QEMU goes on writing at the same offset).
#pragma once

#include <string>

#include "events/result.h"

namespace reprise::compute {

// What is kept of each log at least.
inline constexpr std::size_t console_bytes_kept = 1 << 20;

// The last `bytes` of the log (0: all that is kept), without what was given back. A log that is not
// there yet is empty.
Result<std::string> read_console_log(const std::string& path, std::size_t bytes);

// Gives back all but the last `console_bytes_kept` bytes.
void trim_console_log(const std::string& path);

}  // namespace reprise::compute
