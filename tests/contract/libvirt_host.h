// A node with the libvirt driver on a libvirtd of the test's own, guests of one boot sector, TCG only.
#pragma once

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
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "agents/compute/libvirt_driver.h"
#include "tests/contract/boot_sector_guest.h"
#include "tests/contract/compute_suite.h"
#include "tests/contract/private_libvirtd.h"
#include "tests/contract/wakes.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::compute {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
inline constexpr std::chrono::seconds guest_deadline{60};

inline std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::string temporary_folder() {
  std::string pattern = "/tmp/reprise-compute-XXXXXX";
  const std::string folder = mkdtemp(pattern.data());
  fs::permissions(folder, fs::perms(0711));  // a QEMU under a user of its own passes through
  return folder;
}

class LibvirtHost final : public ContractHost {
 public:
  using Adjust = std::function<void(LibvirtConfig&)>;
  // `adjust` changes the driver's configuration.
  explicit LibvirtHost(Adjust adjust = {})
      : adjust_(std::move(adjust)),
        root_(temporary_folder()),
        libvirtd_(std::make_unique<PrivateLibvirtd>(root_ + "/host")) {
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
    if (adjust_) adjust_(config);
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
    want.disks = {DiskLink{want.id.as<AnyId>(), want.born, true, false, "vda"}};
    write_boot_sector_disk(disk_file(want.disks[0].id, want.born));
    return want;
  }
  DiskLink volume(std::uint64_t n) override {
    DiskLink link{AnyId{0xbbbb, n}, Born{9, static_cast<std::uint32_t>(n)}, false, n == 2,
                  std::string("vd") + static_cast<char>('a' + n)};
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

  std::string disk_file(AnyId id, Born born) const {
    return fmt::format("{}/disks/{}.{}.raw", root_, id.str(), born.str());
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

  struct FreeDomain {
    void operator()(virDomainPtr domain) const { virDomainFree(domain); }
  };
  using DomainPtr = std::unique_ptr<virDomain, FreeDomain>;

  // As an operator sees it, through a connection of its own.
  DomainPtr domain(ServerId id) {
    return DomainPtr(virDomainLookupByUUIDString(operators(), id.str().c_str()));
  }

 private:
  virConnectPtr operators() {
    if (operator_ == nullptr) operator_ = virConnectOpen(libvirtd_->uri().c_str());
    REQUIRE(operator_ != nullptr);
    return operator_;
  }
  std::string foreign_xml() {
    const DomainPtr domain(virDomainLookupByName(operators(), "operators-own"));
    if (!domain) return "";
    const std::unique_ptr<char, decltype(&free)> xml(virDomainGetXMLDesc(domain.get(), 0), &free);
    return xml ? xml.get() : "";
  }

  Adjust adjust_;
  std::string root_;
  std::unique_ptr<PrivateLibvirtd> libvirtd_;
  std::unique_ptr<Driver> driver_;
  virConnectPtr operator_ = nullptr;
  std::string foreign_;
  std::map<ServerId, int> boots_heard_;
  int boots_ = 1;
};

}  // namespace reprise::compute
