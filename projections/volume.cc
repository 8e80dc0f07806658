#include "projections/volume.h"

#include "projections/state.h"

namespace reprise {

const char* volume_status_word(VolumeStatus status) {
  switch (status) {
    case VolumeStatus::creating:
      return "creating";
    case VolumeStatus::available:
      return "available";
    case VolumeStatus::attaching:
      return "attaching";
    case VolumeStatus::in_use:
      return "in-use";
    case VolumeStatus::detaching:
      return "detaching";
    case VolumeStatus::deleting:
      return "deleting";
    case VolumeStatus::error:
      return "error";
  }
  return "?";
}

}  // namespace reprise

namespace reprise::volume {

void created(State& s, const VolumeCreated& e, const Meta& m) {
  s.volumes.insert({.id = e.id, .born = m.born, .project = e.project, .user = e.user, .name = e.name,
                    .description = e.description, .size_gib = e.size_gib, .image = e.image, .metadata = e.metadata,
                    .zone = e.zone, .node = e.node, .deadline_ms = e.deadline_ms, .want_seq = m.born.seq,
                    .created_ms = m.at_ms, .updated_ms = m.at_ms});
}

void ready(State& s, const VolumeReady& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  CHECK(volume.status == VolumeStatus::creating);
  volume.status = VolumeStatus::available;
  volume.deadline_ms = 0;
  volume.fault.clear();
  volume.updated_ms = m.at_ms;
}

void failed(State& s, const VolumeFailed& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.status = VolumeStatus::error;
  volume.gone = false;
  volume.fault = e.reason;
  volume.deadline_ms = 0;
  volume.want_seq = m.born.seq;
  volume.updated_ms = m.at_ms;
}

void gone(State& s, const VolumeGone& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  CHECK(volume.status != VolumeStatus::creating && volume.status != VolumeStatus::deleting);
  volume.status = VolumeStatus::error;
  volume.gone = true;
  volume.fault = e.reason;
  volume.deadline_ms = 0;
  volume.updated_ms = m.at_ms;
}

void found(State& s, const VolumeFound& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  CHECK(volume.gone);
  volume.gone = false;
  if (volume.status == VolumeStatus::error) {
    volume.status = volume.server ? VolumeStatus::in_use : VolumeStatus::available;
    volume.fault.clear();
  }
  volume.updated_ms = m.at_ms;
}

void overdue(State& s, const VolumeOverdue& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.fault = e.reason;
  volume.deadline_ms = e.deadline_ms;
  volume.updated_ms = m.at_ms;
}

void updated(State& s, const VolumeUpdated& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.name = e.name;
  volume.description = e.description;
  volume.updated_ms = m.at_ms;
}

void deleting(State& s, const VolumeDeleting& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.status = VolumeStatus::deleting;
  volume.gone = false;
  volume.deadline_ms = e.deadline_ms;
  volume.want_seq = m.born.seq;
  volume.updated_ms = m.at_ms;
}

void deleted(State& s, const VolumeDeleted& e, const Meta&) { s.volumes.erase(e.id); }

void attaching(State& s, const VolumeAttaching& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  CHECK(volume.status == VolumeStatus::available);
  volume.status = VolumeStatus::attaching;
  volume.server = e.server;
  volume.device = e.device;
  volume.attach_seq = m.born.seq;
  volume.deadline_ms = e.deadline_ms;
  volume.fault.clear();
  volume.updated_ms = m.at_ms;
  s.servers.edit(e.server).want_seq = m.born.seq;
}

void attached(State& s, const VolumeAttached& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.status = VolumeStatus::in_use;
  volume.attached_ms = m.at_ms;
  volume.deadline_ms = 0;
  volume.fault.clear();
  volume.updated_ms = m.at_ms;
}

void detaching(State& s, const VolumeDetaching& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.status = VolumeStatus::detaching;
  volume.attach_seq = m.born.seq;
  volume.deadline_ms = e.deadline_ms;
  volume.fault = e.reason;
  volume.updated_ms = m.at_ms;
  s.servers.edit(volume.server).want_seq = m.born.seq;
}

void detached(State& s, const VolumeDetached& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.status = volume.gone ? VolumeStatus::error : VolumeStatus::available;
  volume.server = {};
  volume.device.clear();
  volume.attached_ms = 0;
  volume.deadline_ms = 0;
  volume.updated_ms = m.at_ms;
}

void detach_failed(State& s, const VolumeDetachFailed& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.status = volume.gone ? VolumeStatus::error : VolumeStatus::in_use;
  volume.attach_seq = m.born.seq;
  volume.deadline_ms = 0;
  volume.fault = e.reason;
  volume.updated_ms = m.at_ms;
  s.servers.edit(volume.server).want_seq = m.born.seq;
}

void moved(State& s, const VolumeMoved& e, const Meta& m) {
  Volume& volume = s.volumes.edit(e.id);
  volume.node = e.node;
  volume.want_seq = m.born.seq;
  volume.updated_ms = m.at_ms;
}

}  // namespace reprise::volume
