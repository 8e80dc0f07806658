#include "events/print.h"

#include <flatbuffers/minireflect.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "events/refusal.h"

namespace reprise {
namespace {

using flatbuffers::ElementaryType;
using flatbuffers::TypeFunction;
using flatbuffers::TypeTable;

// What is to be printed, before it is decided how.
struct Value {
  enum class Kind { none, number, word, text, id, list, object } kind = Kind::none;
  std::string text;  // of number, word (bare in words, quoted in JSON) and text
  AnyId id;
  std::vector<std::string> names;  // of an object's values
  std::vector<Value> values;       // of list and object

  static Value number(std::string digits) { return {Kind::number, std::move(digits), {}, {}, {}}; }
  static Value word(std::string text) { return {Kind::word, std::move(text), {}, {}, {}}; }
  static Value string(std::string text) { return {Kind::text, std::move(text), {}, {}, {}}; }
  static Value of(AnyId id) { return id ? Value{Kind::id, {}, id, {}, {}} : Value{}; }
  static Value list() { return {Kind::list, {}, {}, {}, {}}; }
  static Value object() { return {Kind::object, {}, {}, {}, {}}; }
  void add(std::string name, Value value) {
    if (value.kind == Kind::none) return;
    names.push_back(std::move(name));
    values.push_back(std::move(value));
  }
};

template <class Wire>
auto unpacked(const std::uint8_t* at) {
  return flatbuffers::UnPack(*reinterpret_cast<const Wire*>(at));
}

template <class Printable>
Value spelled(const Printable& value) {
  return value ? Value::word(value.str()) : Value{};
}

Value value_of(const NicRequest& nic) {
  Value value = Value::object();
  value.add("port", Value::of(nic.port.as<AnyId>()));
  value.add("network", Value::of(nic.network.as<AnyId>()));
  value.add("address", spelled(nic.address));
  return value;
}

Value value_of(const FixedIp& fixed) {
  Value value = Value::object();
  value.add("subnet", Value::of(fixed.subnet.as<AnyId>()));
  value.add("address", spelled(fixed.address));
  return value;
}

Value value_of(const NodeVerdict& verdict) {
  Value value = Value::object();
  value.add("node", Value::of(verdict.node.as<AnyId>()));
  value.add("reason",
            Value::word(wire::EnumNamePlacementReason(static_cast<PlacementReason>(verdict.reason))));
  return value;
}

Value struct_value(const std::uint8_t* at, TypeFunction type) {
  if (type == wire::HashTypeTable) {
    const Hash hash = unpacked<wire::Hash>(at);
    return hash ? Value::word(hash.hex()) : Value{};
  }
  if (type == wire::BornTypeTable) return spelled(unpacked<wire::Born>(at));
  if (type == wire::Ipv4TypeTable) return spelled(unpacked<wire::Ipv4>(at));
  if (type == wire::MacTypeTable) return spelled(unpacked<wire::Mac>(at));
  if (type == wire::NicRequestTypeTable) return value_of(unpacked<wire::NicRequest>(at));
  if (type == wire::FixedIpTypeTable) return value_of(unpacked<wire::FixedIp>(at));
  if (type == wire::NodeVerdictTypeTable) return value_of(unpacked<wire::NodeVerdict>(at));
  if (type == wire::AddressRangeTypeTable) {
    const AddressRange range = unpacked<wire::AddressRange>(at);
    return Value::word(range.first.str() + "-" + range.last.str());
  }
  if (type == wire::PositionTypeTable) {
    const Position position = unpacked<wire::Position>(at);
    if (position.offset < 0) return {};
    return Value::word(
        fmt::format("{}/{}@{}", topic_name(position.topic), position.partition, position.offset));
  }
  return Value::of(unpacked<wire::AnyId>(at));  // all else are ids: two words
}

Value number_value(std::uint64_t raw, std::string digits, const TypeTable* names) {
  // An enum's zero shows, unless it is called none.
  if (const char* name = names ? flatbuffers::EnumName(static_cast<std::int64_t>(raw), names) : nullptr) {
    std::string_view word = name;
    if (word.ends_with('_')) word.remove_suffix(1);
    return raw == 0 && word == "none" ? Value{} : Value::word(std::string(word));
  }
  return raw == 0 ? Value{} : Value::number(std::move(digits));
}

template <class Number>
Value number_at(const std::uint8_t* at, const TypeTable* names) {
  const auto value = flatbuffers::ReadScalar<Number>(at);
  return number_value(static_cast<std::uint64_t>(value), fmt::format("{}", +value), names);
}

Value table_value(const flatbuffers::Table* table, const TypeTable* type);

Value element_value(ElementaryType kind, const std::uint8_t* at, TypeFunction type) {
  const TypeTable* table = type ? type() : nullptr;
  switch (kind) {
    case flatbuffers::ET_BOOL:
      return *at ? Value::number("true") : Value{};
    case flatbuffers::ET_UTYPE:
    case flatbuffers::ET_UCHAR:
      return number_at<std::uint8_t>(at, table);
    case flatbuffers::ET_CHAR:
      return number_at<std::int8_t>(at, table);
    case flatbuffers::ET_SHORT:
      return number_at<std::int16_t>(at, table);
    case flatbuffers::ET_USHORT:
      return number_at<std::uint16_t>(at, table);
    case flatbuffers::ET_INT:
      return number_at<std::int32_t>(at, table);
    case flatbuffers::ET_UINT:
      return number_at<std::uint32_t>(at, table);
    case flatbuffers::ET_LONG:
      return number_at<std::int64_t>(at, table);
    case flatbuffers::ET_ULONG:
      return number_at<std::uint64_t>(at, table);
    case flatbuffers::ET_STRING: {
      const auto* text = reinterpret_cast<const flatbuffers::String*>(
          at + flatbuffers::ReadScalar<flatbuffers::uoffset_t>(at));
      return Value::string(text->str());
    }
    case flatbuffers::ET_SEQUENCE:
      if (table && table->st == flatbuffers::ST_STRUCT) return struct_value(at, type);
      if (table && table->st == flatbuffers::ST_TABLE)
        return table_value(reinterpret_cast<const flatbuffers::Table*>(
                               at + flatbuffers::ReadScalar<flatbuffers::uoffset_t>(at)),
                           table);
      break;
    default:
      break;
  }
  return {};
}

// key, value, key, value … as an object.
Value paired(Value list) {
  if (list.values.size() % 2 != 0) return list;
  Value object = Value::object();
  for (std::size_t i = 0; i < list.values.size(); i += 2)
    object.add(list.values[i].text, std::move(list.values[i + 1]));
  return object;
}

// How often placement gave each reason; the index is the reason.
Value counted(const Value& list) {
  Value object = Value::object();
  for (std::size_t i = 0; i < list.values.size(); ++i)
    if (list.values[i].text != "0")
      object.add(wire::EnumNamePlacementReason(static_cast<PlacementReason>(i)), list.values[i]);
  return object;
}

Value vector_value(ElementaryType kind, const std::uint8_t* at, TypeFunction type) {
  const auto* vector = reinterpret_cast<const flatbuffers::Vector<std::uint8_t>*>(
      at + flatbuffers::ReadScalar<flatbuffers::uoffset_t>(at));
  if (vector->size() == 0) return {};
  const std::size_t size = flatbuffers::InlineSize(kind, type ? type() : nullptr);
  Value list = Value::list();
  for (std::size_t i = 0; i < vector->size(); ++i) {
    Value item = element_value(kind, vector->Data() + i * size, type);
    list.values.push_back(item.kind == Value::Kind::none ? Value::number("0") : std::move(item));
  }
  return list;
}

Value field_value(const TypeTable* type, std::size_t i, const std::uint8_t* at) {
  const auto code = type->type_codes[i];
  const auto kind = static_cast<ElementaryType>(code.base_type);
  const TypeFunction ref = code.sequence_ref >= 0 ? type->type_refs[code.sequence_ref] : nullptr;
  const std::string_view name = type->names[i];
  if (name == "password_hash" || name == "user_data_sealed" || name == "admin_pass_sealed") {
    const auto* bytes = reinterpret_cast<const flatbuffers::Vector<std::uint8_t>*>(
        at + flatbuffers::ReadScalar<flatbuffers::uoffset_t>(at));
    return bytes->size() == 0 ? Value{} : Value::word(fmt::format("({} bytes)", bytes->size()));
  }
  if (name == "refusal")
    return Value::word(refusal_name(static_cast<Refusal>(flatbuffers::ReadScalar<std::uint16_t>(at))));
  if (!code.is_repeating) {
    Value value = element_value(kind, at, ref);
    return value.kind == Value::Kind::text && value.text.empty() ? Value{} : value;
  }
  Value list = vector_value(kind, at, ref);
  if (list.kind == Value::Kind::none) return list;
  if (name == "metadata" || name == "properties" || name == "properties_set") return paired(std::move(list));
  if (name == "counts") return counted(list);
  return list;
}

// Of an update the fields that it names (events/named.h); of anything else all.
std::uint32_t named_in(const flatbuffers::Table* table, const TypeTable* type) {
  for (std::size_t i = 0; i < type->num_elems; ++i)
    if (std::string_view(type->names[i]) == "named")
      return table->GetField<std::uint32_t>(flatbuffers::FieldIndexToOffset(static_cast<flatbuffers::voffset_t>(i)), ~0u);
  return ~0u;
}

// What an update names in order to empty it.
Value emptied(ElementaryType kind, bool is_repeating) {
  if (is_repeating || kind == flatbuffers::ET_SEQUENCE) return Value::word("none");
  if (kind == flatbuffers::ET_STRING) return Value::string("");
  return Value::number(kind == flatbuffers::ET_BOOL ? "false" : "0");
}

Value table_value(const flatbuffers::Table* table, const TypeTable* type) {
  Value object = Value::object();
  const auto named = named_in(table, type);
  const auto shows = [&](std::size_t i) {
    if (named == ~0u) return std::string_view(type->names[i]) != "named";
    const std::string_view name = type->names[i];
    // What is no field of the row: whose it is, and what is set, added and removed within one.
    return i == 0 || name.ends_with("_set") || name.ends_with("_added") || name.ends_with("_removed") ||
           (name != "named" && (named >> i & 1) != 0);
  };
  for (std::size_t i = 0; i < type->num_elems; ++i) {
    if (!shows(i)) continue;
    const auto* at =
        table->GetAddressOf(flatbuffers::FieldIndexToOffset(static_cast<flatbuffers::voffset_t>(i)));
    if (!at) continue;
    std::string name = type->names[i];
    if (name.ends_with('_')) name.pop_back();
    Value value = field_value(type, i, at);
    if (value.kind == Value::Kind::none && i > 0 && named != ~0u && (named >> i & 1) != 0)
      value = emptied(static_cast<ElementaryType>(type->type_codes[i].base_type), type->type_codes[i].is_repeating);
    object.add(std::move(name), std::move(value));
  }
  return object;
}

// The body of a union as a table with every field written, defaults too: `enabled = true` shows.
template <class Union>
Value body_value(const Union& body, const TypeTable* types) {
  const auto index = static_cast<std::size_t>(body.type);
  if (index == 0 || index >= types->num_elems) return Value::object();
  flatbuffers::FlatBufferBuilder builder(512);
  builder.ForceDefaults(true);
  builder.Finish(flatbuffers::Offset<flatbuffers::Table>(body.Pack(builder).o));
  return table_value(flatbuffers::GetRoot<flatbuffers::Table>(builder.GetBufferPointer()),
                     types->type_refs[types->type_codes[index].sequence_ref]());
}

Value value_of(const Event& event) { return body_value(event.body(), wire::EventBodyTypeTable()); }
Value value_of(const Intent& intent) { return body_value(intent.body, wire::IntentBodyTypeTable()); }

Value seen(Value body, Hosts hosts) {
  if (hosts == Hosts::shown) return body;
  Value left = Value::object();
  for (std::size_t i = 0; i < body.names.size(); ++i)
    if (const auto& name = body.names[i]; name != "node" && name != "nodes" && name != "host")
      left.add(name, std::move(body.values[i]));
  return left;
}

// The name of the first field of a body's table, present or not.
template <class Union>
std::string_view first_field(const Union& body, const TypeTable* types) {
  const auto index = static_cast<std::size_t>(body.type);
  if (index == 0 || index >= types->num_elems) return {};
  const TypeTable* type = types->type_refs[types->type_codes[index].sequence_ref]();
  return type->num_elems ? type->names[0] : std::string_view{};
}

AnyId first_id(const Value& value, std::string_view name) {
  if (value.values.empty() || value.names[0] != name || value.values[0].kind != Value::Kind::id) return {};
  return value.values[0].id;
}

std::string json_of(const Value& value) {
  switch (value.kind) {
    case Value::Kind::none:
      return "null";
    case Value::Kind::number:
      return value.text;
    case Value::Kind::word:
    case Value::Kind::text:
      return json_quoted(value.text);
    case Value::Kind::id:
      return json_quoted(value.id.str());
    case Value::Kind::list:
    case Value::Kind::object:
      break;
  }
  const bool object = value.kind == Value::Kind::object;
  std::string out(1, object ? '{' : '[');
  for (std::size_t i = 0; i < value.values.size(); ++i) {
    if (i) out += ',';
    if (object) out += json_quoted(value.names[i]) + ':';
    out += json_of(value.values[i]);
  }
  return out += object ? '}' : ']';
}

bool is_bare(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != '"' && c != '=' && c != ',' && c != '(' && c != ')' &&
           c != '[' && c != ']' && c != 0x7f;
  });
}

