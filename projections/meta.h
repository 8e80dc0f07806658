// What a fold may know beside the event itself: where in the log it stands, and whose intent it answers.
#pragma once

#include "events/codec.h"

namespace reprise {

struct Meta {
  Born born;                       // seq of the record, index of the event in it
  std::int64_t at_ms = 0;          // log time
  Cause cause = Cause::controller;
  const Intent* intent = nullptr;  // when an intent caused it
  NodeId node;                     // when a report of that node caused it
};

}  // namespace reprise
