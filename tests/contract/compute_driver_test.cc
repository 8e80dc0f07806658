// The `libvirt` compute driver under the drivers' contract, on a libvirtd of the test's own, and what
// is its own: console logs, config drives, a libvirtd that hangs.
#include <fmt/format.h>
#include <libvirt/libvirt.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "agents/compute/kvm_probe.h"
#include "agents/compute/libvirt_driver.h"
#include "agents/core/child_process.h"
#include "tests/contract/boot_sector_guest.h"
#include "tests/contract/compute_suite.h"
#include "tests/contract/private_libvirtd.h"
#include "tests/contract/wakes.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::compute {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds guest_deadline{60};

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string temporary_folder() {
  std::string pattern = "/tmp/reprise-compute-XXXXXX";
  return mkdtemp(pattern.data());
}

class LibvirtHost final : public ContractHost {
 public:
  LibvirtHost() : root_(temporary_folder()), libvirtd_(std::make_unique<PrivateLibvirtd>(root_ + "/host")) {
    fs::create_directories(root_ + "/disks");
    LibvirtHost::restart();
    const auto wakes = std::make_shared<Wakes>();
    driver_->on_change([wakes] { wakes->wake(); });
    if (!driver_->observe()) REQUIRE(wakes->wait(0, Clock::now() + guest_deadline));
  }
  ~LibvirtHost() override {
    driver_.reset();
    if (operator_ != nullptr) virConnectClose(operator_);
    libvirtd_.reset();
    fs::remove_all(root_);
  }

