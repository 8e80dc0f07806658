#include "events/codec.h"

#include <fmt/format.h>

#include <cstring>

#include "events/hash.h"

namespace flatbuffers {

#define ID(Type) \
  reprise::wire::Type Pack(const reprise::Type& id) { return {id.hi, id.lo}; } \
  reprise::Type UnPack(const reprise::wire::Type& id) { return {id.hi(), id.lo()}; }
ID(AnyId) ID(CloudId) ID(LogId) ID(ControllerId) ID(IntentId) ID(ProjectId) ID(UserId) ID(RoleId) ID(ServerId)
ID(ImageId) ID(VolumeId) ID(NetworkId) ID(SubnetId) ID(PortId) ID(NodeId)
#undef ID

reprise::wire::Hash Pack(const reprise::Hash& hash) {
  std::uint64_t words[4];
  std::memcpy(words, hash.bytes.data(), sizeof words);
  return {words[0], words[1], words[2], words[3]};
}
reprise::Hash UnPack(const reprise::wire::Hash& hash) {
  const std::uint64_t words[4] = {hash.a(), hash.b(), hash.c(), hash.d()};
  reprise::Hash value;
  std::memcpy(value.bytes.data(), words, sizeof words);
  return value;
}
reprise::wire::Born Pack(const reprise::Born& born) { return {born.seq, born.index}; }
reprise::Born UnPack(const reprise::wire::Born& born) { return {born.seq(), born.index()}; }
reprise::wire::Position Pack(const reprise::Position& position) {
  return {position.offset, position.partition, static_cast<std::uint8_t>(position.topic)};
}
reprise::Position UnPack(const reprise::wire::Position& position) {
  return {static_cast<reprise::Topic>(position.topic()), position.partition(), position.offset()};
}
reprise::wire::Ipv4 Pack(const reprise::Ipv4& address) { return reprise::wire::Ipv4(address.value); }
reprise::Ipv4 UnPack(const reprise::wire::Ipv4& address) { return {address.value()}; }
reprise::wire::Mac Pack(const reprise::Mac& mac) { return reprise::wire::Mac(mac.value); }
reprise::Mac UnPack(const reprise::wire::Mac& mac) { return {mac.value()}; }
reprise::wire::AddressRange Pack(const reprise::AddressRange& range) { return {range.first.value, range.last.value}; }
reprise::AddressRange UnPack(const reprise::wire::AddressRange& range) { return {{range.first()}, {range.last()}}; }
reprise::wire::FixedIp Pack(const reprise::FixedIp& fixed) {
  return {fixed.subnet.hi, fixed.subnet.lo, fixed.address.value};
}
reprise::FixedIp UnPack(const reprise::wire::FixedIp& fixed) {
  return {{fixed.subnet_hi(), fixed.subnet_lo()}, {fixed.address()}};
}
reprise::wire::NicRequest Pack(const reprise::NicRequest& nic) {
  return {nic.port.hi, nic.port.lo, nic.network.hi, nic.network.lo, nic.address.value};
}
reprise::NicRequest UnPack(const reprise::wire::NicRequest& nic) {
  return {{nic.port_hi(), nic.port_lo()}, {nic.network_hi(), nic.network_lo()}, {nic.address()}};
}
reprise::wire::NodeVerdict Pack(const reprise::NodeVerdict& verdict) {
  return {verdict.node.hi, verdict.node.lo, verdict.reason};
}
reprise::NodeVerdict UnPack(const reprise::wire::NodeVerdict& verdict) {
  return {{verdict.node_hi(), verdict.node_lo()}, verdict.reason()};
}

}  // namespace flatbuffers

