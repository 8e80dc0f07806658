#include "agents/storage/local_driver.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>

#include "agents/core/child_process.h"
#include "agents/storage/durable_file.h"
#include "agents/storage/image_cache.h"
#include "agents/storage/qcow2_header.h"

namespace reprise::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t gib = 1ull << 30;
constexpr std::uint64_t size_gib_max = 1ull << 22;       // 4 EiB: the sizes below fit in 64 bits
constexpr std::uint64_t empty_qcow2_bytes = 1ull << 20;  // its tables; more than it ever takes
constexpr std::string_view disk_suffix = ".qcow2";
constexpr std::string_view volume_suffix = ".volume";

using DiskKey = std::pair<AnyId, Born>;

// The disk that a file in disks/ belongs to, by its name.
std::optional<DiskKey> parse_name(const std::string& name, std::string_view suffix) {
  if (name.size() < 37 + suffix.size() || name[36] != '.' || !name.ends_with(suffix)) return std::nullopt;
  const auto id = AnyId::parse(name.substr(0, 36));
  const auto born = Born::parse(name.substr(37, name.size() - 37 - suffix.size()));
  if (!id || !born) return std::nullopt;
  return DiskKey{*id, *born};
}

std::string disk_words(const DiskWant& disk) {
  return fmt::format("{} {} (born {})", disk.kind == DiskKind::boot ? "boot disk of" : "volume",
                     disk.id.str(), disk.born.str());
}

class LocalDriver final : public Driver {
 public:
  explicit LocalDriver(LocalConfig config)
      : config_(std::move(config)), directory_(config_.directory), cache_(directory_, config_.image_path, config_.reserve_bytes) {}

  Status begin();
  // Nothing here changes by itself: all that happens, happens inside perform().
  void on_change(std::function<void()>) override {}
  Result<Have> observe() override;
  Status perform(const Action& action) override;
  DiskSource source(AnyId id, Born born) const override {
    return {"file", stem(id, born) + std::string(disk_suffix), "qcow2"};
  }

 private:
  std::string stem(AnyId id, Born born) const {
    return fmt::format("{}/disks/{}.{}", directory_, id.str(), born.str());
  }
  Result<std::set<std::string>> disk_files() const;
  Status is_ours() const;
  Status claim();
  void sweep();
  Result<DiskHave> look_at(const DiskKey& key, const std::string& name, bool volume) const;
  Status make(const DiskWant& disk);
  Status create(const DiskWant& disk);
  Status fill(const DiskWant& disk, const std::string& temporary);
  Status fill_from_image(const DiskWant& disk, const std::string& temporary);
  Status grow(const DiskWant& disk);
  Status remove(const DiskWant& disk);
  Status evict(ImageId image);
  Status qemu_img(std::vector<std::string> arguments, const std::string& what) const;
  Result<std::uint64_t> converted_bytes(const CachedImage& image, const std::string& format) const;

  const LocalConfig config_;
  const std::string directory_;
  ImageCache cache_;
  std::mutex beginning_;
  bool begun_ = false;  // it was ours once, and what a former process left is swept away
};

