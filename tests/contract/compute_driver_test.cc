// The `libvirt` compute driver under the drivers' contract, on a libvirtd of the test's own, and what
// is its own: console logs, config drives, a libvirtd that hangs.

#include <filesystem>
#include <future>

#include "agents/compute/kvm_probe.h"
#include "agents/core/child_process.h"
#include "tests/contract/compute_suite.h"
#include "tests/contract/libvirt_host.h"
#include "tests/contract/wakes.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::compute {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

void must(const Status& status) {
  if (!status) FAIL(errc_name(status.error().code) << ": " << status.error().text);
}

std::string iso_file(const std::string& iso, const std::string& path) {
  const auto end = run_child({"isoinfo", "-R", "-x", path, "-i", iso});
  if (!end) FAIL(end.error().text);
  return end->out;
}

}  // namespace

TEST_CASE("libvirt keeps the drivers' contract") {
  driver_contract([] { return std::make_unique<LibvirtHost>(); });
}

TEST_CASE("libvirt: the console log, kept within its limit") {
  // Automatic: whether or not KVM works on this machine, the test's libvirtd does not have it.
  LibvirtHost host([](LibvirtConfig& config) { config.virtualization = Virtualization::automatic; });
  const auto want = host.server(1);
  CHECK_FALSE(host.driver().console(want.id, 0));
  must(host.driver().perform({Step::define, want, {}}));
  REQUIRE(host.driver().console(want.id, 0));
  CHECK(host.driver().console(want.id, 0)->empty());
  must(host.driver().perform({Step::start, want, {}}));
  host.await_guest(want.id);
  const auto last = host.driver().console(want.id, 7);
  REQUIRE(last);
  CHECK(*last == "ready\r\n");
}

