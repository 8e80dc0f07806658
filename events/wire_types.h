// Gives FlatBuffers' structs their C++ types: generated objects hold reprise's own ids. Only codec.cc
// and generated code need this.
#pragma once

#include "events/ids.h"

namespace reprise {

struct NicRequest {
  PortId port;
  NetworkId network;  // none: `port` exists already
  Ipv4 address;       // none: any
  auto operator<=>(const NicRequest&) const = default;
};

struct NodeVerdict {
  NodeId node;
  std::uint8_t reason = 0;  // PlacementReason
  auto operator<=>(const NodeVerdict&) const = default;
};

}  // namespace reprise

#define REPRISE_WIRE_STRUCTS(X) \
  X(AnyId) X(CloudId) X(LogId) X(ControllerId) X(IntentId) X(ProjectId) X(UserId) X(RoleId) X(ServerId) \
  X(ImageId) X(VolumeId) X(NetworkId) X(SubnetId) X(PortId) X(NodeId) X(Hash) X(Born) X(Position) X(Ipv4) \
  X(Mac) X(AddressRange) X(FixedIp) X(NicRequest) X(NodeVerdict)

namespace reprise::wire {
#define X(Type) struct Type;
REPRISE_WIRE_STRUCTS(X)
#undef X
}  // namespace reprise::wire

namespace flatbuffers {
#define X(Type) \
  reprise::wire::Type Pack(const reprise::Type& value); \
  reprise::Type UnPack(const reprise::wire::Type& value);
REPRISE_WIRE_STRUCTS(X)
#undef X
}  // namespace flatbuffers
