#include "agents/compute/libvirt_driver.h"

#include <fmt/format.h>
#include <libvirt/virterror.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "agents/compute/console_log.h"
#include "agents/compute/domain_xml.h"
#include "agents/compute/kvm_probe.h"
#include "agents/compute/libvirt_session.h"
#include "agents/compute/server_files.h"

namespace reprise::compute {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds trim_period{10};
// A guest lets go of a disk in 140 ms; one without a kernel never does.
constexpr std::chrono::seconds detach_patience{2};
// A guest that is still booting does not hear the power button: it is pressed again, but not so soon
// that one on its way down would be asked to reboot twice.
constexpr std::chrono::seconds stop_again{5};
constexpr std::chrono::seconds reboot_again{20};

struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
using DomainHandle = std::unique_ptr<virDomain, FreeDomain>;

// A domain of ours, as it is now.
struct Domain {
  DomainHandle handle;
  SeenDomain seen;  // running: the running one; stopped: what would start
  bool running = false;
  int stop_reason = 0;  // of libvirt, when it does not run
};

std::string words(const ServerWant& server) { return "server " + server.id.str(); }

bool has_disk(const SeenDomain& seen, const DiskLink& link) {
  return std::any_of(seen.disks.begin(), seen.disks.end(),
                     [&](const DiskLink& disk) { return disk.id == link.id && disk.born == link.born; });
}

Result<std::string> read_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  if (std::getline(file, id) && id.size() == 36) return id;
  return Error{Errc::unsupported,
               "cannot read /proc/sys/kernel/random/boot_id: a restart of the host would go unnoticed"};
}

class LibvirtDriver final : public Driver {
 public:
  explicit LibvirtDriver(LibvirtConfig config)
      : config_(std::move(config)),
        files_(config_.state, config_.image_path, config_.open_sealed),
        session_(config_.uri) {}
  Status open() {
    if (auto opened = files_.open(); !opened) return opened;
    trimming_ = every(trim_period, [this] { files_.trim_console_logs(); });
    return {};
  }

  void on_change(std::function<void()> wake) override { session_.on_change(std::move(wake)); }
  Result<Have> observe() override;
  Status perform(const Action& action) override;
  Result<std::string> console(ServerId id, std::size_t bytes) override;

 private:
  Result<std::string> domain_text(const Connection& connection, virDomainPtr domain, unsigned flags,
                                  const std::string& what);
  Result<std::optional<Domain>> inspect(const Connection& connection, DomainHandle handle);
  Result<std::optional<Domain>> find(const Connection& connection, ServerId id, Born born);
  Result<Domain> must_find(const Connection& connection, const ServerWant& server);
  Status write_marks(const Connection& connection, const Domain& domain, const Marks& marks);
  Status settle(const Connection& connection, Domain& domain);
  StopCause cause_of(const Domain& domain) const;
  bool use_kvm(const Connection& connection);
  Status define_as(const Connection& connection, const ServerWant& server, const Marks& marks);

  Status step(const Connection& connection, const Action& action);
  Status define(const Connection& connection, const ServerWant& server);
  Status start(const Connection& connection, const ServerWant& server);
  Status mark_power(const Connection& connection, const ServerWant& server);
  Status stop_soft(const Connection& connection, const ServerWant& server);
  Status stop_hard(const Connection& connection, const ServerWant& server);
  Status reboot_soft(const Connection& connection, const ServerWant& server);
  Status reboot_hard(const Connection& connection, const ServerWant& server);
  Status resume(const Connection& connection, const ServerWant& server);
  Status attach_disk(const Connection& connection, const ServerWant& server, const DiskLink& disk);
  Status detach_disk(const Connection& connection, const ServerWant& server, const DiskLink& disk);
  Status detach_running(const Connection& connection, const Domain& domain, const DiskLink& disk);
  Status remove(const Connection& connection, const ServerWant& server);

  // What a guest was last asked, so that it is not asked twice in a breath.
  struct Asked {
    Seq stop = 0;
    Seq reboot = 0;
    std::uint64_t reboots_before = 0;
    Clock::time_point at;
  };

