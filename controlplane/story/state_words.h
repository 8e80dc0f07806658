// The state of an object in words, and what is not settled in a cloud, with whom it waits for.
#pragma once

#include <string>
#include <vector>

#include "projections/view.h"

namespace reprise::story {

// "ACTIVE on node-1", "in-use, attached to …"; "gone" when the view does not have it.
std::string state_words(const View& view, AnyId object);

// OpenStack's words.
std::string server_status(const Server& server);
const char* node_status(const Node& node);

struct Unsettled {
  std::string kind;
  AnyId id;
  std::string name;
  std::string state;
  std::int64_t deadline_ms = 0;  // by when something must have happened; 0: a person has to act
  std::string reason;            // what is awaited and from whom, or what is wrong
};
// At most `most`; `all` is how many there are.
std::vector<Unsettled> unsettled(const View& view, std::size_t most, std::size_t& all);

}  // namespace reprise::story
