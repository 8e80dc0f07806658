// What people call a thing: the name of whatever object an id belongs to, as of one view.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "events/print.h"
#include "projections/view.h"

namespace reprise::story {

// Empty: no such object, or it has no name.
std::string name_of(const View& view, AnyId id);
// "server", "volume" …; empty: no such object.
std::string kind_of(const View& view, AnyId id);
// The object that a word means: by its id, whether it is there or not, or by its name. `kind`, unless empty, is the kind
// that it must have; `kinds`, unless empty, those that it can have. Of several with that name the only server among
// them is meant. not_found: none is called so; invalid: several are, and which they are, or there is no such kind.
Result<AnyId> object_of(const View& view, std::string_view word, std::string_view kind = {},
                        std::initializer_list<std::string_view> kinds = {});
// For print_words(): "name (id)" where there is a name. `view` must live as long.
NameOf labels(const View& view);

}  // namespace reprise::story
