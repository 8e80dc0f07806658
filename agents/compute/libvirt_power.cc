#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agents/compute/kvm_probe.h"
#include "agents/compute/libvirt_servers.h"
#include "agents/compute/patience.h"
#include "agents/compute/qemu_process.h"

namespace reprise::compute {
namespace {

using Clock = std::chrono::steady_clock;

// A guest that is still booting does not hear the power button: it is pressed again, but not so soon
// that one on its way down would be asked to reboot twice.
constexpr std::chrono::seconds stop_again{5};
constexpr std::chrono::seconds reboot_again{20};
// A guest whose disk was full is let on so often: it stops again at once while there is no room.
constexpr std::chrono::seconds resume_again{5};
// A reset is done in milliseconds; a QEMU that hangs never does it.
constexpr std::chrono::seconds reset_patience{5};
constexpr std::chrono::milliseconds term_patience{700};

}  // namespace

bool LibvirtDriver::use_kvm(const Connection& connection) {
  const std::lock_guard lock(kvm_mutex_);
  if (!kvm_) {
    kvm_ = config_.virtualization == Virtualization::kvm ||
           (config_.virtualization == Virtualization::automatic &&
            probe_kvm(config_.state, config_.boot_id, config_.emulator).works);
    // KVM that works for us may still be hidden from libvirtd.
    const std::unique_ptr<char, decltype(&free)> capabilities(
        *kvm_ ? virConnectGetDomainCapabilities(connection.get(), config_.emulator.c_str(), nullptr, nullptr,
                                                "kvm", 0)
              : nullptr,
        &free);
    if (*kvm_ && !capabilities && config_.virtualization == Virtualization::automatic) kvm_ = false;
  }
  return *kvm_;
}

Status LibvirtDriver::define_as(const Call& call, const ServerWant& server, const Marks& marks) {
  const auto paths = files_.prepare(server);
  if (!paths) return {paths.error().code, fmt::format("{}: {}", words(server), paths.error().text)};
  DomainHost host;
  host.kvm = use_kvm(call.connection);
  host.emulator = config_.emulator;
  host.bridge = config_.bridge;
  host.console_log = paths->console_log;
  host.config_drive = paths->config_drive;
  host.kernel = paths->kernel;
  host.ramdisk = paths->ramdisk;
  std::vector<DomainDisk> disks;
  for (const auto& link : server.disks) disks.push_back({link, config_.disk_source(link.id, link.born)});
  const auto xml = domain_xml(server, disks, host, marks);
  if (!xml) return xml.error();
  return unless_forced(call, server.id, [&]() -> Status {
    if (own(virDomainDefineXMLFlags(call.connection.get(), xml->c_str(), 0))) return {};
    return libvirt_error(call.connection, "defining " + words(server));
  });
}

Status LibvirtDriver::define(const Call& call, const ServerWant& server) {
  auto there = own(virDomainLookupByUUIDString(call.connection.get(), server.id.str().c_str()));
  Marks marks;
  marks.id = server.id;
  marks.born = server.born;
  if (there) {
    const auto domain = inspect(call.connection, std::move(there));
    if (!domain) return domain.error();
    if (!*domain)
      return {Errc::exists,
              fmt::format("{}: a domain with this UUID is there and not ours: rename or undefine it",
                          words(server))};
    if ((*domain)->seen.marks.born != server.born)
      return {Errc::conflict, fmt::format("{}: its former life (born {}) is still here: remove it first",
                                          words(server), (*domain)->seen.marks.born.str())};
    if ((*domain)->running) return {};
    marks = (*domain)->seen.marks;
  }
  return define_as(call, server, marks);
}

// QEMU's own words name a file; whose it is they do not say. Nothing of ours ever makes one here.
Status LibvirtDriver::missing_disk(const ServerWant& server, const DiskLink& disk) {
  const auto source = config_.disk_source(disk.id, disk.born);
  if (source.type != "file" || access(source.path.c_str(), F_OK) == 0) return {};
  return {errno == ENOENT || errno == ENOTDIR ? Errc::not_found : Errc::broken,
          fmt::format("{}: its disk {} cannot be opened: {}: {}; is the storage of this node mounted?",
                      words(server), disk.id.str(), source.path, std::strerror(errno))};
}

// Made anew and started. Marked after the effect: a crash in between is seen as a running domain with
// old marks.
Status LibvirtDriver::launch(const Call& call, const ServerWant& server, Domain& domain) {
  for (const auto& disk : server.disks)
    if (auto there = missing_disk(server, disk); !there) return there;
  auto& marks = domain.seen.marks;
  marks.identity = server.identity;  // one that runs has its disks open already
  if (auto defined = define_as(call, server, marks); !defined) return defined;
  {
    const std::lock_guard lock(mutex_);
    call.memory->stop_asked = 0;
    call.memory->reboot_asked = 0;
    call.memory->stopping = 0;
    call.memory->resumed_at.reset();
  }
  if (virDomainCreate(domain.handle.get()) != 0) {
    const auto error = libvirt_error(call.connection, "starting " + words(server));
    if (virDomainIsActive(domain.handle.get()) != 1) return error;
  }
  domain.running = true;
  return {};
}

Status LibvirtDriver::start(const Call& call, const ServerWant& server) {
  if (host_.going_down())
    return {Errc::again, words(server) + " is not started: this host is going down"};
  auto domain = must_find(call, server);
  if (!domain) return domain.error();
  if (!domain->running)
    if (auto launched = launch(call, server, *domain); !launched) return launched;
  auto marks = domain->seen.marks;
  marks.power_seq = server.power_seq;
  marks.reboot_seq = server.reboot_seq;
  marks.stop_asked = 0;
  marks.boot_id = config_.boot_id;
  marks.cause = StopCause::none;
  return write_marks(call, *domain, marks);
}

Status LibvirtDriver::mark_power(const Call& call, const ServerWant& server) {
  auto domain = must_find(call, server);
  if (!domain) return domain.error();
  if (auto done = settle(call, *domain); !done) return done;
  auto marks = domain->seen.marks;
  marks.power_seq = server.power_seq;
  if (domain->running) marks.stop_asked = 0;
  return write_marks(call, *domain, marks);
}

Status LibvirtDriver::stop_soft(const Call& call, const ServerWant& server) {
  auto domain = must_find(call, server);
  if (!domain) return domain.error();
  if (!domain->running) return {};
  auto marks = domain->seen.marks;
  if (marks.stop_asked != server.power_seq) {
    // Written first: when the guest goes, whoever looks must know that it was asked to.
    marks.stop_asked = server.power_seq;
    if (auto written = write_marks(call, *domain, marks); !written) return written;
  }
  bool ask = false;
  {
    const std::lock_guard lock(mutex_);
    ask = call.memory->stop_asked != server.power_seq || Clock::now() - call.memory->asked_at >= stop_again;
  }
  if (ask) {
    if (virDomainShutdownFlags(domain->handle.get(), VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) != 0) {
      const auto error = libvirt_error(call.connection, "asking " + words(server) + " to shut down");
      return virDomainIsActive(domain->handle.get()) == 0 ? Status() : Status(error);
    }
    const std::lock_guard lock(mutex_);
    call.memory->stop_asked = server.power_seq;
    call.memory->asked_at = Clock::now();
  }
  return {Errc::again, words(server) + " was asked to shut down and still runs"};
}

// libvirt kills the process before it waits for whoever holds the domain: this works while another call
// hangs in it, and lets that one go.
Status LibvirtDriver::power_off(const Call& call, const Domain& domain) {
  if (!domain.running) return {};
  // One that hangs is helped on its way: once libvirt is at it, its end is told as what it is.
  const auto helping = [name = domain_name(domain.seen.marks.id), hangs = domain.silent >= qemu_patience] {
    kill_hung_qemu(name, hangs);
  };
  auto helper = every(term_patience, helping);
  if (virDomainDestroy(domain.handle.get()) == 0) return {};
  const auto error = libvirt_error(call.connection, "powering off server " + domain.seen.marks.id.str());
  return virDomainIsActive(domain.handle.get()) == 0 ? Status() : Status(error);
}

Status LibvirtDriver::stop_hard(const Call& call, const ServerWant& server) {
  auto domain = must_find(call, server);
  if (!domain) return domain.error();
  auto marks = domain->seen.marks;
  if (domain->running) {
    {
      const std::lock_guard lock(mutex_);
      call.memory->stopping = server.power_seq;
    }
    // Written first, for a crash of ours in between; a domain that somebody holds cannot be.
    if (marks.stop_asked != server.power_seq && domain->idle) {
      marks.stop_asked = server.power_seq;
      if (auto written = write_marks(call, *domain, marks);
          !written && written.error().code == Errc::unreachable)
        return written;
    }
    if (auto off = power_off(call, *domain); !off) return off;
    domain->running = false;
    marks.stop_asked = server.power_seq;
    marks.cause = StopCause::asked;
  } else {
    marks.cause = cause_of(*domain, *call.memory);
  }
  marks.power_seq = server.power_seq;
  return write_marks(call, *domain, marks);
}

Status LibvirtDriver::reboot_soft(const Call& call, const ServerWant& server) {
  auto domain = must_find(call, server);
  if (!domain) return domain.error();
  if (!domain->running) return {Errc::conflict, words(server) + " does not run: it cannot reboot; start it"};
  if (auto done = settle(call, *domain); !done) return done;
  if (domain->seen.marks.reboot_seq >= server.reboot_seq) return {};
  if (domain->pause != Pause::none)
    return {Errc::conflict, fmt::format("{} stands still and cannot hear that it is to reboot: {}", words(server),
                                        domain->paused)};
  const auto reboots = session_.reboots(server.id.str());
  {
    const std::lock_guard lock(mutex_);
    auto& memory = *call.memory;
    if (memory.reboot_asked == server.reboot_seq && Clock::now() - memory.asked_at < reboot_again)
      return {Errc::again, words(server) + " was asked to reboot and has not yet"};
    memory.reboot_asked = server.reboot_seq;
    memory.reboots_before = reboots;
    memory.asked_at = Clock::now();
  }
  if (virDomainReboot(domain->handle.get(), VIR_DOMAIN_REBOOT_ACPI_POWER_BTN) != 0)
    return libvirt_error(call.connection, "asking " + words(server) + " to reboot");
  return {Errc::again, words(server) + " was asked to reboot and has not yet"};
}

// Ends with a guest that runs: one that stood still is let on, and a QEMU that does not do it is ended
// and started anew.
Status LibvirtDriver::reboot_hard(const Call& call, const ServerWant& server) {
  auto domain = find_domain(call.connection, server.id, server.born);
  if (!domain) return domain.error();
  if (!*domain) return {Errc::not_found, words(server) + " has no domain on this node: define it first"};
  auto& now = **domain;
  if (!now.running) return {Errc::conflict, words(server) + " does not run: it cannot be reset; start it"};
  const bool paused = now.pause != Pause::none;
  std::optional<Status> reset;
  if (now.silent < qemu_patience)
    reset = within<Status>(reset_patience, [connection = call.connection, handle = now.handle, paused,
                                            what = "resetting " + words(server)]() -> Status {
      if (virDomainReset(handle.get(), 0) == 0 && (!paused || virDomainResume(handle.get()) == 0)) return {};
      return libvirt_error(connection, what);
    });
  if (reset && !*reset) return *reset;
  if (!reset) {
    const auto stopping = std::max<Seq>(now.seen.marks.power_seq, 1);
    {
      const std::lock_guard lock(mutex_);
      call.memory->stopping = stopping;
    }
    now.silent = qemu_patience;
    if (auto off = power_off(call, now); !off) return off;
    now.seen.marks.stop_asked = stopping;  // on the way to a start: whoever finds it so starts it
    if (auto launched = launch(call, server, now); !launched) return launched;
    now.seen.marks.stop_asked = 0;
    now.seen.marks.boot_id = config_.boot_id;
    now.seen.marks.cause = StopCause::none;
  }
  auto marks = now.seen.marks;
  marks.reboot_seq = server.reboot_seq;
  return write_marks(call, now, marks);
}

Status LibvirtDriver::resume(const Call& call, const ServerWant& server) {
  auto domain = must_find(call, server);
  if (!domain) return domain.error();
  if (!domain->running || domain->pause == Pause::none) return {};
  const Error waits{Errc::again, fmt::format("{} stands still: {}", words(server), domain->paused)};
  {
    const std::lock_guard lock(mutex_);
    auto& at = call.memory->resumed_at;
    if (at && Clock::now() - *at < resume_again) return waits;
    at = Clock::now();
  }
  if (virDomainResume(domain->handle.get()) != 0)
    return libvirt_error(call.connection, "resuming " + words(server));
  return {};
}

Status LibvirtDriver::remove(const Call& call, const ServerWant& server) {
  auto domain = find_domain(call.connection, server.id, server.born);
  if (!domain) return domain.error();
  if (*domain)
    if (auto off = power_off(call, **domain); !off) return off;
  return unless_forced(call, server.id, [&]() -> Status {
    // The files before the domain: as long as it is defined, a crash here is seen and finished.
    if (auto removed = files_.remove(server.id, server.born); !removed) return removed;
    if (!*domain) return {};
    for (const char* suffix : {".log", ".log.0", ".log.1", ".log.2", ".log.3"})
      unlink(fmt::format("{}/{}{}", config_.domain_logs, domain_name(server.id), suffix).c_str());
    const unsigned all = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                         VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM;
    if (virDomainUndefineFlags((*domain)->handle.get(), all) == 0) return {};
    const auto error = libvirt_error(call.connection, "undefining " + words(server));
    return error.code == Errc::not_found ? Status() : Status(error);
  });
}

}  // namespace reprise::compute
