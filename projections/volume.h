// Volumes.
//
//   creating ─VolumeReady─▶ available ─VolumeAttaching─▶ attaching ─VolumeAttached─▶ in-use
//      │                     ▲   │                           │                         │
//      │ VolumeFailed        │   │ VolumeDeleting            └──VolumeDetaching──┐     │ VolumeDetaching
//      ▼                     │   ▼                                               ▼     ▼
//    error ─────────────────▶│ deleting ─VolumeDeleted─▶ (none)                 detaching
//            VolumeDeleting  └───────────────VolumeDetached──────────────────────┘  │ VolumeDetachFailed: in-use
//
// available, in-use (and on their way) ─VolumeGone─▶ error ─VolumeFound─▶ as before: its bytes were ready, and are not there.
//
// A volume of local disks lives on one node and is attached there only; one of a storage pool is looked after by one node
// of it, and is attached on any.
#pragma once

#include "events/codec.h"
#include "projections/canonical.h"
#include "projections/meta.h"

namespace reprise {

struct State;

// What a server can have attached: /dev/vdb to /dev/vdz.
inline constexpr std::size_t volumes_per_server_max = 25;

struct Volume {
  using Key = VolumeId;
  static constexpr std::uint8_t table = 16;
  static constexpr const char* table_name = "volumes";
  enum Index : std::uint8_t { by_project = 0, by_node = 1, by_server = 2, by_deadline = 3, by_image = 4 };

  VolumeId id;
  Born born;
  ProjectId project;
  UserId user;
  std::string name;
  std::string description;
  std::uint64_t size_gib = 0;
  ImageId image;
  std::vector<std::string> metadata;
  std::string zone;
  NodeId node;                     // where its bytes are, or who looks after them
  VolumeStatus status = VolumeStatus::creating;
  std::string fault;               // why it is in error, or why it takes so long
  std::int64_t deadline_ms = 0;
  Seq want_seq = 0;                // of the event that last changed what the node's storage should do about it
  ServerId server;                 // while attaching, in-use, detaching
  std::string device;
  Seq attach_seq = 0;              // of the event that last wished it attached or not
  std::int64_t attached_ms = 0;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  bool gone = false;               // its bytes, once ready, are not there: in error, or on its way out
  bool operator==(const Volume&) const = default;

  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "project", s.project), f(4, "user", s.user), f(5, "name", s.name);
    f(6, "description", s.description), f(7, "size_gib", s.size_gib), f(8, "image", s.image), f(9, "metadata", s.metadata);
    f(10, "zone", s.zone), f(11, "node", s.node), f(12, "status", s.status), f(13, "fault", s.fault);
    f(14, "deadline_ms", s.deadline_ms), f(15, "want_seq", s.want_seq), f(16, "server", s.server), f(17, "device", s.device);
    f(18, "attach_seq", s.attach_seq), f(19, "attached_ms", s.attached_ms), f(20, "created_ms", s.created_ms);
    f(21, "updated_ms", s.updated_ms), f(22, "gone", s.gone);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_project, KeyWriter().id(project));
    if (node) emit(by_node, KeyWriter().id(node));
    if (server) emit(by_server, KeyWriter().id(server));
    if (deadline_ms) emit(by_deadline, KeyWriter().time(deadline_ms));
    if (image) emit(by_image, KeyWriter().id(image));
  }
};

// Cinder's word: creating, in-use, …
const char* volume_status_word(VolumeStatus status);

namespace volume {
void created(State&, const VolumeCreated&, const Meta&);
void ready(State&, const VolumeReady&, const Meta&);
void failed(State&, const VolumeFailed&, const Meta&);
void gone(State&, const VolumeGone&, const Meta&);
void found(State&, const VolumeFound&, const Meta&);
void overdue(State&, const VolumeOverdue&, const Meta&);
void updated(State&, const VolumeUpdated&, const Meta&);
void deleting(State&, const VolumeDeleting&, const Meta&);
void deleted(State&, const VolumeDeleted&, const Meta&);
void attaching(State&, const VolumeAttaching&, const Meta&);
void attached(State&, const VolumeAttached&, const Meta&);
void detaching(State&, const VolumeDetaching&, const Meta&);
void detached(State&, const VolumeDetached&, const Meta&);
void detach_failed(State&, const VolumeDetachFailed&, const Meta&);
void moved(State&, const VolumeMoved&, const Meta&);
}  // namespace volume

}  // namespace reprise
