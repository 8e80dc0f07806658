// Files that are whole or not there: everything is made under a temporary name, synced, renamed.
#pragma once

#include <cstdint>
#include <string>

#include "events/result.h"

namespace reprise::storage {

// An error of the system call that just failed on `what`, with the code that a caller can react to.
Error system_error(const std::string& what, int number);

// Syncs a file or a folder.
Status sync_path(const std::string& path);
// Syncs the file `from`, gives it its name and syncs the folder of that name.
Status publish(const std::string& from, const std::string& to);
// Bytes that an unprivileged writer can still have in the file system that holds `directory`.
Result<std::uint64_t> free_bytes(const std::string& directory);
// no_space, with what is needed and what is free, when `needed` does not fit.
Status require_space(const std::string& directory, std::uint64_t needed, const std::string& what);
// "1.5 GiB", "12 MiB": for texts.
std::string human_bytes(std::uint64_t bytes);

// Copies `from` to the new file `to` (mode 0444 in the end) and gives the SHA-512 of the bytes, in hex.
// On failure `to` is not left behind.
Result<std::string> copy_hashed(const std::string& from, const std::string& to);

}  // namespace reprise::storage
