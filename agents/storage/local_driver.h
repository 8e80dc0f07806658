// Storage driver `local`: qcow2 files in one directory of the node.
//
//   disks/<id>.<seq>.<index>.qcow2      a whole disk; its name is its identity
//   disks/<id>.<seq>.<index>.volume     beside it when the disk is a volume, not a boot disk
//   cache/<image>.<sha512>              the verified, read-only copy that boot disks stand on
//   tmp/                                what is being made; after a crash it is swept away
//   identity                            whose disks these are: "cloud ID node ID"
//
// Promises: a disk that is shown is whole and on stable storage. A full file system gives no_space
// with what is needed and what is free, and leaves nothing behind; so much of it as is reserved is never asked for. A disk that
// a guest holds open is neither removed nor grown (conflict). Images are raw or qcow2 without backing or data files: others
// could name any file of the node (unsupported). A folder without our identity, once it had it, is not ours: it is another, or
// its file system is not mounted; nothing is made or looked at there (not_found, says what to do), from the start on and while
// it runs. Calls come from any thread, for a disk one at a time.
#pragma once

#include <memory>
#include <string>

#include "agents/storage/driver.h"

namespace reprise::storage {

struct LocalConfig {
  std::string directory;  // absolute; made if it is not there
  ImagePath image_path;
  std::string owner;      // what its `identity` says: of this cloud and node
  std::string record;     // a file elsewhere that remembers that the folder was made, and where; empty: nothing does
  std::uint64_t reserve_bytes = 0;  // of its file system, left free
};

Result<std::unique_ptr<Driver>> open_local_driver(LocalConfig config);

}  // namespace reprise::storage
