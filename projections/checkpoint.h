// A checkpoint of a projection: its store as it stood at one head, from which a new reader begins near the
// end of the log and still proves itself (ops/decisions/0018).
//
//   FOLDER/SEQ-DIGEST/   20 digits, and the first 16 of the digest: the newest is the last by name
//     *.sst, CURRENT, …  RocksDB's own; hard links to the store's where the file system has them
//     files              "SIZE BLAKE2b NAME" of each of them, one a line; written last: without it there is
//     none
//
// It carries what a reader needs of all earlier records: their hashes, folded and void (the void rule), the
// history and the trail. Guarded are the files, by their hashes. Proved are the rows of its head: they are
// hashed anew, and what that makes must be the digest of the record of that seq in the log itself
// (Projection::open, check_start).
#pragma once

#include <string>
#include <vector>

#include "events/result.h"
#include "projections/store.h"

namespace reprise {

struct Checkpoint {
  std::string dir;
  Seq seq = 0;
  std::string digest;       // how it begins, in hex
  std::uint64_t bytes = 0;  // of its files; 0: not looked at
};

// Of a store that may be written to meanwhile: any thread, one at a time. What it holds was flushed when this
// was called, or a little later. One of that head that is there already is it.
Result<Checkpoint> make_checkpoint(const StoreFamilies& families, const std::string& folder);
// The newest first. A folder that is not there has none.
std::vector<Checkpoint> list_checkpoints(const std::string& folder);
// All but the newest `keep` go, and what an interrupted one left.
Status prune_checkpoints(const std::string& folder, std::size_t keep);
// Makes `dir`, which must hold no store, one that goes on from the checkpoint; the checkpoint stays as it is.
// broken: a file is not what was written (named); nothing is left in `dir` then.
Status adopt_checkpoint(const Checkpoint& checkpoint, const std::string& dir);

}  // namespace reprise
