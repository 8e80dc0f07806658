// A real guest (ops/image) under the libvirt and local drivers together: what takes a kernel inside.
// Direct boot and BIOS boot, config drive, disks that come and go, the power button.
#include <sys/mount.h>

#include <cstdlib>

#include "agents/core/child_process.h"
#include "agents/storage/local_driver.h"
#include "tests/contract/libvirt_host.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::compute {
namespace {

const ImageId disk_image{1, 1};
const ImageId kernel_image{1, 2};
const ImageId ramdisk_image{1, 3};

// Tells on the console which disks there are, whenever that changes.
constexpr const char* disk_teller = R"(#!/bin/sh
while :; do
  now=$(for d in /sys/block/vd*; do cat $d/serial | tr -d '\n'; echo -n :; cat $d/size | tr -d '\n'; echo -n ' '; done)
  [ "$now" = "$before" ] || echo "disks $now"
  before=$now
  usleep 100000
done
)";

// The same with the name of each and the bus that it is on, as `N disks: name=serial@bus …`.
constexpr const char* place_teller = R"(#!/bin/sh
while :; do
  set -- /sys/block/vd*
  now=$(for d in $*; do p=$(readlink -f $d/device); p=${p%/virtio*}; echo -n "${d##*/}=$(head -c 18 $d/serial)@${p##*/} "; done)
  [ "$now" = "$before" ] || { echo "$# disks: $now"; echo "$# disks told"; }
  before=$now
  usleep 100000
done
)";

constexpr const char* writer = R"(#!/bin/sh
dd if=/dev/zero of=/dev/vdb bs=1M count=32 conv=fsync 2>/dev/null && echo all is written
)";

std::string image_file(ImageId id) {
  const char* folder = std::getenv("REPRISE_IMAGES");
  const std::string base =
      std::string(folder != nullptr ? folder : "/var/cache/reprise/images") + "/reprise-guest.";
  return base + (id == disk_image ? "qcow2" : id == kernel_image ? "vmlinuz" : "initrd");
}

Result<std::string> image_path(ImageId id) {
  if (access(image_file(id).c_str(), R_OK) == 0) return image_file(id);
  return Error{Errc::not_found, image_file(id) + " is not there: make it with ops/image"};
}

std::string sha512_of(const std::string& path) {
  const auto end = run_child({"sha512sum", path});
  if (!end || !end->well()) FAIL("sha512sum " << path << ": make it with ops/image");
  return end->out.substr(0, 128);
}

void must(const Status& status) {
  if (!status) FAIL(errc_name(status.error().code) << ": " << status.error().text);
}

// A node with both drivers.
class Node {
 public:
  // `elsewhere` names the file of a disk that is not in the node's storage.
  explicit Node(std::function<std::optional<std::string>(AnyId)> elsewhere = {}) : root_(temporary_folder()) {
    auto opened = storage::open_local_driver({root_ + "/store", image_path});
    if (!opened) FAIL(opened.error().text);
    storage_ = std::move(*opened);
    compute_ = std::make_unique<LibvirtHost>([this, elsewhere](LibvirtConfig& config) {
      config.image_path = image_path;
      config.disk_source = [this, elsewhere](AnyId id, Born born) {
        if (const auto file = elsewhere ? elsewhere(id) : std::nullopt)
          return storage::DiskSource{"file", *file, "raw"};
        return storage_->source(id, born);
      };
      config.open_sealed = [](ProjectId,
                              const std::vector<std::uint8_t>& sealed) -> Result<std::vector<std::uint8_t>> {
        return sealed;
      };
    });
    wakes_ = std::make_shared<Wakes>();
    driver().on_change([wakes = wakes_] { wakes->wake(); });
  }
  ~Node() {
    compute_.reset();
    fs::remove_all(root_);
  }

  Driver& driver() { return compute_->driver(); }
  LibvirtHost& host() { return *compute_; }
  storage::Driver& storage() { return *storage_; }

