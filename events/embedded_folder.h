// The marks of an embedded log on its folder: whose it is, whether it was made whole, who holds it.
#pragma once

#include <string>

#include "events/result.h"

namespace reprise {

enum class FolderState {
  vacant,     // missing, or nothing in it
  half_made,  // its making was interrupted: nothing was ever in that log
  log,
};

// invalid: something else is in it.
Result<FolderState> look_at_folder(const std::string& dir);
// Makes the folder (0700) and those above it.
Status make_folder(const std::string& dir);
// The descriptor that holds the lock until it is closed. denied: another process, named, has it.
Result<int> lock_folder(const std::string& dir);
// A new log: begin before anything is put into the folder, finish when all of it is on disk.
Status begin_marking(const std::string& dir);
Status finish_marking(const std::string& dir);

}  // namespace reprise
