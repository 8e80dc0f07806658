// The `local` storage driver under the drivers' contract, and what is its own: files, crashes, a full
// file system (a small tmpfs in a mount namespace of this program's own).
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sodium.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "agents/core/child_process.h"
#include "agents/storage/local_driver.h"
#include "agents/storage/plan.h"
#include "tests/contract/storage_suite.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::storage {
namespace {

namespace fs = std::filesystem;

// Once for the program: mounts made below are seen by nobody else.
void own_mounts() {
  static const bool done = [] {
    if (unshare(CLONE_NEWNS) != 0) return false;
    return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }();
  if (!done) FAIL("this test mounts a small tmpfs and needs root");
}

std::string sha512_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::array<unsigned char, crypto_hash_sha512_BYTES> digest;
  crypto_hash_sha512(digest.data(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  std::string hex;
  for (const auto byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

void run(const std::vector<std::string>& argv) {
  const auto end = run_child(argv);
  if (!end) FAIL(end.error().text);
  if (!end->well()) FAIL(argv[0] << ": " << end->words());
}

class LocalHost final : public ContractHost {
 public:
  explicit LocalHost(int tmpfs_mib = 48) {
    own_mounts();
    std::string pattern = "/tmp/reprise-storage-XXXXXX";
    root_ = mkdtemp(pattern.data());
    fs::create_directories(root_ + "/node");
    fs::create_directories(root_ + "/images");
    const auto options = fmt::format("size={}m", tmpfs_mib);
    REQUIRE(mount("reprise-test", (root_ + "/node").c_str(), "tmpfs", 0, options.c_str()) == 0);
    restart();
  }
  ~LocalHost() override {
    driver_.reset();
    for (const char* place : {"/node", "/node", "/aside"}) umount2((root_ + place).c_str(), MNT_DETACH);
    fs::remove_all(root_);
  }

  Driver& driver() override { return *driver_; }
  void restart() override {
    driver_.reset();
    LocalConfig config;
    config.directory = directory();
    config.owner = owner;
    config.record = root_ + "/record";
    config.reserve_bytes = reserve_bytes;
    config.image_path = [this](ImageId id) -> Result<std::string> {
      const auto path = image_file(id);
      if (access(path.c_str(), R_OK) == 0) return path;
      return Error{Errc::not_found, "image " + id.str() + " is not on this node"};
    };
    auto opened = open_local_driver(config);
    if (!opened) FAIL(opened.error().text);
    driver_ = std::move(*opened);
  }
  ImageRef image() override { return qcow2_image(1, "96M"); }
  ImageRef large_image() override { return qcow2_image(2, "1100M"); }
  ImageRef damaged_image() override {
    auto ref = qcow2_image(3, "96M");
    ref.sha512[0] = ref.sha512[0] == '0' ? '1' : '0';
    return ref;
  }
  ImageRef missing_image() override { return {ImageId{9, 9}, std::string(128, 'a'), "qcow2"}; }
  void fill_up() override {
    std::ofstream file(root_ + "/node/ballast", std::ios::binary);
    const std::string block(4096, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  void free_up() override { fs::remove(root_ + "/node/ballast"); }

  std::string directory() const { return root_ + "/node/store"; }
  // The file system of the disks, taken away and put back: what is on it stays.
  void unmount() {
    REQUIRE(mount((root_ + "/node").c_str(), aside().c_str(), nullptr, MS_BIND, nullptr) == 0);
    REQUIRE(umount2((root_ + "/node").c_str(), MNT_DETACH) == 0);
  }
  void mount_again() { REQUIRE(mount(aside().c_str(), (root_ + "/node").c_str(), nullptr, MS_BIND, nullptr) == 0); }
  void make_read_only(bool on) {
    const unsigned long how = on ? MS_REMOUNT | MS_RDONLY : static_cast<unsigned long>(MS_REMOUNT);
    REQUIRE(mount("", (root_ + "/node").c_str(), nullptr, how, nullptr) == 0);
  }
  std::string owner = "cloud c1 node n1";
  std::uint64_t reserve_bytes = 0;
  std::string image_file(ImageId id) const { return root_ + "/images/" + id.str(); }

  // A qcow2 whose first 2 MiB hold a pattern.
  ImageRef qcow2_image(std::uint64_t id, const std::string& size) {
    const ImageId image{9, id};
    if (!known_.contains(image)) {
      run({"qemu-img", "create", "-q", "-f", "qcow2", image_file(image), size});
      run({"qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 0 2M", image_file(image)});
      known_[image] = {image, sha512_of(image_file(image)), "qcow2"};
    }
    return known_[image];
  }
  ImageRef raw_image(std::uint64_t id, std::size_t mib) {
    const ImageId image{9, id};
    std::ofstream file(image_file(image), std::ios::binary);
    const std::string block(1 << 20, 'r');
    for (std::size_t i = 0; i < mib; ++i)
      file.write(block.data(), static_cast<std::streamsize>(block.size()));
    file.close();
    return {image, sha512_of(image_file(image)), "raw"};
  }

 private:
  std::string aside() {
    const auto path = root_ + "/aside";
    fs::create_directories(path);
    return path;
  }

  std::string root_;
  std::unique_ptr<Driver> driver_;
  std::map<ImageId, ImageRef> known_;
};

Action create(std::uint64_t id, DiskKind kind, std::uint64_t size_gib, std::optional<ImageRef> image) {
  Action action;
  action.step = Step::create;
  action.disk.id = AnyId{5, id};
  action.disk.born = Born{3, 1};
  action.disk.kind = kind;
  action.disk.backed = kind == DiskKind::boot;
  action.disk.size_gib = size_gib;
  action.disk.image = std::move(image);
  return action;
}

std::size_t entries(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("local keeps the drivers' contract") {
  driver_contract([] { return std::make_unique<LocalHost>(); });
}

TEST_CASE("local: disks hold the image's bytes, and the cache is read-only") {
  LocalHost host;
  const auto image = host.image();
  for (const auto kind : {DiskKind::boot, DiskKind::volume}) {
    const auto action = create(static_cast<std::uint64_t>(kind), kind, 1, image);
    REQUIRE(host.driver().perform(action));
    const auto source = host.driver().source(action.disk.id, action.disk.born);
    REQUIRE(source.format == "qcow2");
    run({"qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x5a 0 2M", "-c", "read -P 0 2M 64k", source.path});
    const auto check = run_child({"qemu-img", "check", "-q", source.path});
    REQUIRE(check);
    CHECK(check->well());
  }
  const auto cached = host.directory() + "/cache/" + image.id.str() + "." + image.sha512;
  struct stat info {};
  REQUIRE(stat(cached.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0444);
  CHECK(entries(host.directory() + "/tmp") == 0);
}

TEST_CASE("local: a raw image, and a disk as large as its image") {
  LocalHost host;
  const auto image = host.raw_image(20, 3);
  const auto action = create(1, DiskKind::boot, 0, image);
  REQUIRE(host.driver().perform(action));
  const auto source = host.driver().source(action.disk.id, action.disk.born);
  run({"qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x72 0 3M", source.path});
}

TEST_CASE("local: an image that names another file of the node is refused") {
  LocalHost host;
  const ImageId id{9, 30};
  const auto secret = host.raw_image(31, 1);
  run({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", host.image_file(secret.id),
       host.image_file(id)});
  const auto refused = host.driver().perform(
      create(1, DiskKind::boot, 1, ImageRef{id, sha512_of(host.image_file(id)), "qcow2"}));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::unsupported);
  const auto vmdk =
      host.driver().perform(create(1, DiskKind::boot, 1, ImageRef{secret.id, secret.sha512, "vmdk"}));
  REQUIRE_FALSE(vmdk);
  CHECK(vmdk.error().code == Errc::unsupported);
  const auto false_claim =
      host.driver().perform(create(1, DiskKind::boot, 1, ImageRef{secret.id, secret.sha512, "qcow2"}));
  REQUIRE_FALSE(false_claim);
  CHECK(false_claim.error().code == Errc::broken);
  CHECK(entries(host.directory() + "/disks") == 0);
  CHECK(entries(host.directory() + "/cache") == 0);
}

TEST_CASE("local: a volume that does not fit is refused with the figures") {
  LocalHost host(16);
  const auto image = host.raw_image(40, 12);
  const auto refused = host.driver().perform(create(1, DiskKind::volume, 1, image));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::no_space);
  CHECK(refused.error().text.find("needs") != std::string::npos);
  CHECK(refused.error().text.find("free") != std::string::npos);
  CHECK(entries(host.directory() + "/tmp") == 0);
  CHECK(entries(host.directory() + "/disks") == 0);
}

TEST_CASE("local: a disk that a guest holds open is neither removed nor grown") {
  LocalHost host;
  auto action = create(1, DiskKind::volume, 1, std::nullopt);
  REQUIRE(host.driver().perform(action));
  const auto path = host.driver().source(action.disk.id, action.disk.born).path;
  // As QEMU holds it: an open-file-description lock on the byte of a permission in use.
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 101;
  lock.l_len = 1;
  REQUIRE(fcntl(fd, F_OFD_SETLK, &lock) == 0);
  action.step = Step::remove;
  const auto removed = host.driver().perform(action);
  REQUIRE_FALSE(removed);
  CHECK(removed.error().code == Errc::conflict);
  action.step = Step::grow;
  action.disk.size_gib = 2;
  const auto grown = host.driver().perform(action);
  REQUIRE_FALSE(grown);
  CHECK(grown.error().code == Errc::conflict);
  close(fd);
  REQUIRE(host.driver().perform(action));
  action.step = Step::remove;
  REQUIRE(host.driver().perform(action));
  CHECK(entries(host.directory() + "/disks") == 0);
}

TEST_CASE("local: what is not ours is neither shown nor touched") {
  LocalHost host;
  const auto disks = host.directory() + "/disks/";
  for (const char* name : {"notes.txt", "my.qcow2", "11111111-2222-3333-4444-555555555555.qcow2"})
    std::ofstream(disks + name) << "an operator's own";
  std::ofstream(host.directory() + "/cache/base.qcow2") << "an operator's own";
  REQUIRE(host.driver().perform(create(1, DiskKind::volume, 1, std::nullopt)));
  const auto have = host.driver().observe();
  REQUIRE(have);
  CHECK(have->disks.size() == 1);
  CHECK(have->cached.empty());
  CHECK(entries(disks) == 5);
  CHECK(entries(host.directory() + "/cache") == 1);
}

TEST_CASE("local: killed in the middle of a copy, it leaves nothing behind") {
  LocalHost host(120);
  const auto image = host.raw_image(50, 40);
  const auto action = create(1, DiskKind::volume, 1, image);
  const int watch = inotify_init1(IN_CLOEXEC);
  REQUIRE(inotify_add_watch(watch, (host.directory() + "/tmp").c_str(), IN_CREATE) >= 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto done = host.driver().perform(action);
    _exit(done ? 0 : 1);
  }
  pollfd fd{watch, POLLIN, 0};
  REQUIRE(poll(&fd, 1, 30'000) == 1);
  kill(child, SIGKILL);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  close(watch);
  REQUIRE(WIFSIGNALED(status));
  host.restart();
  const auto have = host.driver().observe();
  REQUIRE(have);
  CHECK(have->disks.empty());
  CHECK(entries(host.directory() + "/tmp") == 0);
  REQUIRE(host.driver().perform(action));
  CHECK(host.driver().observe()->disks.size() == 1);
}

// What the plan would have done by itself, step by step; what stood in the way last.
Status settle(LocalHost& host, const Want& want) {
  std::set<AnyId> skip;
  Status last;
  for (;;) {
    const auto have = host.driver().observe();
    if (!have) return have.error();
    const auto action = next_action(want, *have, skip);
    if (!action) return last;
    if (auto done = host.driver().perform(*action); !done) last = done, skip.insert(action->disk.id);
  }
}

TEST_CASE("local: a folder that is not the one with its disks is left alone, whatever it is") {
  LocalHost host;
  const auto made = create(1, DiskKind::volume, 1, std::nullopt);
  REQUIRE(host.driver().perform(made));
  run({"qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 0 1M", host.driver().source(made.disk.id, made.disk.born).path});
  Want want{{made.disk.id, made.disk}};
  want.begin()->second.ready = true;
  const auto nothing_is_done = [&](Errc code) {
    const auto seen = host.driver().observe();
    REQUIRE_FALSE(seen);
    CHECK(seen.error().code == code);
    CHECK(seen.error().text.find(host.directory()) != std::string::npos);
    auto other = create(2, DiskKind::volume, 1, std::nullopt);
    for (const Step step : {Step::create, Step::grow, Step::remove, Step::evict_image}) {
      other.step = step;
      CHECK_FALSE(host.driver().perform(other));
    }
    CHECK_FALSE(fs::exists(host.directory() + "/disks/" + fs::path(host.driver().source(other.disk.id, other.disk.born).path).filename().string()));
  };
  SECTION("its file system is not mounted, while it runs and from the start on") {
    host.unmount();
    nothing_is_done(Errc::not_found);
    host.restart();
    nothing_is_done(Errc::not_found);
    CHECK_FALSE(fs::exists(host.directory()));  // nothing is made in the place where it would be mounted
    host.mount_again();
  }
  SECTION("it is another node's") {
    std::ofstream(host.directory() + "/identity") << "cloud c1 node n2";
    nothing_is_done(Errc::denied);
    host.restart();
    nothing_is_done(Errc::denied);
    std::ofstream(host.directory() + "/identity") << host.owner;
  }
  SECTION("its identity is lost") {
    fs::rename(host.directory() + "/identity", host.directory() + "/identity.lost");
    nothing_is_done(Errc::not_found);
    fs::rename(host.directory() + "/identity.lost", host.directory() + "/identity");
  }
  // And back: nothing was lost.
  REQUIRE(settle(host, want));
  CHECK(host.driver().observe()->disks.size() == 1);
  run({"qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x5a 0 1M", host.driver().source(made.disk.id, made.disk.born).path});
}

TEST_CASE("local: a folder that held disks before it was marked is marked, and one that was moved is known again") {
  LocalHost host;
  REQUIRE(host.driver().perform(create(1, DiskKind::volume, 1, std::nullopt)));
  fs::remove(host.directory() + "/identity");
  fs::remove(fs::path(host.directory()).parent_path().parent_path() / "record");
  host.restart();
  REQUIRE(host.driver().observe());
  CHECK(host.driver().observe()->disks.size() == 1);
  CHECK(fs::exists(host.directory() + "/identity"));
}

TEST_CASE("local: a disk that was ready is never made again; one whose image is not known is not made empty") {
  LocalHost host;
  auto ready = create(1, DiskKind::boot, 1, host.image()).disk;
  ready.ready = true;
  auto orphan = create(2, DiskKind::volume, 1, std::nullopt).disk;
  orphan.unmakable = "image X, which it is made from, was deleted meanwhile";
  REQUIRE(settle(host, {{ready.id, ready}, {orphan.id, orphan}}));
  CHECK(host.driver().observe()->disks.empty());
  const auto refused = host.driver().perform({.step = Step::create, .disk = orphan});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text.find(orphan.unmakable) != std::string::npos);
}

TEST_CASE("local: a disk that cannot be read is neither gone nor in the others' way") {
  LocalHost host;
  for (std::uint64_t id : {1, 2}) REQUIRE(host.driver().perform(create(id, DiskKind::volume, 1, std::nullopt)));
  const auto broken = create(1, DiskKind::volume, 1, std::nullopt).disk;
  std::ofstream(host.driver().source(broken.id, broken.born).path) << "not a disk any more";
  const auto have = host.driver().observe();
  REQUIRE(have);
  CHECK(have->disks.size() == 1);
  REQUIRE(have->troubles.contains(broken.id));
  Want want{{broken.id, broken}};
  CHECK_FALSE(next_action(want, *have));
  want.begin()->second.absent = true;  // not even that: nobody knows what it is
  CHECK_FALSE(next_action(want, *have));
}

TEST_CASE("local: a full or read-only file system is said, and nothing more") {
  LocalHost host;
  REQUIRE(host.driver().perform(create(1, DiskKind::volume, 1, std::nullopt)));
  SECTION("full") {
    host.fill_up();
    CHECK(host.driver().observe()->disks.size() == 1);
    const auto refused = host.driver().perform(create(2, DiskKind::volume, 1, host.image()));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::no_space);
    host.free_up();
  }
  SECTION("read-only") {
    host.make_read_only(true);
    CHECK(host.driver().observe()->disks.size() == 1);
    CHECK_FALSE(host.driver().perform(create(2, DiskKind::volume, 1, std::nullopt)));
    host.restart();
    CHECK(host.driver().observe()->disks.size() == 1);
    host.make_read_only(false);
  }
  REQUIRE(host.driver().perform(create(2, DiskKind::volume, 1, host.image())));
  CHECK(host.driver().observe()->disks.size() == 2);
}

TEST_CASE("local: the room of a node is what is free and what its own disks fill, less the reserve") {
  LocalHost host(3000);
  const auto empty = host.driver().observe()->room_gib;
  CHECK(empty == 2);
  std::ofstream(host.directory() + "/../foreign", std::ios::binary) << std::string(1100u << 20, 'x');
  CHECK(host.driver().observe()->room_gib == 1);  // what others fill is not ours to promise
  fs::remove(host.directory() + "/../foreign");
  REQUIRE(host.driver().perform(create(1, DiskKind::volume, 2, std::nullopt)));
  run({"qemu-io", "-f", "qcow2", "-c", "write 0 1100M", host.driver().source(AnyId{5, 1}, Born{3, 1}).path});
  CHECK(host.driver().observe()->room_gib == empty);
  host.reserve_bytes = 1ull << 30;
  host.restart();
  CHECK(host.driver().observe()->room_gib == empty - 1);
}

TEST_CASE("local: many disks of one image at once, and its removal") {
  LocalHost host(200);
  const auto image = host.image();
  std::vector<std::thread> threads;
  std::atomic<int> failed = 0;
  for (std::uint64_t id = 1; id <= 8; ++id)
    threads.emplace_back([&, id] {
      if (!host.driver().perform(create(id, id % 2 ? DiskKind::boot : DiskKind::volume, 1, image))) ++failed;
    });
  for (auto& one : threads) one.join();
  CHECK(failed == 0);
  const auto have = host.driver().observe();
  REQUIRE(have);
  CHECK(have->disks.size() == 8);
  CHECK(std::ranges::count_if(have->disks, [&](const auto& one) { return one.second.backing == image.id; }) == 4);
  CHECK(entries(host.directory() + "/cache") == 1);
  CHECK(entries(host.directory() + "/tmp") == 0);
  const auto conflict = host.driver().perform({.step = Step::evict_image, .image = image.id});
  REQUIRE_FALSE(conflict);
  CHECK(conflict.error().code == Errc::conflict);
  CHECK_FALSE(next_action({}, *have));
}

}  // namespace reprise::storage