namespace reprise {

// The one friend of Event: makes it from a union that was read.
struct Codec {
  static Event event(const wire::Event& from) {
    Event event;
    event.body_.type = from.body_type();
    event.body_.value = wire::EventBodyUnion::UnPack(from.body(), from.body_type(), nullptr);
    return event;
  }
};

namespace {

using flatbuffers::FlatBufferBuilder;

constexpr std::size_t hash_bytes = 32;

Bytes taken(FlatBufferBuilder& builder) {
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

const std::uint8_t* data_of(std::string_view bytes) { return reinterpret_cast<const std::uint8_t*>(bytes.data()); }

template <class Root>
Result<const Root*> verified(std::string_view bytes, std::size_t max, const char* what) {
  if (bytes.size() > max)
    return Error{Errc::broken, fmt::format("{} of {} bytes is over its limit of {}", what, bytes.size(), max)};
  if (bytes.size() < 8) return Error{Errc::broken, fmt::format("{} of {} bytes is too short to be one", what, bytes.size())};
  flatbuffers::Verifier verifier(data_of(bytes), bytes.size(), 16, 1'000'000);
  if (!verifier.VerifyBuffer<Root>(nullptr))
    return Error{Errc::broken, fmt::format("{} of {} bytes does not parse", what, bytes.size())};
  return flatbuffers::GetRoot<Root>(data_of(bytes));
}

template <class Type>
auto unpack(const Type* value) {
  using Native = decltype(flatbuffers::UnPack(*value));
  if (!value) return Native{};
  Type aligned;  // the verifier does not ask where a struct begins
  std::memcpy(static_cast<void*>(&aligned), value, sizeof aligned);
  return flatbuffers::UnPack(aligned);
}
std::string text_of(const flatbuffers::String* text) { return text ? text->str() : std::string{}; }

bool known(EventType type) { return type != EventType::NONE && type <= EventType::MAX; }
bool known(IntentType type) { return type != IntentType::NONE && type <= IntentType::MAX; }

flatbuffers::Offset<wire::Event> pack(FlatBufferBuilder& builder, const Event& event) {
  const auto body = event.body().Pack(builder);
  return wire::CreateEvent(builder, event.type(), body);
}

flatbuffers::Offset<wire::Decision> pack(FlatBufferBuilder& builder, const Decision& decision) {
  std::vector<flatbuffers::Offset<wire::Event>> events;
  events.reserve(decision.events.size());
  for (const auto& event : decision.events) events.push_back(pack(builder, event));
  const auto events_at = builder.CreateVector(events);
  const auto intent_at =
      decision.intent.empty() ? 0 : builder.CreateVector(data_of(decision.intent), decision.intent.size());
  const auto position = flatbuffers::Pack(decision.position);
  const auto node = flatbuffers::Pack(decision.node);
  return wire::CreateDecision(builder, decision.cause, &position, intent_at, &node, decision.report, events_at);
}

Result<Decision> unpack_decision(const wire::Decision& from) {
  Decision decision;
  decision.cause = from.cause();
  if (from.cause() > Cause::MAX) return Error{Errc::broken, "a decision has an unknown cause"};
  decision.position = unpack(from.position());
  if (from.intent()) decision.intent.assign(reinterpret_cast<const char*>(from.intent()->data()), from.intent()->size());
  decision.node = unpack(from.node());
  decision.report = from.report();
  if (!from.events()) return decision;
  decision.events.reserve(from.events()->size());
  for (const auto* event : *from.events()) {
    if (!known(event->body_type()) || !event->body())
      return Error{Errc::broken, fmt::format("an event has the unknown type {}: is this program older than the log?",
                                             static_cast<int>(event->body_type()))};
    decision.events.push_back(Codec::event(*event));
  }
  return decision;
}

}  // namespace

Bytes encode(const Intent& intent) {
  FlatBufferBuilder builder(512);
  const auto body = intent.body.Pack(builder);
  const auto request_id = builder.CreateString(intent.request_id);
  const auto global_id = intent.global_request_id.empty() ? flatbuffers::Offset<flatbuffers::String>()
                                                         : builder.CreateString(intent.global_request_id);
  const auto key = builder.CreateString(intent.key);
  const auto client = builder.CreateString(intent.client);
  const auto id = flatbuffers::Pack(intent.id);
  const auto user = flatbuffers::Pack(intent.user);
  const auto project = flatbuffers::Pack(intent.project);
  const auto body_hash = flatbuffers::Pack(intent.body_hash);
  const auto object = flatbuffers::Pack(intent.object);
  builder.Finish(wire::CreateIntent(builder, &id, request_id, &user, &project, key, &body_hash, intent.sent_ms,
                                    intent.expires_ms, client, &object, intent.body.type, body, global_id));
  return taken(builder);
}

Result<Intent> decode_intent(std::string_view bytes) {
  const auto root = verified<wire::Intent>(bytes, intent_bytes_max, "an intent");
  if (!root) return root.error();
  const wire::Intent& from = **root;
  if (!known(from.body_type()) || !from.body())
    return Error{Errc::broken, fmt::format("an intent has the unknown type {}", static_cast<int>(from.body_type()))};
  Intent intent;
  intent.id = unpack(from.id());
  intent.request_id = text_of(from.request_id());
  intent.global_request_id = text_of(from.global_request_id());
  intent.user = unpack(from.user());
  intent.project = unpack(from.project());
  intent.key = text_of(from.key());
  intent.body_hash = unpack(from.body_hash());
  intent.sent_ms = from.sent_ms();
  intent.expires_ms = from.expires_ms();
  intent.client = text_of(from.client());
  intent.object = unpack(from.object());
  intent.body.type = from.body_type();
  intent.body.value = wire::IntentBodyUnion::UnPack(from.body(), from.body_type(), nullptr);
  return intent;
}

Bytes encode(const Report& report) {
  FlatBufferBuilder builder(512);
  const auto body = report.body.Pack(builder);
  const auto node = flatbuffers::Pack(report.node);
  builder.Finish(wire::CreateReport(builder, &node, report.incarnation, report.number, report.body.type, body));
  return taken(builder);
}

Result<Report> decode_report(std::string_view bytes) {
  const auto root = verified<wire::Report>(bytes, report_bytes_max, "a report");
  if (!root) return root.error();
  const wire::Report& from = **root;
  if (from.body_type() == wire::ReportBody::NONE || from.body_type() > wire::ReportBody::MAX || !from.body())
    return Error{Errc::broken, fmt::format("a report has the unknown type {}", static_cast<int>(from.body_type()))};
  Report report;
  report.node = unpack(from.node());
  report.incarnation = from.incarnation();
  report.number = from.number();
  report.body.type = from.body_type();
  report.body.value = wire::ReportBodyUnion::UnPack(from.body(), from.body_type(), nullptr);
  return report;
}

Bytes encode(const Heartbeat& heartbeat) {
  FlatBufferBuilder builder(128);
  builder.Finish(wire::CreateHeartbeat(builder, &heartbeat));
  return taken(builder);
}

Result<Heartbeat> decode_heartbeat(std::string_view bytes) {
  const auto root = verified<wire::Heartbeat>(bytes, 4096, "a heartbeat");
  if (!root) return root.error();
  Heartbeat heartbeat;
  (*root)->UnPackTo(&heartbeat);
  return heartbeat;
}

SealedRecord encode(const Record& record) {
  FlatBufferBuilder builder(4096);
  std::vector<flatbuffers::Offset<wire::Decision>> decisions;
  decisions.reserve(record.decisions.size());
  for (const auto& decision : record.decisions) decisions.push_back(pack(builder, decision));
  const auto decisions_at = builder.CreateVector(decisions);
  const auto positions_at = builder.CreateVectorOfNativeStructs<wire::Position>(record.positions);
  const auto log = flatbuffers::Pack(record.log);
  const auto prev = flatbuffers::Pack(record.prev);
  const auto controller = flatbuffers::Pack(record.controller);
  const auto digest = flatbuffers::Pack(record.digest);
  builder.Finish(wire::CreateRecord(builder, &log, record.level, record.seq, &prev, record.at_ms, &controller,
                                    positions_at, decisions_at, &digest));
  SealedRecord sealed{taken(builder), {}};
  sealed.hash = blake2b(sealed.bytes);
  sealed.bytes.append(reinterpret_cast<const char*>(sealed.hash.bytes.data()), hash_bytes);
  return sealed;
}

Result<Record> decode_record(std::string_view bytes, Hash* hash) {
  if (bytes.size() < hash_bytes) return Error{Errc::broken, fmt::format("a record of {} bytes is too short to be one", bytes.size())};
  const auto payload = bytes.substr(0, bytes.size() - hash_bytes);
  const Hash own = blake2b(payload);
  if (std::memcmp(own.bytes.data(), bytes.data() + payload.size(), hash_bytes) != 0)
    return Error{Errc::broken, "its bytes do not have the hash that stands at their end: they were changed"};
  const auto root = verified<wire::Record>(payload, record_bytes_max, "a record");
  if (!root) return root.error();
  const wire::Record& from = **root;
  Record record;
  record.log = unpack(from.log());
  record.level = from.level();
  record.seq = from.seq();
  record.prev = unpack(from.prev());
  record.at_ms = from.at_ms();
  record.controller = unpack(from.controller());
  if (from.positions())
    for (const auto* position : *from.positions()) record.positions.push_back(unpack(position));
  record.digest = unpack(from.digest());
  if (from.decisions()) {
    record.decisions.reserve(from.decisions()->size());
    for (const auto* decision : *from.decisions()) {
      auto unpacked = unpack_decision(*decision);
      if (!unpacked) return unpacked.error();
      record.decisions.push_back(std::move(*unpacked));
    }
  }
  if (hash) *hash = own;
  return record;
}

Bytes encode(const Event& event) {
  FlatBufferBuilder builder(256);
  builder.Finish(pack(builder, event));
  return taken(builder);
}

Result<Event> decode_event(std::string_view bytes) {
  const auto root = verified<wire::Event>(bytes, record_bytes_max, "an event");
  if (!root) return root.error();
  if (!known((*root)->body_type()) || !(*root)->body()) return Error{Errc::broken, "an event has an unknown type"};
  return Codec::event(**root);
}

const char* event_name(EventType type) {
  switch (type) {
#define EVENT(Type, handler, since) case EventType::Type: return #Type;
#include "events/catalog.def"
#undef EVENT
    case EventType::NONE: break;
  }
  return "?";
}

const char* intent_name(IntentType type) {
  switch (type) {
#define INTENT(Type, handler) case IntentType::Type: return #Type;
#include "events/catalog.def"
#undef INTENT
    case IntentType::NONE: break;
  }
  return "?";
}

std::uint16_t event_since(EventType type) {
  switch (type) {
#define EVENT(Type, handler, since) case EventType::Type: return since;
#include "events/catalog.def"
#undef EVENT
    case EventType::NONE: break;
  }
  CHECK(false);
}

}  // namespace reprise