  LibvirtConfig config_;
  ServerFiles files_;
  LibvirtSession session_;
  std::optional<bool> kvm_;
  std::map<ServerId, Asked> asked_;
  // Last: their work uses what stands above.
  std::shared_ptr<void> trimming_;
  std::shared_ptr<void> reminder_;
};

Result<std::string> LibvirtDriver::domain_text(const Connection& connection, virDomainPtr domain,
                                               unsigned flags, const std::string& what) {
  const std::unique_ptr<char, decltype(&free)> xml(virDomainGetXMLDesc(domain, flags), &free);
  if (!xml) return session_.last_error(connection, "reading the domain of " + what);
  return std::string(xml.get());
}

// Nothing: not ours, or gone meanwhile.
Result<std::optional<Domain>> LibvirtDriver::inspect(const Connection& connection, DomainHandle handle) {
  const auto text = domain_text(connection, handle.get(), 0, "a server");
  int state = 0, reason = 0;
  if (!text || virDomainGetState(handle.get(), &state, &reason, 0) != 0) {
    const auto error = text ? session_.last_error(connection, "reading a domain's state") : text.error();
    if (error.code == Errc::not_found) return std::optional<Domain>();
    return error;
  }
  auto seen = read_domain_xml(*text);
  if (!seen) return std::optional<Domain>();
  Domain domain;
  domain.handle = std::move(handle);
  domain.seen = std::move(*seen);
  domain.running = state != VIR_DOMAIN_SHUTOFF && state != VIR_DOMAIN_CRASHED && state != VIR_DOMAIN_NOSTATE;
  domain.stop_reason = reason;
  return std::optional<Domain>(std::move(domain));
}

Result<std::optional<Domain>> LibvirtDriver::find(const Connection& connection, ServerId id, Born born) {
  DomainHandle handle(virDomainLookupByUUIDString(connection.get(), id.str().c_str()));
  if (!handle) {
    const auto error = session_.last_error(connection, "looking for server " + id.str());
    if (error.code == Errc::not_found) return std::optional<Domain>();
    return error;
  }
  auto domain = inspect(connection, std::move(handle));
  if (domain && *domain && ((*domain)->seen.marks.id != id || (*domain)->seen.marks.born != born))
    return std::optional<Domain>();
  return domain;
}

Result<Domain> LibvirtDriver::must_find(const Connection& connection, const ServerWant& server) {
  auto domain = find(connection, server.id, server.born);
  if (!domain) return domain.error();
  if (!*domain) return Error{Errc::not_found, words(server) + " has no domain on this node: define it first"};
  return std::move(**domain);
}

Status LibvirtDriver::write_marks(const Connection& connection, const Domain& domain, const Marks& marks) {
  const auto xml = marks_bare_xml(marks);
  const auto write = [&](unsigned where) {
    return virDomainSetMetadata(domain.handle.get(), VIR_DOMAIN_METADATA_ELEMENT, xml.c_str(),
                                metadata_prefix, metadata_uri, where);
  };
  // A domain that stopped meanwhile has only its configuration left.
  const unsigned live = domain.running ? static_cast<unsigned>(VIR_DOMAIN_AFFECT_LIVE) : 0u;
  if (write(VIR_DOMAIN_AFFECT_CONFIG | live) == 0) return {};
  if (domain.running && virDomainIsActive(domain.handle.get()) == 0 && write(VIR_DOMAIN_AFFECT_CONFIG) == 0)
    return {};
  return session_.last_error(connection, "marking server " + marks.id.str());
}

StopCause LibvirtDriver::cause_of(const Domain& domain) const {
  const auto& marks = domain.seen.marks;
  if (marks.cause != StopCause::none || marks.boot_id.empty()) return marks.cause;
  if (marks.stop_asked != 0) return StopCause::asked;
  if (const auto ending = session_.ending(marks.id.str()))
    return *ending == Ending::guest ? StopCause::guest : StopCause::killed;
  // Nobody watched: libvirt's own memory of it, which it loses when it restarts.
  if (domain.stop_reason == VIR_DOMAIN_SHUTOFF_SHUTDOWN) return StopCause::guest;
  if (domain.stop_reason != VIR_DOMAIN_SHUTOFF_UNKNOWN) return StopCause::killed;
  return marks.boot_id != config_.boot_id ? StopCause::host : StopCause::killed;
}