std::string label(AnyId id, const NameOf& name_of) {
  std::string name = name_of ? name_of(id) : std::string{};
  return name.empty() ? id.str() : name;
}

std::string words_of(const Value& value, const NameOf& name_of);

std::string fields_in_words(const Value& value, const NameOf& name_of, std::size_t from = 0) {
  std::string out;
  for (std::size_t i = from; i < value.values.size(); ++i)
    out += fmt::format("{}{}={}", i > from ? " " : "",
                       is_bare(value.names[i]) ? value.names[i] : json_quoted(value.names[i]),
                       words_of(value.values[i], name_of));
  return out;
}

std::string words_of(const Value& value, const NameOf& name_of) {
  switch (value.kind) {
    case Value::Kind::none:
      return "-";
    case Value::Kind::number:
    case Value::Kind::word:
      return value.text;
    case Value::Kind::text:
      return is_bare(value.text) ? value.text : json_quoted(value.text);
    case Value::Kind::id:
      return label(value.id, name_of);
    case Value::Kind::object:
      return "(" + fields_in_words(value, name_of) + ")";
    case Value::Kind::list:
      break;
  }
  std::string out = "[";
  for (std::size_t i = 0; i < value.values.size(); ++i)
    out += (i ? "," : "") + words_of(value.values[i], name_of);
  return out + "]";
}

