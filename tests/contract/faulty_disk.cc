#include "tests/contract/faulty_disk.h"

#include <rocksdb/file_system.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <vector>

namespace reprise::contract {
namespace {

namespace fs = std::filesystem;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;
using Fault = FaultyDisk::Fault;

std::string normal(const std::string& path) { return fs::path(path).lexically_normal(); }
std::string folder_of(const std::string& path) { return fs::path(path).parent_path(); }

IOStatus failure(Fault fault) {
  switch (fault) {
    case Fault::full:
      return IOStatus::NoSpace("the test's disk is full");
    case Fault::read_only:
      return IOStatus::IOError("the test's disk", "Read-only file system");
    case Fault::gone:
      return IOStatus::IOError("the test's disk is gone");
    default:
      return IOStatus::IOError("the test's disk fails");
  }
}

// A full disk still renames and removes, one that does not sync does everything else.
bool refuses_changes(Fault fault) { return fault == Fault::gone || fault == Fault::read_only; }

}  // namespace

struct FaultyDisk::Platter {
  explicit Platter(bool loses_power) : loses_power(loses_power) {}

  struct Written {
    std::uint64_t size = 0;
    std::uint64_t synced = 0;
  };
  // A name in a folder that came, went or moved. `before`: where the file is kept that it had before.
  struct Renaming {
    std::string from, to, before;
  };

  const bool loses_power;
  std::atomic<Fault> fault = Fault::none;
  std::atomic<int> syncs = 0;
  std::shared_mutex power;  // shared by every change that is under way
  std::mutex mutex;         // of what follows
  std::uint64_t left = 0;
  Fault next = Fault::none;
  std::map<std::string, Written> files;
  std::map<std::string, std::vector<Renaming>> folders;  // since they were synced
  std::uint64_t kept = 0;

  // Called before each change: what it meets.
  Fault change() {
    const std::lock_guard lock(mutex);
    if (left > 0 && --left == 0) fault = next;
    return fault;
  }
  static void end_if_killed(Fault met) {
    if (met == Fault::kills) ::kill(::getpid(), SIGKILL);
  }
  void wrote(const std::string& path, std::uint64_t bytes) {
    const std::lock_guard lock(mutex);
    files[path].size += bytes;
  }
  void synced(const std::string& path) {
    const std::lock_guard lock(mutex);
    files[path].synced = files[path].size;
  }
  void made(const std::string& path) {
    if (!loses_power) return;
    const std::lock_guard lock(mutex);
    files[path] = {};
    folders[folder_of(path)].push_back({"", path, ""});
  }
  // Keeps the file that has that name now: a second name for it, outside of the folder.
  std::string keep(const std::string& path) {
    if (!loses_power || !fs::exists(path)) return "";
    const auto graveyard = fs::path(folder_of(path)).parent_path() / "graveyard";
    fs::create_directories(graveyard);
    const std::lock_guard lock(mutex);
    const std::string name = graveyard / std::to_string(++kept);
    fs::create_hard_link(path, name);
    return name;
  }
  void renamed(const std::string& from, const std::string& to, std::string before) {
    if (!loses_power) return;
    const std::lock_guard lock(mutex);
    if (!to.empty()) files[to] = files[from];
    files.erase(from);
    folders[folder_of(from)].push_back({from, to, std::move(before)});
  }
  void folder_synced(const std::string& folder) {
    const std::lock_guard lock(mutex);
    for (const auto& one : folders[folder])
      if (!one.before.empty()) fs::remove(one.before);
    folders.erase(folder);
  }
};

class FaultyDisk::File final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(std::unique_ptr<rocksdb::FSWritableFile>&& file, std::string path, std::shared_ptr<Platter> platter)
      : FSWritableFileOwnerWrapper(std::move(file)), path_(std::move(path)), platter_(std::move(platter)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const std::shared_lock under_way(platter_->power);
    const auto met = platter_->change();
    if (met == Fault::none || met == Fault::sync_fails) return append(data, options, debug);
    if (met == Fault::full || met == Fault::kills)
      (void)append(Slice(data.data(), data.size() / 2), options, debug);
    Platter::end_if_killed(met);
    return failure(met);
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return sync([&] { return target()->Sync(options, debug); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return sync([&] { return target()->Fsync(options, debug); });
  }

 private:
  IOStatus append(const Slice& data, const IOOptions& options, IODebugContext* debug) {
    auto status = target()->Append(data, options, debug);
    if (status.ok()) platter_->wrote(path_, data.size());
    return status;
  }
  template <class F>
  IOStatus sync(F&& really) {
    ++platter_->syncs;
    const std::shared_lock under_way(platter_->power);
    const auto met = platter_->change();
    Platter::end_if_killed(met);
    if (met != Fault::none) return failure(met);
    auto status = really();
    if (status.ok()) platter_->synced(path_);
    return status;
  }

  const std::string path_;
  const std::shared_ptr<Platter> platter_;
};

class FaultyDisk::Folder final : public rocksdb::FSDirectoryWrapper {
 public:
  Folder(std::unique_ptr<rocksdb::FSDirectory>&& folder, std::string path, std::shared_ptr<Platter> platter)
      : FSDirectoryWrapper(std::move(folder)), path_(std::move(path)), platter_(std::move(platter)) {}
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return sync([&] { return FSDirectoryWrapper::Fsync(options, debug); });
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& what) override {
    return sync([&] { return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, what); });
  }

