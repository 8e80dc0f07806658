// A disk for RocksDB that fails when it is told to: beneath the embedded log and the projection's store in
// their tests. What is not RocksDB's (the marks of the log's folder) goes past it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include <rocksdb/env.h>

#include "tests/sim/prng.h"

namespace reprise::contract {

class FaultyDisk {
 public:
  enum class Fault {
    none,
    full,        // half of the bytes get there, then there is no space
    sync_fails,  // the bytes get there, and nobody knows whether they stay
    gone,        // nothing can be changed any more
    read_only,   // the same, and it says why
    kills,       // half of the bytes get there, then the process is killed
  };

  // `loses_power`: it remembers what was not synced, for lose_power().
  explicit FaultyDisk(bool loses_power = false);
  ~FaultyDisk();
  rocksdb::Env* env() { return env_.get(); }
  void set(Fault fault);
  // From the `changes`th change on: a write, a sync, a file made, renamed or removed.
  void set_after(std::uint64_t changes, Fault fault);
  // How often a file was synced.
  int syncs() const;

  // Once it is `gone`, and all that used it is closed or never will be: leaves what a machine finds that had
  // lost its power. Of the bytes that were not synced some are there, the rest is cut off or zero; of the files
  // made, renamed and removed in a folder that was not synced since, the first ones.
  void lose_power(sim::Prng& prng);

 private:
  struct Platter;
  class File;
  class Folder;
  class Files;
  const std::shared_ptr<Platter> platter_;
  std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace reprise::contract