std::string line_of(std::string name, AnyId subject, const Value& value, const NameOf& name_of) {
  const bool bare = subject && !value.values.empty() && value.values[0].kind == Value::Kind::id &&
                    value.values[0].id == subject;
  if (bare) name += " " + label(subject, name_of);
  const std::string rest = fields_in_words(value, name_of, bare ? 1 : 0);
  return rest.empty() ? name : name + " " + rest;
}

// The length of the UTF-8 sequence that begins here; 0: none does.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                                                           : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (length == 3 && ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) >= 0xa0))) return 0;
  if (length == 4 && ((lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) >= 0x90))) return 0;
  return length;
}

}  // namespace

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const char c = text[0];
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += c == '\n'   ? "\\n"
             : c == '\t' ? "\\t"
             : c == '\r' ? "\\r"
                         : fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out += '"';
}

AnyId subject(const Event& event) {
  if (event.is<IntentRefused>()) return event.as<IntentRefused>().object;
  return first_id(value_of(event), first_field(event.body(), wire::EventBodyTypeTable()));
}

AnyId subject(const Intent& intent) {
  if (intent.object) return intent.object;
  return first_id(value_of(intent), first_field(intent.body, wire::IntentBodyTypeTable()));
}

std::string print_words(const Event& event, const NameOf& name_of, Hosts hosts) {
  return line_of(event_name(event.type()), subject(event), seen(value_of(event), hosts), name_of);
}

