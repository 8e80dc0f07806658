// Bytes <-> structs of what goes through the log. Nobody else touches generated code.
//
// Payloads (ServerCreated, CreateServer, …) are FlatBuffers' object types under the name of their table;
// Event and IntentBody hold any one of them. decode_* accept any bytes: what is not exactly what it
// must be comes back as Errc::broken with the place, and nothing is read outside of the buffer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "envelope_generated.h"
#include "events/ids.h"
#include "events/result.h"
#include "events/wire_types.h"

namespace reprise {

using Bytes = std::string;

#define INTENT(Type, handler) using Type = wire::Type##T;
#define EVENT(Type, handler, since) using Type = wire::Type##T;
#include "events/catalog.def"
#undef EVENT
#undef INTENT
using AgentStarted = wire::AgentStartedT;
using Observed = wire::ObservedT;
using ServerSeen = wire::ServerSeenT;
using DiskSeen = wire::DiskSeenT;
using FenceSeen = wire::FenceSeenT;
using PortSeen = wire::PortSeenT;
using Heartbeat = wire::HeartbeatT;

using wire::Cause;
using wire::ImageStatus;
using wire::NodeState;
using wire::PlacementReason;
using wire::PortStatus;
using wire::ServerStatus;
using wire::StopCause;
using wire::TaskState;
using wire::Tenure;
using wire::Visibility;
using wire::VolumeStatus;
using EventType = wire::EventBody;
using IntentType = wire::IntentBody;

template <class T>
concept EventBody = wire::EventBodyUnionTraits<T>::enum_value != wire::EventBody::NONE;
template <class T>
concept IntentBody = wire::IntentBodyUnionTraits<T>::enum_value != wire::IntentBody::NONE;

// A fact: any one event of the catalog.
class Event {
 public:
  template <EventBody T>
  Event(T body) { body_.Set(std::move(body)); }  // NOLINT: implicit by intent, so that decide can return {ServerCreated{…}}

  EventType type() const { return body_.type; }
  template <EventBody T>
  const T& as() const {
    CHECK(body_.type == wire::EventBodyUnionTraits<T>::enum_value);
    return *static_cast<const T*>(body_.value);
  }
  template <EventBody T>
  bool is() const { return body_.type == wire::EventBodyUnionTraits<T>::enum_value; }
  const wire::EventBodyUnion& body() const { return body_; }
  bool operator==(const Event& other) const { return body_ == other.body_; }

 private:
  friend struct Codec;
  Event() = default;
  wire::EventBodyUnion body_;
};

// What a client asked. See the fields' comments in envelope.fbs.
struct Intent {
  IntentId id;
  std::string request_id;
  std::string global_request_id;
  UserId user;
  ProjectId project;
  std::string key;
  Hash body_hash;
  std::int64_t sent_ms = 0;
  std::int64_t expires_ms = 0;
  std::string client;
  AnyId object;
  wire::IntentBodyUnion body;

  IntentType type() const { return body.type; }
  template <IntentBody T>
  const T& as() const {
    CHECK(body.type == wire::IntentBodyUnionTraits<T>::enum_value);
    return *static_cast<const T*>(body.value);
  }
  template <IntentBody T>
  void set(T value) { body.Set(std::move(value)); }
};

struct Decision {
  Cause cause = Cause::controller;
  Position position;
  Bytes intent;                  // the encoded Intent, when it was one
  NodeId node;
  std::uint64_t report = 0;
  std::vector<Event> events;
  bool operator==(const Decision&) const = default;
};

struct Record {
  LogId log;
  std::uint16_t level = 0;
  Seq seq = 0;
  Hash prev;
  std::int64_t at_ms = 0;
  ControllerId controller;
  std::vector<Position> positions;
  std::vector<Decision> decisions;
  Hash digest;
  bool operator==(const Record&) const = default;
};

struct Report {
  NodeId node;
  Seq incarnation = 0;
  std::uint64_t number = 0;
  wire::ReportBodyUnion body;
};

inline constexpr std::size_t intent_bytes_max = 256 * 1024;
inline constexpr std::size_t record_bytes_max = 900 * 1024;
inline constexpr std::size_t report_bytes_max = 512 * 1024;

// A record as it stands in the log: the FlatBuffer, followed by its own BLAKE2b-256, so that a flipped
// byte in the very last record is found too. `hash` is that hash: the next record's `prev`.
struct SealedRecord {
  Bytes bytes;
  Hash hash;
};

Bytes encode(const Intent& intent);
Bytes encode(const Report& report);
Bytes encode(const Heartbeat& heartbeat);
SealedRecord encode(const Record& record);

Result<Intent> decode_intent(std::string_view bytes);
Result<Report> decode_report(std::string_view bytes);
Result<Heartbeat> decode_heartbeat(std::string_view bytes);
// Also checks the hash at the end and gives it back.
Result<Record> decode_record(std::string_view bytes, Hash* hash = nullptr);

// Bytes of one event, for golden files and size accounting.
Bytes encode(const Event& event);
Result<Event> decode_event(std::string_view bytes);

const char* event_name(EventType type);
const char* intent_name(IntentType type);
// The level at which an event came into the catalog.
std::uint16_t event_since(EventType type);

}  // namespace reprise
