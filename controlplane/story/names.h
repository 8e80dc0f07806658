// What people call a thing: the name of whatever object an id belongs to, as of one view.
#pragma once

#include <string>
#include <string_view>

#include "events/print.h"
#include "projections/view.h"

namespace reprise::story {

// Empty: no such object, or it has no name.
std::string name_of(const View& view, AnyId id);
// "server", "volume" …; empty: no such object.
std::string kind_of(const View& view, AnyId id);
// The object that a word means: by its id, whether it is there or not, or the only one that has this name. not_found: none
// has; invalid: several have, and which they are.
Result<AnyId> object_of(const View& view, std::string_view word);
// For print_words(): "name (id)" where there is a name. `view` must live as long.
NameOf labels(const View& view);

}  // namespace reprise::story