 private:
  template <class F>
  IOStatus sync(F&& really) {
    const std::shared_lock under_way(platter_->power);
    const auto met = platter_->change();
    Platter::end_if_killed(met);
    if (met != Fault::none) return failure(met);
    auto status = really();
    if (status.ok()) platter_->folder_synced(path_);
    return status;
  }

  const std::string path_;
  const std::shared_ptr<Platter> platter_;
};

class FaultyDisk::Files final : public rocksdb::FileSystemWrapper {
 public:
  explicit Files(std::shared_ptr<Platter> platter)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), platter_(std::move(platter)) {}
  const char* Name() const override { return "faulty"; }

  IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) override {
    const std::shared_lock under_way(platter_->power);
    if (const auto met = meet(); refuses_changes(met)) return failure(met);
    auto status = target()->NewWritableFile(name, options, file, debug);
    if (!status.ok()) return status;
    platter_->made(normal(name));
    *file = std::make_unique<File>(std::move(*file), normal(name), platter_);
    return status;
  }
  IOStatus NewDirectory(const std::string& name, const IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* folder, IODebugContext* debug) override {
    auto status = target()->NewDirectory(name, options, folder, debug);
    if (status.ok()) *folder = std::make_unique<Folder>(std::move(*folder), normal(name), platter_);
    return status;
  }
  IOStatus DeleteFile(const std::string& name, const IOOptions& options, IODebugContext* debug) override {
    const std::shared_lock under_way(platter_->power);
    if (const auto met = meet(); refuses_changes(met)) return failure(met);
    auto kept = platter_->keep(name);
    auto status = target()->DeleteFile(name, options, debug);
    if (status.ok()) platter_->renamed(normal(name), "", std::move(kept));
    return status;
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    const std::shared_lock under_way(platter_->power);
    if (const auto met = meet(); refuses_changes(met)) return failure(met);
    auto kept = platter_->keep(to);
    auto status = target()->RenameFile(from, to, options, debug);
    if (status.ok()) platter_->renamed(normal(from), normal(to), std::move(kept));
    return status;
  }

 private:
  Fault meet() {
    const auto met = platter_->change();
    Platter::end_if_killed(met);
    return met;
  }

  const std::shared_ptr<Platter> platter_;
};

FaultyDisk::FaultyDisk(bool loses_power)
    : platter_(std::make_shared<Platter>(loses_power)),
      env_(rocksdb::NewCompositeEnv(std::make_shared<Files>(platter_))) {}
FaultyDisk::~FaultyDisk() = default;

void FaultyDisk::set(Fault fault) {
  const std::lock_guard lock(platter_->mutex);
  platter_->left = 0;
  platter_->fault = fault;
}

void FaultyDisk::set_after(std::uint64_t changes, Fault fault) {
  const std::lock_guard lock(platter_->mutex);
  platter_->left = changes;
  platter_->next = fault;
}

int FaultyDisk::syncs() const { return platter_->syncs; }

void FaultyDisk::lose_power(sim::Prng& prng) {
  const std::unique_lock nothing_under_way(platter_->power);
  const std::lock_guard lock(platter_->mutex);
  for (const auto& [path, written] : platter_->files) {
    if (written.synced == written.size || !fs::exists(path)) continue;
    const auto left = static_cast<std::uint64_t>(prng.between(static_cast<std::int64_t>(written.synced),
                                                              static_cast<std::int64_t>(written.size)));
    const bool nothing = prng.chance(400);
    fs::resize_file(path, nothing ? written.synced : left);
    // A write-ahead log may have its size before its data: that reads as zeros.
    if (nothing && path.ends_with(".log") && prng.chance(500)) fs::resize_file(path, written.size);
  }
  for (auto& [folder, changes] : platter_->folders) {
    const auto kept = prng.below(changes.size() + 1);
    for (; changes.size() > kept; changes.pop_back()) {
      const auto& last = changes.back();
      if (!last.from.empty() && !last.to.empty()) fs::rename(last.to, last.from);
      else if (!last.to.empty()) fs::remove(last.to);
      if (!last.before.empty()) fs::rename(last.before, last.to.empty() ? last.from : last.to);
    }
    for (const auto& [from, to, before] : changes)
      if (!before.empty()) fs::remove(before);
  }
  platter_->files.clear();
  platter_->folders.clear();
}

}  // namespace reprise::contract
