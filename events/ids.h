// Strong types for what the log names: ids, seqs, hashes, positions, addresses.
// Every id is 128 bits, given by the api (never by a fold), printed as a UUID (RFC 4122) or, for
// keystone's objects, as 32 hex digits. A default-constructed id is "none".
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace reprise {

template <class Tag>
struct Id {
  std::uint64_t hi = 0;
  std::uint64_t lo = 0;

  auto operator<=>(const Id&) const = default;
  explicit operator bool() const { return hi != 0 || lo != 0; }

  // 8-4-4-4-12 hex digits.
  std::string str() const;
  // 32 hex digits, as keystone prints its ids.
  std::string hex() const;
  // Either spelling, upper or lower case; anything else is nothing.
  static std::optional<Id> parse(std::string_view text);

  // The same 128 bits under another name, where one id space is used for two things.
  template <class Other>
  Other as() const { return Other{hi, lo}; }
};

using AnyId = Id<struct AnyTag>;
using CloudId = Id<struct CloudTag>;
using LogId = Id<struct LogTag>;
using ControllerId = Id<struct ControllerTag>;
using IntentId = Id<struct IntentTag>;
using ProjectId = Id<struct ProjectTag>;
using UserId = Id<struct UserTag>;
using RoleId = Id<struct RoleTag>;
using ServerId = Id<struct ServerTag>;
using ImageId = Id<struct ImageTag>;
using VolumeId = Id<struct VolumeTag>;
using AttachmentId = Id<struct AttachmentTag>;
using NetworkId = Id<struct NetworkTag>;
using SubnetId = Id<struct SubnetTag>;
using PortId = Id<struct PortTag>;
using NodeId = Id<struct NodeTag>;

using Seq = std::uint64_t;

// Where a thing was born: the record's seq and the event's index in it. Two things with one id are
// told apart by it.
struct Born {
  Seq seq = 0;
  std::uint32_t index = 0;

  auto operator<=>(const Born&) const = default;
  explicit operator bool() const { return seq != 0; }
  std::string str() const;  // "seq.index"
  static std::optional<Born> parse(std::string_view text);
};

// BLAKE2b-256, of a record or of a body.
struct Hash {
  std::array<std::uint8_t, 32> bytes{};

  auto operator<=>(const Hash&) const = default;
  explicit operator bool() const { return *this != Hash{}; }
  std::string hex() const;
  static std::optional<Hash> parse(std::string_view text);
};

// One entry of one topic.
enum class Topic : std::uint8_t { intents = 0, reports = 1, heartbeats = 2, events = 3 };
inline constexpr int topic_count = 4;
const char* topic_name(Topic topic);

struct Position {
  Topic topic = Topic::intents;
  std::int32_t partition = 0;
  std::int64_t offset = -1;

  auto operator<=>(const Position&) const = default;
};

// IPv4 address in host byte order; 0 is "none".
struct Ipv4 {
  std::uint32_t value = 0;

  auto operator<=>(const Ipv4&) const = default;
  explicit operator bool() const { return value != 0; }
  std::string str() const;
  static std::optional<Ipv4> parse(std::string_view text);
};

// Ethernet address in the low 48 bits; 0 is "none".
struct Mac {
  std::uint64_t value = 0;

  auto operator<=>(const Mac&) const = default;
  explicit operator bool() const { return value != 0; }
  std::string str() const;
  static std::optional<Mac> parse(std::string_view text);
};

// An inclusive range of addresses of a subnet.
struct AddressRange {
  Ipv4 first;
  Ipv4 last;

  auto operator<=>(const AddressRange&) const = default;
};

// One address of a port.
struct FixedIp {
  SubnetId subnet;
  Ipv4 address;

  auto operator<=>(const FixedIp&) const = default;
};

}  // namespace reprise

template <class Tag>
struct std::hash<reprise::Id<Tag>> {
  std::size_t operator()(const reprise::Id<Tag>& id) const noexcept { return id.lo ^ (id.hi * 0x9e3779b97f4a7c15u); }
};
template <>
struct std::hash<reprise::Hash> {
  std::size_t operator()(const reprise::Hash& hash) const noexcept;
};
