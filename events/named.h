// What an update intent names, and nothing else (design, 3): bit i of its `named` is the field with id i. What is not named
// is as the row has it when the intent is decided, so that two updates of different fields never undo one another.
// An intent of before the mask names all of its fields.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstdint>
#include <optional>
#include <utility>

namespace reprise {

// `field`: a VT_ constant of wire::Update…Named (events/schema/split.py).
constexpr std::uint32_t bit_of(flatbuffers::voffset_t field) { return 1u << ((field - 4u) / 2u); }

template <class Update>
bool is_named(const Update& update, flatbuffers::voffset_t field) {
  return (update.named & bit_of(field)) != 0;
}

template <class Update, class Field, class Value>
void name(Update& update, flatbuffers::voffset_t field, Field& into, Value&& value) {
  into = std::forward<Value>(value);
  update.named |= bit_of(field);
}

template <class Update, class Field, class Value>
void name_if(Update& update, flatbuffers::voffset_t field, Field& into, std::optional<Value>&& given) {
  if (given) name(update, field, into, *std::move(given));
}

// For decide(): the row's value under what was not named.
template <class Update, class Field, class Value>
void unless_named(Update& update, flatbuffers::voffset_t field, Field& into, const Value& has) {
  if (!is_named(update, field)) into = has;
}

}  // namespace reprise