  Status disk(storage::Step step, AnyId id, Born born, storage::DiskKind kind, bool from_image) {
    storage::Action action;
    action.step = step;
    action.disk.id = id;
    action.disk.born = born;
    action.disk.kind = kind;
    action.disk.size_gib = 1;
    if (from_image)
      action.disk.image = storage::ImageRef{disk_image, sha512_of(image_file(disk_image)), "qcow2"};
    return storage_->perform(action);
  }
  ServerWant server() {
    ServerWant want;
    want.id = ServerId{0xcccc'0000'0000'4000, 0x8000'0000'0000'0001};
    want.born = Born{12, 0};
    want.name = "guest";
    want.ram_mib = 128;
    want.on = true;
    want.power_seq = 10;
    want.disks = {DiskLink{want.id.as<AnyId>(), want.born, true, false, "vda"}};
    want.config_drive = true;
    want.guest.hostname = "first";
    const std::string script = disk_teller;
    want.guest.user_data_sealed.assign(script.begin(), script.end());
    return want;
  }
  bool running(const ServerWant& want) {
    const auto have = driver().observe();
    if (!have) FAIL(have.error().text);
    return have->servers.at({want.id, want.born}).running;
  }
  ServerHave await(const ServerWant& want, const std::function<bool(const ServerHave&)>& done) {
    const auto deadline = Clock::now() + guest_deadline;
    for (;;) {
      const int seen = wakes_->count();
      const auto have = driver().observe();
      if (!have) FAIL(have.error().text);
      const auto& server = have->servers.at({want.id, want.born});
      if (done(server)) return server;
      if (!wakes_->wait(seen, deadline)) FAIL("nothing happened; the console: " << *driver().console(want.id, 0));
    }
  }
  // As the agent does: `again` means when woken.
  void insist(Step step, const ServerWant& want, const DiskLink& disk, const std::function<bool()>& done) {
    const auto deadline = Clock::now() + guest_deadline;
    for (;;) {
      const int seen = wakes_->count();
      if (done()) return;
      const auto status = driver().perform({step, want, disk});
      if (status || status.error().code == Errc::again) {
        if (done() || wakes_->wait(seen, deadline)) continue;
        FAIL("step " << static_cast<int>(step) << ": nothing came of it; the guest's console: "
                     << *driver().console(want.id, 0));
      }
      FAIL(status.error().text);
    }
  }

 private:
  std::string root_;
  std::unique_ptr<storage::Driver> storage_;
  std::unique_ptr<LibvirtHost> compute_;
  std::shared_ptr<Wakes> wakes_;
};

// The line that begins with `head`, the last of them.
std::string last_line(const std::string& text, const std::string& head) {
  const auto at = text.rfind(head);
  return at == std::string::npos ? "" : text.substr(at, text.find('\r', at) - at);
}

void say(ServerWant& want, const char* script) {
  want.guest.user_data_sealed.assign(script, script + std::string(script).size());
}

}  // namespace

TEST_CASE("a real guest by direct boot: config drive, disks that come and go, reboot and stop by request") {
  Node node;
  auto want = node.server();
  want.kernel = kernel_image;
  want.ramdisk = ramdisk_image;
  must(node.disk(storage::Step::create, want.disks[0].id, want.born, storage::DiskKind::boot, true));
  const DiskLink volume{AnyId{0xdada0000, 1}, Born{20, 0}, false, false, "vdb"};
  must(node.disk(storage::Step::create, volume.id, volume.born, storage::DiskKind::volume, false));
  must(node.driver().perform({Step::define, want, {}}));
  must(node.driver().perform({Step::start, want, {}}));
  node.host().await_console(want.id, "reprise-guest ready first", 1);

  const auto serial = volume.id.str().substr(0, 20) + ":2097152";
  node.host().await_console(want.id, "disks", 1);
  must(node.driver().perform({Step::attach_disk, want, volume}));
  node.host().await_console(want.id, serial, 1);
  const auto held =
      node.disk(storage::Step::remove, volume.id, volume.born, storage::DiskKind::volume, false);
  REQUIRE_FALSE(held);
  CHECK(held.error().code == Errc::conflict);

  const auto has_volume = [&] {
    const auto have = node.driver().observe();
    if (!have) FAIL(have.error().text);
    return have->servers.at({want.id, want.born}).disks.size() == 2;
  };
  node.insist(Step::detach_disk, want, volume, [&] { return !has_volume(); });
  must(node.disk(storage::Step::remove, volume.id, volume.born, storage::DiskKind::volume, false));

  want.reboot_seq = 30;
  node.insist(Step::reboot_soft, want, {}, [&] {
    return node.driver().observe()->servers.at({want.id, want.born}).reboot_seq == 30;
  });
  node.host().await_console(want.id, "reprise-guest ready first", 2);
  want.power_seq = 40;
  node.insist(Step::stop_soft, want, {}, [&] { return !node.running(want); });
  CHECK(node.driver().observe()->servers.at({want.id, want.born}).cause == StopCause::asked);
  must(node.driver().perform({Step::remove, want, {}}));
  CHECK(node.host().leftovers(want.id) == "");
  must(node.disk(storage::Step::remove, want.disks[0].id, want.born, storage::DiskKind::boot, true));
  CHECK(node.storage().observe()->disks.empty());
}