  LibvirtConfig config() {
    LibvirtConfig config;
    config.uri = libvirtd_->uri();
    config.state = root_ + "/state";
    config.disk_source = [this](AnyId id, Born born) {
      return storage::DiskSource{"file", disk_file(id, born), "raw"};
    };
    config.image_path = [](ImageId id) -> Result<std::string> {
      return Error{Errc::not_found, "no image " + id.str()};
    };
    config.open_sealed = [](ProjectId,
                            const std::vector<std::uint8_t>& sealed) -> Result<std::vector<std::uint8_t>> {
      if (sealed[0] == 'x') return Error{Errc::denied, "the project's key was destroyed"};
      return std::vector<std::uint8_t>(sealed.rbegin(), sealed.rend());
    };
    config.virtualization = Virtualization::tcg;
    config.boot_id = fmt::format("boot-{}", boots_);
    config.domain_logs = libvirtd_->domain_logs();
    return config;
  }
  Driver& driver() override { return *driver_; }
  void restart() override {
    driver_.reset();
    auto opened = open_libvirt_driver(config());
    if (!opened) FAIL(opened.error().text);
    driver_ = std::move(*opened);
  }
  ServerWant server(std::uint64_t n) override {
    ServerWant want;
    want.id = ServerId{0xaaaa'0000'0000'4000, 0x8000'0000'0000'0000 | n};
    want.born = Born{7, static_cast<std::uint32_t>(n)};
    want.name = "näme <of> a & 'server'";
    want.ram_mib = 64;
    want.on = true;
    want.power_seq = 10;
    want.disks = {DiskLink{want.id.as<AnyId>(), want.born, true, false}};
    write_boot_sector_disk(disk_file(want.disks[0].id, want.born));
    return want;
  }
  DiskLink volume(std::uint64_t n) override {
    DiskLink link{AnyId{0xbbbb, n}, Born{9, static_cast<std::uint32_t>(n)}, false, n == 2};
    write_boot_sector_disk(disk_file(link.id, link.born));
    return link;
  }
  void await_guest(ServerId id) override { await_console(id, "guest ready", ++boots_heard_[id]); }
  void guest_powers_off(ServerId id) override {
    unsigned enter = 28;
    REQUIRE(virDomainSendKey(domain(id).get(), VIR_KEYCODE_SET_LINUX, 50, &enter, 1, 0) == 0);
  }
  void guest_is_killed(ServerId id) override { libvirtd_->tell("kill-guest reprise-" + id.str()); }
  void reboot_host() override {
    libvirtd_->tell("power-cut");
    ++boots_;
    libvirtd_->tell("start");
    restart();
  }
  void hypervisor_goes() override { libvirtd_->tell("kill"); }
  void hypervisor_returns() override { libvirtd_->tell("start"); }
  void make_foreign() override {
    const DomainPtr made(virDomainDefineXML(operators(), R"(<domain type='qemu'><name>operators-own</name>
      <memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>)"));
    REQUIRE(made);
    foreign_ = foreign_xml();
  }
  bool foreign_is_untouched() override { return !foreign_.empty() && foreign_xml() == foreign_; }
  std::string leftovers(ServerId id) override {
    std::string found;
    for (const auto* folder : {"/state", "/host"})
      for (const auto& entry : fs::recursive_directory_iterator(root_ + folder))
        if (entry.path().filename().string().find(id.str()) != std::string::npos)
          found += entry.path().string() + "\n";
    for (const auto& process : fs::directory_iterator("/proc"))
      if (text_of(process.path().string() + "/cmdline").find("guest=reprise-" + id.str()) !=
          std::string::npos)
        found += "process " + process.path().string() + "\n";
    return found;
  }

  PrivateLibvirtd& libvirtd() { return *libvirtd_; }
  std::string folder_of(const ServerWant& want) const {
    return fmt::format("{}/state/servers/{}.{}", root_, want.id.str(), want.born.str());
  }
  const std::string& root() const { return root_; }

  // Until the console log holds `words` that often; woken by the file, not by the clock.
  void await_console(ServerId id, const std::string& words, int times) {
    const int watch = inotify_init1(IN_CLOEXEC);
    for (const auto& entry : fs::directory_iterator(root_ + "/state/servers"))
      inotify_add_watch(watch, entry.path().c_str(), IN_MODIFY | IN_CREATE);
    const auto deadline = Clock::now() + guest_deadline;
    for (;;) {
      const auto console = driver_->console(id, 0);
      int count = 0;
      for (std::size_t at = 0; console && (at = console->find(words, at)) != std::string::npos; ++at) ++count;
      if (count >= times) break;
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd fd{watch, POLLIN, 0};
      char events[4096];
      if (left <= 0 || poll(&fd, 1, static_cast<int>(left)) <= 0) {
        close(watch);
        FAIL("the guest did not say '" << words << "': " << (console ? *console : console.error().text));
      }
      (void)!read(watch, events, sizeof events);
    }
    close(watch);
  }

 private:
  struct FreeDomain {
    void operator()(virDomainPtr domain) const { virDomainFree(domain); }
  };
  using DomainPtr = std::unique_ptr<virDomain, FreeDomain>;

  std::string disk_file(AnyId id, Born born) const {
    return fmt::format("{}/disks/{}.{}.raw", root_, id.str(), born.str());
  }
  virConnectPtr operators() {
    if (operator_ == nullptr) operator_ = virConnectOpen(libvirtd_->uri().c_str());
    REQUIRE(operator_ != nullptr);
    return operator_;
  }
  DomainPtr domain(ServerId id) {
    return DomainPtr(virDomainLookupByUUIDString(operators(), id.str().c_str()));
  }
  std::string foreign_xml() {
    const DomainPtr domain(virDomainLookupByName(operators(), "operators-own"));
    if (!domain) return "";
    const std::unique_ptr<char, decltype(&free)> xml(virDomainGetXMLDesc(domain.get(), 0), &free);
    return xml ? xml.get() : "";
  }

  std::string root_;
  std::unique_ptr<PrivateLibvirtd> libvirtd_;
  std::unique_ptr<Driver> driver_;
  virConnectPtr operator_ = nullptr;
  std::string foreign_;
  std::map<ServerId, int> boots_heard_;
  int boots_ = 1;
};

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
  LibvirtHost host;
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
  must(host.driver().perform({Step::define, want, {}}));
  const auto iso = host.folder_of(want) + "/config.iso";
  CHECK((fs::status(iso).permissions() & fs::perms::all) == (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(iso_file(iso, "/openstack/latest/user_data") == "#!");
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
