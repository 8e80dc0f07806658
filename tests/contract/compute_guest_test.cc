// A real guest (ops/image) under the libvirt and local drivers together: what takes a kernel inside.
// Direct boot and BIOS boot, config drive, disks that come and go, the power button.
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
  Node() : root_(temporary_folder()) {
    auto opened = storage::open_local_driver({root_ + "/store", image_path});
    if (!opened) FAIL(opened.error().text);
    storage_ = std::move(*opened);
    compute_ = std::make_unique<LibvirtHost>([this](LibvirtConfig& config) {
      config.image_path = image_path;
      config.disk_source = [this](AnyId id, Born born) { return storage_->source(id, born); };
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
    want.disks = {DiskLink{want.id.as<AnyId>(), want.born, true, false}};
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

}  // namespace

TEST_CASE("a real guest by direct boot: config drive, disks that come and go, reboot and stop by request") {
  Node node;
  auto want = node.server();
  want.kernel = kernel_image;
  want.ramdisk = ramdisk_image;
  must(node.disk(storage::Step::create, want.disks[0].id, want.born, storage::DiskKind::boot, true));
  const DiskLink volume{AnyId{0xdada0000, 1}, Born{20, 0}, false, false};
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

}  // namespace reprise::compute