TEST_CASE("libvirt: what the guest learns from its config drive") {
  LibvirtHost host;
  auto want = host.server(1);
  want.config_drive = true;
  want.nics = {NicLink{PortId{0xabcdef0123456789, 5}, Born{3, 2}, Mac{0xfa163e000001}, 1450}};
  want.guest.hostname = "web-1";
  want.guest.metadata = {"role", "web \"front\"", "empty", ""};
  want.guest.key_name = "me";
  want.guest.public_key = "ssh-ed25519 AAAA me@there";
  want.guest.user_data_sealed = {'!', '#'};
  want.guest.admin_pass_sealed = {'e', 'm', 'a', 's', 'e', 's'};
  must(host.driver().perform({Step::define, want, {}}));
  const auto iso = host.folder_of(want) + "/config.iso";
  CHECK((fs::status(iso).permissions() & fs::perms::all) == (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(iso_file(iso, "/openstack/latest/user_data") == "#!");
  CHECK(iso_file(iso, "/openstack/latest/meta_data.json").find(R"("admin_pass":"sesame")") != std::string::npos);
  const auto meta = iso_file(iso, "/openstack/latest/meta_data.json");
  for (const auto* words :
       {R"("hostname":"web-1")", R"("role":"web \"front\"")", R"("public_keys":{"me":"ssh-ed25519)",
        "\"uuid\":\"aaaa0000-0000-4000-8000-000000000001\""})
    CHECK(meta.find(words) != std::string::npos);
  CHECK(iso_file(iso, "/openstack/latest/network_data.json").find("fa:16:3e:00:00:01") != std::string::npos);
  CHECK(fs::is_empty(host.root() + "/state/scratch"));
  const auto have = host.driver().observe();
  REQUIRE(have);
  const auto& server = have->servers.at({want.id, want.born});
  CHECK(server.nics == want.nics);
  CHECK(server.disks == want.disks);

  auto locked = host.server(2);
  locked.config_drive = true;
  locked.guest.user_data_sealed = {'x'};
  const auto refused = host.driver().perform({Step::define, locked, {}});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::denied);
  CHECK(refused.error().text.find("key was destroyed") != std::string::npos);
  CHECK(host.driver().observe()->servers.size() == 1);
  CHECK(host.leftovers(locked.id) == "");
  CHECK(fs::exists(iso));
}

TEST_CASE("libvirt: a server's NIC is on the bridge while it runs, under its port's id, and only then") {
  LibvirtHost host;
  REQUIRE(host.libvirtd().tell("ovs") == "bridged");
  auto want = host.server(1);
  want.nics = {NicLink{PortId{0xabcdef0123456789, 5}, Born{3, 2}, Mac{0xfa163e000001}, 1450}};
  must(host.driver().perform({Step::define, want, {}}));
  CHECK(host.libvirtd().tell("ports") == "");
  must(host.driver().perform({Step::start, want, {}}));
  CHECK(host.driver().observe()->servers.at({want.id, want.born}).nics == want.nics);
  const auto tap = tap_name(want.nics[0].port);
  CHECK(tap == "tapabcdef01234");
  CHECK(host.libvirtd().tell("ports") == tap);
  CHECK(host.libvirtd().tell("iface " + tap) == "\"" + want.nics[0].port.str() + "\" 1450");
  must(host.driver().perform({Step::remove, want, {}}));
  CHECK(host.libvirtd().tell("ports") == "");
}

TEST_CASE("libvirt: a QEMU that is told to quit is not a guest that powers off") {
  LibvirtHost host;
  const auto want = host.server(1);
  const auto wakes = std::make_shared<Wakes>();
  host.driver().on_change([wakes] { wakes->wake(); });
  must(host.driver().perform({Step::define, want, {}}));
  must(host.driver().perform({Step::start, want, {}}));
  host.libvirtd().tell("end-guest reprise-" + want.id.str());
  const auto deadline = Clock::now() + guest_deadline;
  for (bool running = true; running;) {
    const int seen = wakes->count();
    const auto have = host.driver().observe();
    REQUIRE(have);
    const auto& server = have->servers.at({want.id, want.born});
    running = server.running;
    if (!running) CHECK(server.cause == StopCause::killed);
    else REQUIRE(wakes->wait(seen, deadline));
  }
}

TEST_CASE("libvirt: a server that cannot start says why, and starts when the reason is gone") {
  LibvirtHost host;
  auto want = host.server(1);
  must(host.driver().perform({Step::define, want, {}}));
  const auto disk = host.disk_file(want.disks[0].id, want.born);
  fs::rename(disk, disk + ".away");
  const auto refused = host.driver().perform({Step::start, want, {}});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text.find(disk) != std::string::npos);
  const auto have = host.driver().observe();
  REQUIRE(have);
  const auto& server = have->servers.at({want.id, want.born});
  CHECK_FALSE(server.running);
  CHECK(server.power_seq == 0);
  CHECK(server.cause == StopCause::none);
  fs::rename(disk + ".away", disk);
  must(host.driver().perform({Step::start, want, {}}));

  auto wrong = host.server(2);
  wrong.kernel = ImageId{1, 1};
  const auto no_kernel = host.driver().perform({Step::define, wrong, {}});
  REQUIRE_FALSE(no_kernel);
  CHECK(no_kernel.error().code == Errc::not_found);
  CHECK(no_kernel.error().text.find("kernel") != std::string::npos);
}

TEST_CASE("libvirt: a libvirtd that dies in the middle of any step holds nobody, and the step is repeated") {
  LibvirtHost host;
  const auto wakes = std::make_shared<Wakes>();
  host.driver().on_change([wakes] { wakes->wake(); });
  auto want = host.server(1);
  auto stop = want;
  stop.on = false;
  stop.power_seq = 11;
  const auto volume = host.volume(1);
  const std::vector<Action> life{{Step::define, want, {}},          {Step::start, want, {}},
                                 {Step::attach_disk, want, volume}, {Step::reboot_hard, want, {}},
                                 {Step::stop_hard, stop, {}},       {Step::detach_disk, stop, volume},
                                 {Step::remove, want, {}}};
  for (const auto& action : life) {
    auto first = std::async(std::launch::async, [&] { return host.driver().perform(action); });
    host.libvirtd().tell("kill");
    REQUIRE(first.wait_for(guest_deadline) == std::future_status::ready);
    const auto outcome = first.get();
    INFO("step " << static_cast<int>(action.step) << ": " << (outcome ? "done" : outcome.error().text));
    if (!outcome) CHECK(outcome.error().code == Errc::unreachable);
    const int seen = wakes->count();
    host.libvirtd().tell("start");
    if (!host.driver().observe()) REQUIRE(wakes->wait(seen, Clock::now() + guest_deadline));
    must(host.driver().perform(action));
  }
  CHECK(host.driver().observe()->servers.empty());
  CHECK(host.leftovers(want.id) == "");
}

TEST_CASE("libvirt: a libvirtd that hangs is given up, and taken back when it goes on") {
  LibvirtHost host;
  must(host.driver().perform({Step::define, host.server(1), {}}));
  host.libvirtd().tell("hang");
  const auto away = host.driver().observe();
  REQUIRE_FALSE(away);
  CHECK(away.error().code == Errc::unreachable);
  const auto wakes = std::make_shared<Wakes>();
  host.driver().on_change([wakes] { wakes->wake(); });
  host.libvirtd().tell("go-on");
  auto back = host.driver().observe();
  if (!back) {
    REQUIRE(wakes->wait(0, Clock::now() + guest_deadline));
    back = host.driver().observe();
  }
  REQUIRE(back);
  CHECK(back->servers.size() == 1);
}

TEST_CASE("the probe guest boots where virtualization works, and only there") {
  const auto folder = temporary_folder();
  const auto tcg = boot_probe_guest(folder, "tcg", "/usr/bin/qemu-system-x86_64");
  INFO(tcg.reason);
  CHECK(tcg.works);
  CHECK_FALSE(boot_probe_guest(folder, "xen", "/usr/bin/qemu-system-x86_64").works);
  CHECK_FALSE(boot_probe_guest(folder, "tcg", "/nonexistent/qemu").works);
  const auto first = probe_kvm(folder, "boot-1", "/usr/bin/qemu-system-x86_64");
  const auto remembered = probe_kvm(folder, "boot-1", "/nonexistent/qemu");
  CHECK(first.works == remembered.works);
  CHECK(first.reason == remembered.reason);
  CHECK_FALSE(probe_kvm(folder, "boot-2", "/nonexistent/qemu").works);
  fs::remove_all(folder);
}

}  // namespace reprise::compute