std::string slurp(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Status write_whole(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".new";
  std::ofstream file(temporary, std::ios::trunc);
  file << text;
  file.close();
  if (!file) return system_error("writing " + temporary, errno);
  return publish(temporary, path);
}

// Whose the folder is. A file system that is not mounted leaves an empty folder behind: only that it once was ours tells that.
Status LocalDriver::is_ours() const {
  const std::string here = slurp(directory_ + "/identity");
  if (here == config_.owner) return {};
  if (!here.empty())
    return {Errc::denied, fmt::format("{} holds the disks of another ({}), not of {}: nothing is done there; configure this node's own folder "
                                      "([local] directory)", directory_, here, config_.owner)};
  const std::string made = config_.record.empty() ? directory_ : slurp(config_.record);
  return {Errc::not_found, fmt::format("{} is not the folder that this node's disks are in (it lacks their file identity; they were in {}): is its "
                                       "file system mounted? To begin with an empty folder and without them, remove {}", directory_, made,
                                       config_.record)};
}

// The folder is made and marked as ours, if it never was. Tried until it is well: the disk may be full, or read-only, for now.
Status LocalDriver::claim() {
  const bool marked = slurp(directory_ + "/identity") == config_.owner;
  std::error_code error;
  const bool others = fs::exists(directory_ + "/identity", error);
  const bool was_made = !config_.record.empty() && fs::exists(config_.record, error);
  if (!marked && (others || was_made)) return is_ours();
  // Others may pass through, not list: libvirt may run guests under a user of their own.
  for (const char* folder : {"", "/disks", "/cache", "/tmp"}) {
    const auto path = directory_ + folder;
    const bool there = fs::is_directory(path, error);
    if (!there && (fs::create_directories(path, error), error)) return system_error("making " + path, error.value());
    if (!there && *folder != 0 && chmod(path.c_str(), 0711) != 0) return system_error("protecting " + path, errno);
  }
  if (!marked)
    if (auto done = write_whole(directory_ + "/identity", config_.owner); !done) return done;
  if (config_.record.empty() || slurp(config_.record) == directory_) return {};
  return write_whole(config_.record, directory_);
}

Result<std::set<std::string>> LocalDriver::disk_files() const {
  std::set<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(directory_ + "/disks", error);
  for (; !error && entries != fs::directory_iterator{}; entries.increment(error))
    names.insert(entries->path().filename().string());
  if (error)
    return Error{Errc::not_found, fmt::format("cannot list {}/disks: {}; is its file system mounted?",
                                              directory_, error.message())};
  return names;
}

// What a crash left: everything in tmp/, and marks of volumes that are not there. Once, before anything is made. What cannot be
// swept (a file system that became read-only) is in nobody's way.
void LocalDriver::sweep() {
  std::error_code error, ignored;
  for (fs::directory_iterator entries(directory_ + "/tmp", error); !error && entries != fs::directory_iterator{}; entries.increment(error))
    fs::remove_all(entries->path(), ignored);
  const auto names = disk_files();
  if (!names) return;
  for (const auto& name : *names)
    if (parse_name(name, volume_suffix) &&
        !names->contains(name.substr(0, name.size() - volume_suffix.size()) + std::string(disk_suffix)))
      unlink((directory_ + "/disks/" + name).c_str());
}

// Well: the folder is ours. Begun once, and looked at each time.
Status LocalDriver::begin() {
  std::lock_guard lock(beginning_);
  if (begun_) return is_ours();
  if (auto claimed = claim(); !claimed) return claimed;
  sweep();
  begun_ = true;
  return {};
}

Result<DiskHave> LocalDriver::look_at(const DiskKey& key, const std::string& name, bool volume) const {
  const auto header = read_qcow2_header(directory_ + "/disks/" + name);
  if (!header) return header.error();
  const auto& backing = header->backing_file;
  return DiskHave{.id = key.first, .born = key.second, .kind = volume ? DiskKind::volume : DiskKind::boot,
                  .size_gib = header->virtual_bytes / gib, .backing = image_of_cache_name(backing.substr(backing.rfind('/') + 1))};
}

Result<Have> LocalDriver::observe() {
  if (auto ours = begin(); !ours) return ours.error();
  const auto names = disk_files();
  if (!names) return names.error();
  Have have;
  std::uint64_t filled = 0;
  for (const auto& name : *names) {
    struct stat info {};
    if (stat((directory_ + "/disks/" + name).c_str(), &info) == 0) filled += static_cast<std::uint64_t>(info.st_blocks) * 512;
    const auto key = parse_name(name, disk_suffix);
    if (!key) continue;
    const bool volume = names->contains(name.substr(0, name.size() - disk_suffix.size()) + std::string(volume_suffix));
    auto disk = look_at(*key, name, volume);
    // Named like ours, and damaged, or not to be read just now: that is not the same as not being there.
    if (!disk && disk.error().code != Errc::not_found) have.troubles[key->first] = disk.error().text + "; mend it, or move it away";
    if (disk) have.disks[*key] = std::move(*disk);
  }
  auto cached = cache_.list();
  if (!cached) return cached.error();
  have.cached = std::move(*cached);
  const auto free = free_bytes(directory_);
  if (!free) return free.error();
  have.free_gib = *free / gib;
  const std::uint64_t all = *free + filled;
  have.room_gib = (all - std::min(all, config_.reserve_bytes)) / gib;
  return have;
}

Status LocalDriver::perform(const Action& action) {
  if (auto ours = begin(); !ours) return ours;
  switch (action.step) {
    case Step::create:
      return create(action.disk);
    case Step::grow:
      return grow(action.disk);
    case Step::remove:
      return remove(action.disk);
    case Step::evict_image:
      return evict(action.image);
    case Step::fence:
      break;  // nobody shares these disks: nobody is asked
  }
  return {Errc::unsupported,
          fmt::format("storage step {} is not known to this version", static_cast<int>(action.step))};
}

Status LocalDriver::qemu_img(std::vector<std::string> arguments, const std::string& what) const {
  arguments.insert(arguments.begin(), "qemu-img");
  const auto end = run_child(arguments);
  if (!end) return {end.error().code, fmt::format("{}: {} (package qemu-utils)", what, end.error().text)};
  if (end->well()) return {};
  const auto free = free_bytes(directory_);
  if (end->err.find("No space left") != std::string::npos || end->err.find("quota") != std::string::npos)
    return {Errc::no_space,
            fmt::format("{}: no space is left in {} ({} free): free some space or add a disk ({})", what,
                        directory_, free ? human_bytes(*free) : "?", end->words())};
  if (end->err.find("lock") != std::string::npos)
    return {Errc::denied, fmt::format("{}: held by another process: {}", what, end->words())};
  return {Errc::broken, fmt::format("{}: qemu-img {}: {}", what, arguments[1], end->words())};
}

// How much a whole copy of the image takes.
Result<std::uint64_t> LocalDriver::converted_bytes(const CachedImage& image,
                                                   const std::string& format) const {
  const auto end =
      run_child({"qemu-img", "measure", "--output=json", "-f", format, "-O", "qcow2", image.path});
  if (!end) return end.error();
  boost::system::error_code error;
  const auto answer = boost::json::parse(end->out, error);
  const auto* required = error || !answer.is_object() ? nullptr : answer.as_object().if_contains("required");
  if (!end->well() || required == nullptr || !required->is_int64())
    return Error{Errc::broken, fmt::format("qemu-img measure {}: {}", image.path, end->words())};
  return static_cast<std::uint64_t>(required->as_int64());
}

Status LocalDriver::fill_from_image(const DiskWant& disk, const std::string& temporary) {
  const auto what = disk_words(disk);
  const auto image = cache_.get(*disk.image);
  if (!image) return {image.error().code, fmt::format("{}: {}", what, image.error().text)};
  // A flavor with a disk of 0 means: as large as the image.
  const auto bytes = disk.size_gib == 0 ? image->virtual_bytes : disk.size_gib * gib;
  if (bytes < image->virtual_bytes)
    return {Errc::invalid,
            fmt::format("{}: image {} unpacks to {}, more than the disk's {} GiB: ask for a larger disk",
                        what, disk.image->id.str(), human_bytes(image->virtual_bytes), disk.size_gib)};
  const auto& format = disk.image->disk_format;
  if (disk.backed) {
    if (auto room = require_space(directory_, empty_qcow2_bytes + config_.reserve_bytes, what); !room) return room;
    // Relative, so that the whole directory can be moved; tmp/ and disks/ are equally deep.
    return qemu_img({"create", "-q", "-f", "qcow2", "-F", format, "-b", "../cache/" + image->name, temporary,
                     std::to_string(bytes)},
                    what);
  }
  const auto needed = converted_bytes(*image, format);
  if (!needed) return {needed.error().code, fmt::format("{}: {}", what, needed.error().text)};
  if (auto room = require_space(directory_, *needed + empty_qcow2_bytes + config_.reserve_bytes, what); !room) return room;
  if (auto made = qemu_img({"convert", "-q", "-f", format, "-O", "qcow2", image->path, temporary}, what);
      !made)
    return made;
  if (bytes == image->virtual_bytes) return {};
  return qemu_img({"resize", "-q", "-f", "qcow2", temporary, std::to_string(bytes)}, what);
}

Status LocalDriver::fill(const DiskWant& disk, const std::string& temporary) {
  if (disk.image) return fill_from_image(disk, temporary);
  const auto what = disk_words(disk);
  if (disk.size_gib == 0)
    return {Errc::invalid, what + ": an empty disk of 0 GiB: give it a size or an image"};
  if (auto room = require_space(directory_, empty_qcow2_bytes + config_.reserve_bytes, what); !room) return room;
  return qemu_img({"create", "-q", "-f", "qcow2", temporary, std::to_string(disk.size_gib * gib)}, what);
}

Status LocalDriver::create(const DiskWant& disk) {
  auto made = make(disk);
  for (const auto& left : {std::string(), std::string(volume_suffix)})
    if (!made) unlink(fmt::format("{}/tmp/{}.{}{}", directory_, disk.id.str(), disk.born.str(), left).c_str());
  return made;
}

Status LocalDriver::make(const DiskWant& disk) {
  const auto base = stem(disk.id, disk.born);
  const auto target = base + std::string(disk_suffix);
  const auto mark = base + std::string(volume_suffix);
  const auto what = disk_words(disk);
  if (!disk.unmakable.empty()) return {Errc::not_found, fmt::format("{}: {}", what, disk.unmakable)};
  if (disk.size_gib > size_gib_max)
    return {Errc::invalid, fmt::format("{}: {} GiB is more than {} GiB, the largest disk", what,
                                       disk.size_gib, size_gib_max)};
  if (access(target.c_str(), F_OK) == 0) {
    if (auto header = read_qcow2_header(target); !header)
      return {Errc::broken,
              fmt::format("{}: {}; it was damaged from outside: move it away", what, header.error().text)};
    const auto there = access(mark.c_str(), F_OK) == 0 ? DiskKind::volume : DiskKind::boot;
    if (there != disk.kind)
      return {Errc::exists, fmt::format("{}: {} is a disk of the other kind", what, target)};
    return {};
  }
  const auto temporary = fmt::format("{}/tmp/{}.{}", directory_, disk.id.str(), disk.born.str());
  auto made = fill(disk, temporary);
  // The mark comes first: a mark alone is swept away, a volume without one would be shown as a boot disk.
  if (made && disk.kind == DiskKind::volume) {
    const auto mark_temporary = temporary + std::string(volume_suffix);
    const int fd = open(mark_temporary.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) made = system_error("making " + mark_temporary, errno);
    if (fd >= 0) close(fd);
    if (made) made = publish(mark_temporary, mark);
  }
  if (made && chmod(temporary.c_str(), 0600) != 0) made = system_error("protecting " + temporary, errno);
  if (made) made = publish(temporary, target);
  return made;
}

Status LocalDriver::grow(const DiskWant& disk) {
  const auto path = stem(disk.id, disk.born) + std::string(disk_suffix);
  const auto what = disk_words(disk);
  if (disk.size_gib > size_gib_max)
    return {Errc::invalid, fmt::format("{}: {} GiB is more than {} GiB, the largest disk", what,
                                       disk.size_gib, size_gib_max)};
  const auto header = read_qcow2_header(path);
  if (!header) return {header.error().code, fmt::format("{}: {}", what, header.error().text)};
  if (header->virtual_bytes >= disk.size_gib * gib) return {};
  if (held_by_guest(path))
    return {Errc::conflict,
            what + ": a guest has it open: stop the server or detach the volume, then grow it"};
  if (auto room = require_space(directory_, empty_qcow2_bytes + config_.reserve_bytes, what); !room) return room;
  if (auto grown = qemu_img({"resize", "-q", "-f", "qcow2", path, std::to_string(disk.size_gib * gib)}, what);
      !grown)
    return grown;
  return sync_path(path);
}

Status LocalDriver::remove(const DiskWant& disk) {
  const auto base = stem(disk.id, disk.born);
  const auto path = base + std::string(disk_suffix);
  if (held_by_guest(path))
    return {Errc::conflict,
            disk_words(disk) + ": a guest has it open: stop the server or detach the volume first"};
  // The disk before its mark: a volume must not look like a boot disk in between.
  for (const auto& file : {path, base + std::string(volume_suffix)})
    if (unlink(file.c_str()) != 0 && errno != ENOENT) return system_error("removing " + file, errno);
  return sync_path(directory_ + "/disks");
}

Status LocalDriver::evict(ImageId image) {
  const auto names = disk_files();
  if (!names) return names.error();
  for (const auto& name : *names) {
    if (!parse_name(name, disk_suffix)) continue;
    const auto header = read_qcow2_header(directory_ + "/disks/" + name);
    if (!header) continue;
    const auto& backing = header->backing_file;
    if (image_of_cache_name(backing.substr(backing.rfind('/') + 1)) == image)
      return {Errc::conflict,
              fmt::format("image {} cannot leave the cache: disk {} stands on it", image.str(), name)};
  }
  return cache_.evict(image);
}

}  // namespace

Result<std::unique_ptr<Driver>> open_local_driver(LocalConfig config) {
  if (config.directory.empty() || config.directory[0] != '/')
    return Error{Errc::invalid,
                 fmt::format("storage directory '{}' is not an absolute path", config.directory)};
  if (sodium_init() < 0) return Error{Errc::unsupported, "libsodium cannot start on this machine"};
  auto driver = std::make_unique<LocalDriver>(std::move(config));
  (void)driver->begin();  // what is wrong is said by observe(), for as long as it is so
  return std::unique_ptr<Driver>(std::move(driver));
}

}  // namespace reprise::storage
