#include "tests/unit/sample_events.h"

#include <flatbuffers/minireflect.h>
#include <fmt/format.h>

#include <cstring>

namespace reprise::testing {
namespace {

using flatbuffers::ElementaryType;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::TypeTable;

// The envelope's two fields (envelope.fbs); its C++ is the codec's alone.
constexpr flatbuffers::voffset_t type_at = 4, body_at = 6;

// Small, never zero, and its own for each event, field and place in it.
std::uint64_t sample_number(std::size_t event, std::size_t field, std::size_t place) {
  return 1 + (event * 31 + field * 7 + place) % 120;
}

const TypeTable* table_of(EventType type) {
  const TypeTable* all = wire::EventBodyTypeTable();
  return all->type_refs[all->type_codes[static_cast<std::size_t>(type)].sequence_ref]();
}

// Bytes of one scalar or struct, members at their offsets.
std::string sample_inline(ElementaryType kind, const TypeTable* type, std::size_t event, std::size_t field,
                          std::size_t place) {
  const bool is_struct = kind == flatbuffers::ET_SEQUENCE && type && type->st == flatbuffers::ST_STRUCT;
  std::string bytes(flatbuffers::InlineSize(kind, type), '\0');
  if (!is_struct) {
    std::uint64_t value = sample_number(event, field, place);
    if (kind == flatbuffers::ET_BOOL) value = 1;
    else if (type) value = static_cast<std::uint64_t>(type->num_elems - 1);  // an enum's last name
    std::memcpy(bytes.data(), &value, bytes.size());
    return bytes;
  }
  for (std::size_t i = 0; i < type->num_elems; ++i) {
    const auto member = sample_inline(static_cast<ElementaryType>(type->type_codes[i].base_type), nullptr,
                                      event, field, place + i);
    std::memcpy(bytes.data() + type->values[i], member.data(), member.size());
  }
  return bytes;
}

std::size_t alignment_of(ElementaryType kind, const TypeTable* type) {
  if (kind != flatbuffers::ET_SEQUENCE || !type) return flatbuffers::InlineSize(kind, type);
  std::size_t most = 1;
  for (std::size_t i = 0; i < type->num_elems; ++i)
    most = std::max(
        most, flatbuffers::InlineSize(static_cast<ElementaryType>(type->type_codes[i].base_type), nullptr));
  return most;
}

std::string sample_text(std::size_t event, std::size_t field, std::size_t place) {
  return fmt::format("text-{}-{}-{}", event, field, place);
}

// Strings and vectors must stand before their table; 0: the field is inline.
flatbuffers::uoffset_t add_outside(FlatBufferBuilder& builder, ElementaryType kind, bool many,
                                   const TypeTable* type, std::size_t event, std::size_t field) {
  if (kind == flatbuffers::ET_STRING && !many) return builder.CreateString(sample_text(event, field, 0)).o;
  if (!many) return 0;
  constexpr std::size_t count = 2;
  if (kind == flatbuffers::ET_STRING)
    return builder.CreateVectorOfStrings({sample_text(event, field, 0), sample_text(event, field, 1)}).o;
  const std::size_t size = flatbuffers::InlineSize(kind, type);
  builder.StartVector(count * size / alignment_of(kind, type), alignment_of(kind, type));
  for (std::size_t i = count; i > 0; --i) {
    const auto bytes = sample_inline(kind, type, event, field, i - 1);
    builder.PushBytes(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  return builder.EndVector(count);
}

}  // namespace

Event sample_event(EventType type, std::size_t fields_max) {
  const TypeTable* table = table_of(type);
  const auto event = static_cast<std::size_t>(type);
  const std::size_t fields = std::min(fields_max, table->num_elems);
  FlatBufferBuilder builder;
  builder.ForceDefaults(true);
  const auto ref = [&](std::size_t i) {
    const auto code = table->type_codes[i];
    return code.sequence_ref >= 0 ? table->type_refs[code.sequence_ref]() : nullptr;
  };
  const auto kind = [&](std::size_t i) {
    return static_cast<ElementaryType>(table->type_codes[i].base_type);
  };
  std::vector<flatbuffers::uoffset_t> outside(fields);
  for (std::size_t i = 0; i < fields; ++i)
    outside[i] = add_outside(builder, kind(i), table->type_codes[i].is_repeating, ref(i), event, i);
  const auto start = builder.StartTable();
  for (std::size_t i = 0; i < fields; ++i) {
    const auto at = flatbuffers::FieldIndexToOffset(static_cast<flatbuffers::voffset_t>(i));
    if (outside[i]) {
      builder.AddOffset(at, flatbuffers::Offset<void>(outside[i]));
      continue;
    }
    const auto bytes = sample_inline(kind(i), ref(i), event, i, 0);
    builder.StartStruct(alignment_of(kind(i), ref(i)));
    builder.PushBytes(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    builder.AddStructOffset(at, builder.EndStruct());
  }
  const flatbuffers::Offset<void> body(builder.EndTable(start));
  const auto envelope = builder.StartTable();
  builder.AddElement(type_at, type, EventType::NONE);
  builder.AddOffset(body_at, body);
  builder.Finish(flatbuffers::Offset<flatbuffers::Table>(builder.EndTable(envelope)));
  auto decoded = decode_event({reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()});
  CHECK(decoded.ok());
  return std::move(*decoded);
}

std::size_t fields_of(std::string_view bytes) {
  const auto* event = flatbuffers::GetRoot<flatbuffers::Table>(bytes.data());
  const auto* body = event->GetPointer<const flatbuffers::Table*>(body_at);
  return (flatbuffers::ReadScalar<flatbuffers::voffset_t>(body->GetVTable()) - 4u) / 2u;
}

}  // namespace reprise::testing
