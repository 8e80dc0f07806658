// How an object came to be as it is: every intent, decision, report and deadline that touched it, and what
// placement weighed, out of the log alone.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "projections/runner.h"

namespace reprise::story {

// Where the story is read from: a running projection, or a folder.
struct Source {
  std::function<Result<View>(Seq)> view_at;
  std::function<Result<std::vector<StoredRecord>>(Seq from, std::size_t max)> read_records;
};

inline constexpr std::size_t steps_max = 500;    // the last ones; how many are left out is said
inline constexpr std::size_t weighings_max = 8;  // each folds the state of its seq
inline constexpr std::size_t weighed_nodes_max = 64;

// The story as JSON (see why_text() for its fields), of what the word means (object_of()): an id, or a name, of that kind
// unless it is empty. not_found: the log never named that object, or nothing is called so; invalid: several are.
Result<std::string> why_json(const View& now, const Source& source, std::string_view word, std::string_view kind = {});

}  // namespace reprise::story