TEST_CASE("a real guest by BIOS, from a disk that stands on the cached image") {
  Node node;
  const auto want = node.server();
  must(node.disk(storage::Step::create, want.disks[0].id, want.born, storage::DiskKind::boot, true));
  must(node.driver().perform({Step::define, want, {}}));
  must(node.driver().perform({Step::start, want, {}}));
  node.host().await_console(want.id, "reprise-guest ready first", 1);
}

TEST_CASE("a guest on a network without DHCP sets the addresses that its config drive names, all of them") {
  Node node;
  REQUIRE(node.host().libvirtd().tell("ovs") == "bridged");
  auto want = node.server();
  say(want, "#!/bin/sh\nip -o addr show dev eth0 | grep -o 'inet [^ ]*'; ip route | head -n 1; cat /etc/resolv.conf\n");
  want.kernel = kernel_image;
  want.ramdisk = ramdisk_image;
  const auto ip = [](const char* text) { return *Ipv4::parse(text); };
  want.nics = {NicLink{PortId{7, 5}, Born{3, 2}, Mac{0xfa163e000001}, 1450,
                       {{ip("10.1.0.5"), 20, ip("10.1.0.1"), false, {ip("9.9.9.9")}},
                        {ip("10.9.0.6"), 24, {}, false, {}}}}};
  must(node.disk(storage::Step::create, want.disks[0].id, want.born, storage::DiskKind::boot, true));
  must(node.driver().perform({Step::define, want, {}}));
  must(node.driver().perform({Step::start, want, {}}));
  node.host().await_console(want.id, "reprise-guest ready first 10.1.0.5", 1);
  for (const auto* words : {"inet 10.1.0.5/20", "inet 10.9.0.6/24", "default via 10.1.0.1", "nameserver 9.9.9.9"})
    node.host().await_console(want.id, words, 1);
}

