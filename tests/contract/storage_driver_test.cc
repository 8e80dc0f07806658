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

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "agents/core/child_process.h"
#include "agents/storage/local_driver.h"
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
    umount2((root_ + "/node").c_str(), MNT_DETACH);
    fs::remove_all(root_);
  }

  Driver& driver() override { return *driver_; }
  void restart() override {
    driver_.reset();
    LocalConfig config;
    config.directory = directory();
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

}  // namespace reprise::storage
