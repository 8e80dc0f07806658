// Every reference that a row holds to another row, and what becomes of it when what it points at is deleted.
//
// Which fields are references follows from the rows' own fields(): a field whose type is the id of a table's rows is one.
// What happens is listed once, in references(); a field that is not listed there fails tests/unit/references_test.cc.
#pragma once

#include <map>
#include <span>
#include <string>

#include "events/ids.h"

namespace reprise {

struct State;
struct Server;
struct Volume;

enum class OnDelete : std::uint8_t {
  refused,       // the deletion is: the row needs what it points at
  while_needed,  // refused as long as the row needs it (needs_image); later it only says what it was
  cleared,       // an event of the same decision makes it point at nothing
  together,      // the row goes in the same decision
  copied,        // it may point at nothing: the row carries what it needs of it
  stays,         // what it points at is never deleted
};

struct Reference {
  const char* table;   // of the row
  const char* field;
  const char* target;  // table of what it points at
  OnDelete policy;
};
std::span<const Reference> references();
// Every field that is a reference by its type, as "table.field target"; each of them has to be listed.
std::map<std::string, const char*> reference_fields();

// A disk is still to be filled from its image.
bool needs_image(const Server& server);
bool needs_image(const Volume& volume);

// What would be left without an owner: how many rows of each table name this project by a reference whose policy is
// `refused`. Looks at every row.
std::map<std::string, std::size_t> owned_by(const State& state, ProjectId project);

// A line for each reference that points at nothing and may not. Empty: there is none.
std::string check_references(const State& state);

}  // namespace reprise
