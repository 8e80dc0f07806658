// Events with a value in every field, made through the schemas' own tables: the same for ever for the same
// event and field, so that a golden file can be held against what it must mean.
#pragma once

#include "events/codec.h"

namespace reprise::testing {

// Fields 0 … fields_max-1 set, those behind left at their defaults.
Event sample_event(EventType type, std::size_t fields_max = SIZE_MAX);
// How many fields the encoded event has, the ones left out at the end not counted.
std::size_t fields_of(std::string_view bytes);

}  // namespace reprise::testing
