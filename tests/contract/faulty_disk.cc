#include "tests/contract/faulty_disk.h"

#include <rocksdb/file_system.h>

namespace reprise::contract {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;
using Fault = FaultyDisk::Fault;

struct Switch {
  std::shared_ptr<std::atomic<Fault>> fault;
  std::shared_ptr<std::atomic<int>> syncs;
};

class FaultyFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultyFile(std::unique_ptr<rocksdb::FSWritableFile>&& file, Switch s)
      : FSWritableFileOwnerWrapper(std::move(file)), switch_(std::move(s)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    switch (*switch_.fault) {
      case Fault::full:
        (void)target()->Append(Slice(data.data(), data.size() / 2), options, debug);
        return IOStatus::NoSpace("the test's disk is full");
      case Fault::gone:
        return IOStatus::IOError("the test's disk is gone");
      default:
        return target()->Append(data, options, debug);
    }
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return synced(target()->Sync(options, debug));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return synced(target()->Fsync(options, debug));
  }

 private:
  IOStatus synced(IOStatus status) {
    ++*switch_.syncs;
    if (*switch_.fault == Fault::none) return status;
    return *switch_.fault == Fault::full ? IOStatus::NoSpace("the test's disk is full")
                                         : IOStatus::IOError("the test's disk fails");
  }

  const Switch switch_;
};

class FaultyFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit FaultyFileSystem(Switch s)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), switch_(std::move(s)) {}
  const char* Name() const override { return "faulty"; }

  IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) override {
    if (*switch_.fault == Fault::gone) return IOStatus::IOError("the test's disk is gone");
    auto status = target()->NewWritableFile(name, options, file, debug);
    if (status.ok()) *file = std::make_unique<FaultyFile>(std::move(*file), switch_);
    return status;
  }

 private:
  const Switch switch_;
};

}  // namespace

FaultyDisk::FaultyDisk()
    : env_(rocksdb::NewCompositeEnv(std::make_shared<FaultyFileSystem>(Switch{fault_, syncs_}))) {}

}  // namespace reprise::contract
