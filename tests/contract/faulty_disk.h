// A disk for RocksDB that fails when it is told to: beneath the embedded log in its tests.
#pragma once

#include <atomic>
#include <memory>

#include <rocksdb/env.h>

namespace reprise::contract {

class FaultyDisk {
 public:
  enum class Fault {
    none,
    full,        // half of the bytes get there, then there is no space
    sync_fails,  // the bytes get there, and nobody knows whether they stay
    gone,        // nothing can be opened or written
  };

  FaultyDisk();
  rocksdb::Env* env() { return env_.get(); }
  void set(Fault fault) { *fault_ = fault; }
  // How often a file was synced.
  int syncs() const { return *syncs_; }

 private:
  std::shared_ptr<std::atomic<Fault>> fault_ = std::make_shared<std::atomic<Fault>>(Fault::none);
  std::shared_ptr<std::atomic<int>> syncs_ = std::make_shared<std::atomic<int>>(0);
  std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace reprise::contract