// Writes down what only this moment knows: why it stopped, in which boot of the host it runs, and that
// a guest did what it was asked.
Status LibvirtDriver::settle(const Connection& connection, Domain& domain) {
  auto marks = domain.seen.marks;
  if (domain.running) {
    // A crash between start and mark; or an operator started it.
    marks.boot_id = config_.boot_id;
    marks.cause = StopCause::none;
    const auto asked = asked_.find(marks.id);
    if (asked != asked_.end() && session_.reboots(marks.id.str()) > asked->second.reboots_before)
      marks.reboot_seq = std::max(marks.reboot_seq, asked->second.reboot);
  } else {
    marks.cause = cause_of(domain);
    if (marks.cause == StopCause::asked) marks.power_seq = std::max(marks.power_seq, marks.stop_asked);
  }
  if (marks == domain.seen.marks) return {};
  auto written = write_marks(connection, domain, marks);
  if (written) domain.seen.marks = marks;
  return written;
}

Result<Have> LibvirtDriver::observe() {
  const auto connection = session_.connection();
  if (!connection) return connection.error();
  virDomainPtr* list = nullptr;
  const int count = virConnectListAllDomains(connection->get(), &list, 0);
  if (count < 0) return session_.last_error(*connection, "listing domains");
  std::vector<DomainHandle> handles;
  for (int i = 0; i < count; ++i) handles.emplace_back(list[i]);
  free(list);
  std::set<std::pair<ServerId, Born>> defined;
  Have have;
  have.boot_id = config_.boot_id;
  for (auto& handle : handles) {
    auto domain = inspect(*connection, std::move(handle));
    if (!domain) return domain.error();
    if (!*domain) continue;
    const auto& marks = (*domain)->seen.marks;
    defined.insert({marks.id, marks.born});
    if (auto settled = settle(*connection, **domain); !settled) {
      if (settled.error().code == Errc::not_found) continue;
      return settled.error();
    }
    ServerHave server{.id = marks.id, .born = marks.born, .running = (*domain)->running, .cause = marks.cause,
                      .power_seq = marks.power_seq, .reboot_seq = marks.reboot_seq, .identity = marks.identity,
                      .boot_id = marks.boot_id, .disks = (*domain)->seen.disks, .nics = (*domain)->seen.nics};
    have.servers[{marks.id, marks.born}] = std::move(server);
  }
  if (auto swept = files_.sweep(defined); !swept) return swept.error();
  return have;
}

Status LibvirtDriver::perform(const Action& action) {
  reminder_.reset();
  const auto connection = session_.connection();
  if (!connection) return connection.error();
  auto done = step(*connection, action);
  // A guest that never answers causes no event: whoever asks is woken to ask again.
  if (!done && done.error().code == Errc::again) reminder_ = every(stop_again, [this] { session_.wake(); });
  return done;
}

Status LibvirtDriver::step(const Connection& connection, const Action& action) {
  const auto& server = action.server;
  switch (action.step) {
    case Step::define:
      return define(connection, server);
    case Step::start:
      return start(connection, server);
    case Step::mark_power:
      return mark_power(connection, server);
    case Step::stop_soft:
      return stop_soft(connection, server);
    case Step::stop_hard:
      return stop_hard(connection, server);
    case Step::reboot_soft:
      return reboot_soft(connection, server);
    case Step::reboot_hard:
      return reboot_hard(connection, server);
    case Step::resume:
      return resume(connection, server);
    case Step::attach_disk:
      return attach_disk(connection, server, action.disk);
    case Step::detach_disk:
      return detach_disk(connection, server, action.disk);
    case Step::remove:
      return remove(connection, server);
  }
  return {Errc::unsupported,
          fmt::format("compute step {} is not known to this version", static_cast<int>(action.step))};
}

