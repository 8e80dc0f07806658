// The storage agent's side of the boundary: which disks a node should hold, which it has, and the
// single steps between.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "agents/core/driver.h"
#include "events/ids.h"

namespace reprise::storage {

// An image's bytes: named by id and by content, so that a cached copy can be proved to be it.
struct ImageRef {
  ImageId id;
  std::string sha512;        // hex, of the bytes as uploaded
  std::string disk_format;   // raw, qcow2, …
  auto operator<=>(const ImageRef&) const = default;
};

enum class DiskKind : std::uint8_t { boot = 0, volume = 1 };

struct DiskWant {
  AnyId id;                  // the server's id (boot disk) or the volume's
  Born born;
  Seq since = 0;
  bool absent = false;       // must not be here: only id, born and since count then
  DiskKind kind = DiskKind::boot;
  std::uint64_t size_gib = 0;
  std::optional<ImageRef> image;  // what it is filled with; none: empty
  bool ready = false;        // an event called it so: when it is not there it is gone, and is never made again
  std::string unmakable;     // why it cannot be made: what it is to be filled with is not known any more; empty: it can
  bool backed = true;        // may stand on a cached image (boot disk); a volume is whole of its own
  Seq identity = 0;          // under which the pool is written to; 0: the node's own disks
  auto operator<=>(const DiskWant&) const = default;
};

// A whole disk. One that is half made is never shown: it is made under a temporary name.
struct DiskHave {
  AnyId id;
  Born born;
  DiskKind kind = DiskKind::boot;
  std::uint64_t size_gib = 0;
  ImageId backing;           // the cached image that it stands on; none: it is whole of its own
  auto operator<=>(const DiskHave&) const = default;
};

// A node that is lost: no client that calls itself by this identity or a former one of that node may write to the pool
// any more, now or ever (ceph: osd blocklist).
struct FenceWant {
  NodeId node;
  Seq identity = 0;          // of the event that gave it to the node: those that it had before are smaller
  Seq lost = 0;              // of the event by which it is lost: the order that this is
  auto operator<=>(const FenceWant&) const = default;
};

struct Have {
  std::map<std::pair<AnyId, Born>, DiskHave> disks;
  bool shared = false;                        // they are in a pool that other nodes see too, wished here or not
  std::map<NodeId, Seq> fences;               // of that pool: up to which identity each node is shut out
  std::map<AnyId, std::string> troubles;      // of disks by whose name something is here, and what it is cannot be seen: why
  std::map<ImageId, std::string> cached;      // image -> sha512 of the copy that boot disks stand on
  std::uint64_t free_gib = 0;                 // of the file system or pool
  std::uint64_t room_gib = 0;                 // what our disks may fill in all: free, and what they fill now, less a reserve; 0: not known

  // Is that node's client shut out of the pool under this identity?
  bool shuts_out(NodeId node, Seq identity) const {
    const auto at = fences.find(node);
    return at != fences.end() && identity <= at->second;
  }
  bool operator==(const Have&) const = default;
};

using Want = std::map<AnyId, DiskWant>;
using Fences = std::map<NodeId, FenceWant>;

enum class Step : std::uint8_t { create, grow, remove, evict_image, fence };
const char* step_name(Step step);

struct Action {
  Step step = Step::create;
  DiskWant disk;             // create, grow, remove
  ImageId image;             // evict_image
  FenceWant fence;           // fence
  bool operator==(const Action&) const = default;
};

// How a hypervisor on this node opens a disk.
struct DiskSource {
  std::string type;          // "file" (rbd later)
  std::string path;          // absolute path
  std::string format;        // qcow2, raw
};

class Driver : public reprise::Driver<Have, Action> {
 public:
  // A pure function of the driver's configuration: true also before the disk is made.
  virtual DiskSource source(AnyId id, Born born) const = 0;
};

// Where an image's bytes are on this node: a readable path, or why not (kernel_id, ramdisk_id and
// the image cache use it).
using ImagePath = std::function<Result<std::string>(ImageId id)>;

}  // namespace reprise::storage
