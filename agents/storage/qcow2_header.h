// The first bytes of a qcow2 file, as docs/interop/qcow2.txt of QEMU 7.2 lays them out. Read straight
// from the file, so that looking at a thousand disks starts no thousand processes. Safe while a guest
// writes to the disk: the fields read here change only on resize.
#pragma once

#include <cstdint>
#include <string>

#include "events/result.h"

namespace reprise::storage {

struct Qcow2Header {
  std::uint64_t virtual_bytes = 0;
  std::string backing_file;    // empty: stands on nothing
  bool external_data = false;  // its data is in another file
};

// not_found: no such file; broken: it is not a qcow2.
Result<Qcow2Header> read_qcow2_header(const std::string& path);

// Whether a process (a running guest) holds QEMU's lock on the disk at `path`.
bool held_by_guest(const std::string& path);

}  // namespace reprise::storage