bool LibvirtDriver::use_kvm(const Connection& connection) {
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

Status LibvirtDriver::define_as(const Connection& connection, const ServerWant& server, const Marks& marks) {
  const auto paths = files_.prepare(server);
  if (!paths) return {paths.error().code, fmt::format("{}: {}", words(server), paths.error().text)};
  DomainHost host;
  host.kvm = use_kvm(connection);
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
  const DomainHandle handle(virDomainDefineXMLFlags(connection.get(), xml->c_str(), 0));
  if (!handle) return session_.last_error(connection, "defining " + words(server));
  return {};
}

Status LibvirtDriver::define(const Connection& connection, const ServerWant& server) {
  DomainHandle there(virDomainLookupByUUIDString(connection.get(), server.id.str().c_str()));
  Marks marks;
  marks.id = server.id;
  marks.born = server.born;
  if (there) {
    const auto domain = inspect(connection, std::move(there));
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
  return define_as(connection, server, marks);
}

Status LibvirtDriver::start(const Connection& connection, const ServerWant& server) {
  auto domain = must_find(connection, server);
  if (!domain) return domain.error();
  auto marks = domain->seen.marks;
  if (!domain->running) {
    marks.identity = server.identity;  // one that runs has its disks open already
    if (auto defined = define_as(connection, server, marks); !defined) return defined;
    asked_.erase(server.id);
    if (virDomainCreate(domain->handle.get()) != 0) {
      const auto error = session_.last_error(connection, "starting " + words(server));
      if (virDomainIsActive(domain->handle.get()) != 1) return error;
    }
  }
  // Marked after the effect: a crash in between is seen as a running domain with old marks.
  domain->running = true;
  marks.power_seq = server.power_seq;
  marks.reboot_seq = server.reboot_seq;
  marks.stop_asked = 0;
  marks.boot_id = config_.boot_id;
  marks.cause = StopCause::none;
  return write_marks(connection, *domain, marks);
}

Status LibvirtDriver::mark_power(const Connection& connection, const ServerWant& server) {
  auto domain = must_find(connection, server);
  if (!domain) return domain.error();
  if (auto settled = settle(connection, *domain); !settled) return settled;
  auto marks = domain->seen.marks;
  marks.power_seq = server.power_seq;
  if (domain->running) marks.stop_asked = 0;
  return write_marks(connection, *domain, marks);
}

Status LibvirtDriver::stop_soft(const Connection& connection, const ServerWant& server) {
  auto domain = must_find(connection, server);
  if (!domain) return domain.error();
  if (!domain->running) return {};
  auto marks = domain->seen.marks;
  if (marks.stop_asked != server.power_seq) {
    // Written first: when the guest goes, whoever looks must know that it was asked to.
    marks.stop_asked = server.power_seq;
    if (auto written = write_marks(connection, *domain, marks); !written) return written;
  }
  auto& asked = asked_[server.id];
  if (asked.stop != server.power_seq || Clock::now() - asked.at >= stop_again) {
    if (virDomainShutdownFlags(domain->handle.get(), VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) != 0) {
      const auto error = session_.last_error(connection, "asking " + words(server) + " to shut down");
      return virDomainIsActive(domain->handle.get()) == 0 ? Status() : Status(error);
    }
    asked.stop = server.power_seq;
    asked.at = Clock::now();
  }
  return {Errc::again, words(server) + " was asked to shut down and still runs"};
}

Status LibvirtDriver::stop_hard(const Connection& connection, const ServerWant& server) {
  auto domain = must_find(connection, server);
  if (!domain) return domain.error();
  auto marks = domain->seen.marks;
  if (domain->running) {
    if (marks.stop_asked != server.power_seq) {
      marks.stop_asked = server.power_seq;
      if (auto written = write_marks(connection, *domain, marks); !written) return written;
    }
    if (virDomainDestroy(domain->handle.get()) != 0) {
      const auto error = session_.last_error(connection, "powering off " + words(server));
      if (virDomainIsActive(domain->handle.get()) != 0) return error;
    }
    domain->running = false;
    marks.cause = StopCause::asked;
  } else {
    marks.cause = cause_of(*domain);
  }
  marks.power_seq = server.power_seq;
  return write_marks(connection, *domain, marks);
}

Status LibvirtDriver::reboot_soft(const Connection& connection, const ServerWant& server) {
  auto domain = must_find(connection, server);
  if (!domain) return domain.error();
  if (!domain->running) return {Errc::conflict, words(server) + " does not run: it cannot reboot; start it"};
  if (auto settled = settle(connection, *domain); !settled) return settled;
  if (domain->seen.marks.reboot_seq >= server.reboot_seq) return {};
  auto& asked = asked_[server.id];
  if (asked.reboot != server.reboot_seq || Clock::now() - asked.at >= reboot_again) {
    asked.reboot = server.reboot_seq;
    asked.reboots_before = session_.reboots(server.id.str());
    asked.at = Clock::now();
    if (virDomainReboot(domain->handle.get(), VIR_DOMAIN_REBOOT_ACPI_POWER_BTN) != 0)
      return session_.last_error(connection, "asking " + words(server) + " to reboot");
  }
  return {Errc::again, words(server) + " was asked to reboot and has not yet"};
}

Status LibvirtDriver::reboot_hard(const Connection& connection, const ServerWant& server) {
  auto domain = must_find(connection, server);
  if (!domain) return domain.error();
  if (!domain->running)
    return {Errc::conflict, words(server) + " does not run: it cannot be reset; start it"};
  if (virDomainReset(domain->handle.get(), 0) != 0)
    return session_.last_error(connection, "resetting " + words(server));
  auto marks = domain->seen.marks;
  marks.reboot_seq = server.reboot_seq;
  return write_marks(connection, *domain, marks);
}

Status LibvirtDriver::resume(const Connection& connection, const ServerWant& server) {
  auto domain = must_find(connection, server);
  if (!domain) return domain.error();
  if (virDomainResume(domain->handle.get()) == 0) return {};
  return session_.last_error(connection, "resuming " + words(server));
}

Status LibvirtDriver::attach_disk(const Connection& connection, const ServerWant& server,
                                  const DiskLink& disk) {
  auto domain = must_find(connection, server);
  if (!domain) return domain.error();
  const auto stored_text =
      domain_text(connection, domain->handle.get(), VIR_DOMAIN_XML_INACTIVE, words(server));
  if (!stored_text) return stored_text.error();
  const auto stored = read_domain_xml(*stored_text);
  if (!stored)
    return {Errc::conflict, words(server) + ": its definition lost its metadata: remove the domain"};
  auto taken = domain->seen.targets;
  taken.insert(taken.end(), stored->targets.begin(), stored->targets.end());
  const auto target = free_target(taken);
  if (target.empty()) return {Errc::invalid, words(server) + " has 25 disks: no more fit; detach one first"};
  const auto xml = disk_xml({disk, config_.disk_source(disk.id, disk.born)}, target);
  if (!xml) return xml.error();
  const auto what = fmt::format("attaching disk {} to {}", disk.id.str(), words(server));
  const auto attach = [&](unsigned where) {
    return virDomainAttachDeviceFlags(domain->handle.get(), xml->c_str(), where) == 0;
  };
  if (domain->running && !has_disk(domain->seen, disk) && !attach(VIR_DOMAIN_AFFECT_LIVE))
    return session_.last_error(connection, what);
  if (!has_disk(*stored, disk) && !attach(VIR_DOMAIN_AFFECT_CONFIG))
    return session_.last_error(connection, what);
  return {};
}

Status LibvirtDriver::detach_running(const Connection& connection, const Domain& domain,
                                     const DiskLink& disk) {
  const auto uuid = domain.seen.marks.id.str();
  const auto alias = disk_alias(disk);
  const auto what = fmt::format("detaching disk {} from server {}", disk.id.str(), uuid);
  session_.expect_removal(uuid, alias);
  if (virDomainDetachDeviceAlias(domain.handle.get(), alias.c_str(), VIR_DOMAIN_AFFECT_LIVE) != 0) {
    const auto error = session_.last_error(connection, what);
    // It is asked already, and has not answered: that is no failure.
    if (error.text.find("already in the process of unplug") == std::string::npos) return error;
  }
  session_.wait_for_removal(uuid, alias, detach_patience);
  // The event may have been missed; only the domain itself proves it.
  const auto text = domain_text(connection, domain.handle.get(), 0, "server " + uuid);
  if (!text) return text.error();
  const auto seen = read_domain_xml(*text);
  if (!seen || !has_disk(*seen, disk)) return {};
  return {Errc::again, what + ": the guest was asked and has not let go of it yet"};
}

Status LibvirtDriver::detach_disk(const Connection& connection, const ServerWant& server,
                                  const DiskLink& disk) {
  if (disk.boot)
    return {Errc::invalid, words(server) + ": its boot disk cannot be detached: remove the server"};
  auto domain = find(connection, server.id, server.born);
  if (!domain) return domain.error();
  if (!*domain) return {};  // no domain holds it
  const auto& handle = (*domain)->handle;
  const auto stored_text = domain_text(connection, handle.get(), VIR_DOMAIN_XML_INACTIVE, words(server));
  if (!stored_text) return stored_text.error();
  const auto stored = read_domain_xml(*stored_text);
  if (stored && has_disk(*stored, disk) &&
      virDomainDetachDeviceAlias(handle.get(), disk_alias(disk).c_str(), VIR_DOMAIN_AFFECT_CONFIG) != 0)
    return session_.last_error(connection,
                               fmt::format("taking disk {} out of {}", disk.id.str(), words(server)));
  if (!(*domain)->running || !has_disk((*domain)->seen, disk)) return {};
  return detach_running(connection, **domain, disk);
}

Status LibvirtDriver::remove(const Connection& connection, const ServerWant& server) {
  auto domain = find(connection, server.id, server.born);
  if (!domain) return domain.error();
  asked_.erase(server.id);
  if (*domain && (*domain)->running && virDomainDestroy((*domain)->handle.get()) != 0) {
    const auto error = session_.last_error(connection, "powering off " + words(server));
    if (virDomainIsActive((*domain)->handle.get()) != 0) return error;
  }
  // The files before the domain: as long as it is defined, a crash here is seen and finished.
  if (auto removed = files_.remove(server.id, server.born); !removed) return removed;
  if (!*domain) return {};
  for (const char* suffix : {".log", ".log.0", ".log.1", ".log.2", ".log.3"})
    unlink(fmt::format("{}/{}{}", config_.domain_logs, domain_name(server.id), suffix).c_str());
  const unsigned all = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                       VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM;
  if (virDomainUndefineFlags((*domain)->handle.get(), all) != 0) {
    const auto error = session_.last_error(connection, "undefining " + words(server));
    if (error.code != Errc::not_found) return error;
  }
  return {};
}

Result<std::string> LibvirtDriver::console(ServerId id, std::size_t bytes) {
  const auto path = files_.console_log(id);
  if (path.empty()) return Error{Errc::not_found, "server " + id.str() + " has no console log on this node"};
  return read_console_log(path, bytes);
}

}  // namespace

Result<std::unique_ptr<Driver>> open_libvirt_driver(LibvirtConfig config) {
  if (config.state.empty() || config.state[0] != '/')
    return Error{Errc::invalid,
                 fmt::format("compute state folder '{}' is not an absolute path", config.state)};
  if (config.boot_id.empty()) {
    auto boot_id = read_boot_id();
    if (!boot_id) return boot_id.error();
    config.boot_id = std::move(*boot_id);
  }
  const auto plain = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-'; };
  if (config.boot_id.size() > 64 || !std::all_of(config.boot_id.begin(), config.boot_id.end(), plain))
    return Error{Errc::invalid, fmt::format("boot id '{}': at most 64 of a-z, 0-9 and -", config.boot_id)};
  auto driver = std::make_unique<LibvirtDriver>(std::move(config));
  if (auto opened = driver->open(); !opened) return opened.error();
  return std::unique_ptr<Driver>(std::move(driver));
}

}  // namespace reprise::compute