std::string print_words(const Intent& intent, const NameOf& name_of, Hosts hosts) {
  return line_of(intent_name(intent.type()), subject(intent), seen(value_of(intent), hosts), name_of);
}

std::string event_json(const Event& event, Hosts hosts) {
  Value value = seen(value_of(event), hosts);
  value.names.insert(value.names.begin(), "type");
  value.values.insert(value.values.begin(), Value::word(event_name(event.type())));
  return json_of(value);
}

std::string intent_json(const Intent& intent) {
  const auto text = [](const std::string& text) { return text.empty() ? Value{} : Value::string(text); };
  const auto time = [](std::int64_t ms) { return ms ? Value::number(fmt::format("{}", ms)) : Value{}; };
  Value value = Value::object();
  value.add("type", Value::word(intent_name(intent.type())));
  value.add("intent", Value::of(intent.id.as<AnyId>()));
  value.add("request_id", text(intent.request_id));
  value.add("global_request_id", text(intent.global_request_id));
  value.add("user", Value::of(intent.user.as<AnyId>()));
  value.add("project", Value::of(intent.project.as<AnyId>()));
  value.add("key", text(intent.key));
  value.add("sent_ms", time(intent.sent_ms));
  value.add("expires_ms", time(intent.expires_ms));
  value.add("client", text(intent.client));
  value.add("object", Value::of(intent.object));
  value.add("body", value_of(intent));
  return json_of(value);
}

}  // namespace reprise