TEST_CASE("25 volumes attached to a real guest, each in its place, which it keeps over stop and start") {
  Node node;
  auto want = node.server();
  say(want, place_teller);
  want.kernel = kernel_image;
  want.ramdisk = ramdisk_image;
  must(node.disk(storage::Step::create, want.disks[0].id, want.born, storage::DiskKind::boot, true));
  must(node.driver().perform({Step::define, want, {}}));
  must(node.driver().perform({Step::start, want, {}}));
  node.host().await_console(want.id, "1 disks told", 1);
  std::vector<DiskLink> volumes;
  std::map<std::string, std::string> places;  // by serial: the bus
  for (unsigned i = 0; i < 25; ++i) {
    volumes.push_back({AnyId{0xdada0000, i + 1}, Born{20, i}, false, false, std::string("vd") + static_cast<char>('b' + i)});
    volumes.back().id.hi += i << 8;
    must(node.disk(storage::Step::create, volumes[i].id, volumes[i].born, storage::DiskKind::volume, false));
    must(node.driver().perform({Step::attach_disk, want, volumes[i]}));
    node.host().await_console(want.id, fmt::format("{} disks told", i + 2), 1);
    // Hot-plugged in this order, the guest's letter is the API's; the bus is that of the letter.
    const auto line = last_line(*node.driver().console(want.id, 0), fmt::format("{} disks: ", i + 2));
    places[volumes[i].id.str()] = fmt::format("{}@0000:{:02x}:00.0", volumes[i].id.str().substr(0, 18), 6 + i);
    INFO(line);
    CHECK(line.find(volumes[i].device + "=" + places[volumes[i].id.str()]) != std::string::npos);
  }
  const auto full = DiskLink{AnyId{0xeeee, 1}, Born{21, 0}, false, false, ""};
  must(node.disk(storage::Step::create, full.id, full.born, storage::DiskKind::volume, false));
  const auto refused = node.driver().perform({Step::attach_disk, want, full});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::invalid);

  const auto disks_of = [&] {
    const auto have = node.driver().observe();
    if (!have) FAIL(have.error().text);
    return have->servers.at({want.id, want.born}).disks;
  };
  for (const std::size_t gone : {1U, 11U})
    node.insist(Step::detach_disk, want, volumes[gone], [&] {
      const auto disks = disks_of();
      return std::find(disks.begin(), disks.end(), volumes[gone]) == disks.end();
    });
  volumes.erase(volumes.begin() + 11);
  volumes.erase(volumes.begin() + 1);
  want.disks.insert(want.disks.end(), volumes.begin(), volumes.end());
  CHECK(disks_of() == want.disks);
  want.power_seq = 20;
  must(node.driver().perform({Step::stop_hard, want, {}}));
  must(node.driver().perform({Step::start, want, {}}));
  CHECK(disks_of() == want.disks);
  node.host().await_console(want.id, "24 disks told", 1);  // the log is begun anew at a start
  const auto line = last_line(*node.driver().console(want.id, 0), "24 disks: ");
  INFO(line);
  char letter = 'a';  // the guest closes the gaps, but keeps the order and the buses
  for (const auto& volume : volumes)
    CHECK(line.find(fmt::format("vd{}={}", ++letter, places[volume.id.str()])) != std::string::npos);
}

TEST_CASE("a guest whose disk's file system is full stands still, says so, and goes on when there is room") {
  // A mount of this test's own, which the host below inherits.
  REQUIRE(unshare(CLONE_NEWNS) == 0);
  REQUIRE(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  const auto small = temporary_folder();
  REQUIRE(mount("tmpfs", small.c_str(), "tmpfs", 0, "size=8m") == 0);
  const auto file = small + "/volume.raw";
  std::ofstream(file).put('\0');
  fs::resize_file(file, 64 << 20);
  const DiskLink volume{AnyId{0xdada0000, 1}, Born{20, 0}, false, false, "vdb"};
  Node node([&](AnyId id) { return id == volume.id ? std::optional<std::string>(file) : std::nullopt; });
  auto want = node.server();
  say(want, writer);
  want.kernel = kernel_image;
  want.ramdisk = ramdisk_image;
  want.disks.push_back(volume);
  must(node.disk(storage::Step::create, want.disks[0].id, want.born, storage::DiskKind::boot, true));
  must(node.driver().perform({Step::define, want, {}}));
  must(node.driver().perform({Step::start, want, {}}));
  const auto paused = node.await(want, [](const ServerHave& have) { return have.pause != Pause::none; });
  CHECK(paused.running);
  CHECK(paused.pause == Pause::io_error);
  INFO(paused.paused);
  CHECK(paused.paused.find("vdb") != std::string::npos);
  CHECK(paused.paused.find(file) != std::string::npos);
  CHECK(paused.paused.find("no room left") != std::string::npos);
  // Let on without room it stops again, and whoever asks too soon is told to wait.
  must(node.driver().perform({Step::resume, want, {}}));
  node.await(want, [](const ServerHave& have) { return have.pause == Pause::io_error; });
  const auto soon = node.driver().perform({Step::resume, want, {}});
  REQUIRE_FALSE(soon);
  CHECK(soon.error().code == Errc::again);
  REQUIRE(mount(nullptr, small.c_str(), nullptr, MS_REMOUNT, "size=80m") == 0);
  node.insist(Step::resume, want, {}, [&] {
    return node.driver().observe()->servers.at({want.id, want.born}).pause == Pause::none;
  });
  node.host().await_console(want.id, "all is written", 1);
  CHECK(node.await(want, [](const ServerHave& have) { return have.pause == Pause::none; }).paused.empty());
}

}  // namespace reprise::compute
