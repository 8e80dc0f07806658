#include "agents/compute/libvirt_driver.h"

#include <fmt/format.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "agents/compute/console_log.h"
#include "agents/compute/domain_xml.h"
#include "agents/compute/host_state.h"
#include "agents/compute/kvm_probe.h"
#include "agents/compute/libvirt_domain.h"
#include "agents/compute/libvirt_session.h"
#include "agents/compute/patience.h"
#include "agents/compute/qemu_process.h"
#include "agents/compute/server_files.h"

namespace reprise::compute {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds trim_period{10};
// A guest lets go of a disk in 140 ms; one without a kernel never does.
constexpr std::chrono::seconds detach_patience{2};
// A guest that is still booting does not hear the power button: it is pressed again, but not so soon
// that one on its way down would be asked to reboot twice.
constexpr std::chrono::seconds stop_again{5};
constexpr std::chrono::seconds reboot_again{20};

// A guest whose disk was full is let on so often: it stops again at once while there is no room.
constexpr std::chrono::seconds resume_again{5};
// A reset is done in milliseconds; a QEMU that hangs never does it.
constexpr std::chrono::seconds reset_patience{5};
// A step that has not come back by then may hang: somebody should look.
constexpr std::chrono::seconds step_patience{4};
// One that is worked on is not called silent for as long as a step may well take.
constexpr std::chrono::seconds busy_patience{15};
constexpr std::chrono::seconds mark_patience{1};
constexpr std::chrono::milliseconds term_patience{700};
// For the other step on the same server to be out of its way.
constexpr std::chrono::seconds other_patience{5};

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

// What this process knows of a server beside its domain. Its fields are guarded by the driver's mutex,
// except `marking`, which is held while its domain is marked or defined.
struct Memory {
  std::timed_mutex marking;
  int active = 0;             // steps on it that have not come back
  Clock::time_point active_since;
  std::uint64_t changes = 0;  // of its marks, and steps begun: what was read before one is old
  std::uint64_t forced = 0;   // steps begun that nobody may come after: stop_hard, remove
  Seq stopping = 0;           // as Marks::stop_asked, of a domain that could not be marked before it was stopped
  // What the guest was last asked, so that it is not asked twice in a breath.
  Seq stop_asked = 0;
  Seq reboot_asked = 0;
  std::uint64_t reboots_before = 0;
  Clock::time_point asked_at;
  std::optional<Clock::time_point> resumed_at;
  std::shared_ptr<void> reminder;
};

// One perform().
struct Call {
  Connection connection;
  std::shared_ptr<Memory> memory;
  bool forced = false;
  std::uint64_t ticket = 0;  // `forced` of the memory when it began
};

class LibvirtDriver final : public Driver {
 public:
  explicit LibvirtDriver(LibvirtConfig config)
      : config_(std::move(config)),
        files_(config_.state, config_.image_path, config_.open_sealed),
        host_(config_.host_is_going_down ? config_.host_is_going_down : host_is_going_down),
        session_(config_.uri),
        scan_(session_) {}
  Status open() {
    files_.open();
    trimming_ = every(trim_period, [this] { files_.trim_console_logs(); });
    return {};
  }

  void on_change(std::function<void()> wake) override { session_.on_change(std::move(wake)); }
  Result<Have> observe() override;
  Status perform(const Action& action) override;
  Result<std::string> console(ServerId id, std::size_t bytes) override;

 private:
  std::shared_ptr<Memory> memory_of(ServerId id);
  Result<Domain> must_find(const Call& call, const ServerWant& server);
  Status unless_forced(const Call& call, ServerId id, const std::function<Status()>& change);
  Status write_marks(const Call& call, const Domain& domain, const Marks& marks);
  StopCause cause_of(const Domain& domain, const Memory& memory);
  Marks settled(const Domain& domain, const Memory& memory);
  Status settle(const Call& call, Domain& domain);
  void settle_seen(const Domain& domain, const Marks& marks, std::uint64_t changes);
  std::optional<ServerHave> have_of(const Sighting& sighting, ServerId id, std::uint64_t changes);
  bool use_kvm(const Connection& connection);
  Status define_as(const Call& call, const ServerWant& server, const Marks& marks);
  Status launch(const Call& call, const ServerWant& server, Domain& domain);
  Status power_off(const Call& call, const Domain& domain);
  Status missing_disk(const ServerWant& server, const DiskLink& disk);

  Status step(const Call& call, const Action& action);
  Status define(const Call& call, const ServerWant& server);
  Status start(const Call& call, const ServerWant& server);
  Status mark_power(const Call& call, const ServerWant& server);
  Status stop_soft(const Call& call, const ServerWant& server);
  Status stop_hard(const Call& call, const ServerWant& server);
  Status reboot_soft(const Call& call, const ServerWant& server);
  Status reboot_hard(const Call& call, const ServerWant& server);
  Status resume(const Call& call, const ServerWant& server);
  Status attach_disk(const Call& call, const ServerWant& server, const DiskLink& disk);
  Status detach_disk(const Call& call, const ServerWant& server, const DiskLink& disk);
  Status detach_running(const Call& call, const Domain& domain, const DiskLink& disk);
  Status remove(const Call& call, const ServerWant& server);

  LibvirtConfig config_;
  ServerFiles files_;
  HostState host_;
  LibvirtSession session_;
  DomainScan scan_;
  std::mutex kvm_mutex_;
  std::optional<bool> kvm_;
  std::mutex mutex_;
  std::map<ServerId, std::shared_ptr<Memory>> memory_;
  std::set<ServerId> touched_;                     // worked on since observe() last began
  std::map<ServerId, ServerHave> last_seen_;       // observe()'s own
  // Last: its work uses what stands above.
  std::shared_ptr<void> trimming_;
};

std::shared_ptr<Memory> LibvirtDriver::memory_of(ServerId id) {
  const std::lock_guard lock(mutex_);
  auto& memory = memory_[id];
  if (!memory) memory = std::make_shared<Memory>();
  return memory;
}

Result<Domain> LibvirtDriver::must_find(const Call& call, const ServerWant& server) {
  auto domain = find_domain(call.connection, server.id, server.born);
  if (!domain) return domain.error();
  if (!*domain) return Error{Errc::not_found, words(server) + " has no domain on this node: define it first"};
  if (!call.forced && (*domain)->running && (*domain)->silent >= qemu_patience)
    return Error{Errc::timed_out, fmt::format("{}: its QEMU has not answered for {} s: stop or reboot it hard",
                                              words(server), (*domain)->silent.count() / 1000)};
  return std::move(**domain);
}

// A step that hung, and comes back after the server was stopped by force, changes nothing any more.
Status LibvirtDriver::unless_forced(const Call& call, ServerId id, const std::function<Status()>& change) {
  const std::unique_lock marking(call.memory->marking, other_patience);
  if (!marking)
    return {Errc::timed_out, "server " + id.str() + ": another step on it hangs in libvirt; it is tried again"};
  {
    const std::lock_guard lock(mutex_);
    if (!call.forced && call.memory->forced != call.ticket)
      return {Errc::conflict, "server " + id.str() + " was stopped or removed by force meanwhile"};
  }
  auto done = change();
  const std::lock_guard lock(mutex_);
  ++call.memory->changes;
  return done;
}

Status write_to_domain(const Connection& connection, const DomainHandle& handle, bool running,
                       const Marks& marks) {
  const auto xml = marks_bare_xml(marks);
  const auto write = [&](unsigned where) {
    return virDomainSetMetadata(handle.get(), VIR_DOMAIN_METADATA_ELEMENT, xml.c_str(), metadata_prefix,
                                metadata_uri, where);
  };
  // A domain that stopped meanwhile has only its configuration left.
  const unsigned live = running ? static_cast<unsigned>(VIR_DOMAIN_AFFECT_LIVE) : 0u;
  if (write(VIR_DOMAIN_AFFECT_CONFIG | live) == 0) return {};
  auto error = libvirt_error(connection, "marking server " + marks.id.str());
  if (running && virDomainIsActive(handle.get()) == 0 && write(VIR_DOMAIN_AFFECT_CONFIG) == 0) return {};
  return error;
}

Status LibvirtDriver::write_marks(const Call& call, const Domain& domain, const Marks& marks) {
  return unless_forced(call, marks.id, [&] {
    return write_to_domain(call.connection, domain.handle, domain.running, marks);
  });
}

StopCause LibvirtDriver::cause_of(const Domain& domain, const Memory& memory) {
  const auto& marks = domain.seen.marks;
  if (marks.cause != StopCause::none || marks.boot_id.empty()) return marks.cause;
  {
    const std::lock_guard lock(mutex_);
    if (marks.stop_asked != 0 || memory.stopping != 0) return StopCause::asked;
  }
  const auto ending = session_.ending(marks.id.str());
  // Nobody watched: libvirt's own memory of it, which it loses when it restarts.
  if (!ending && domain.stop_reason == VIR_DOMAIN_SHUTOFF_UNKNOWN)
    return marks.boot_id != config_.boot_id ? StopCause::host : StopCause::killed;
  // Whoever shuts the host down stops its guests first, by their power button or by a signal.
  if (host_.going_down()) return StopCause::host;
  const bool by_guest =
      ending ? *ending == Ending::guest : domain.stop_reason == VIR_DOMAIN_SHUTOFF_SHUTDOWN;
  return by_guest ? StopCause::guest : StopCause::killed;
}

// The marks with what only this moment knows: why it stopped, in which boot of the host it runs, and
// that a guest did what it was asked.
Marks LibvirtDriver::settled(const Domain& domain, const Memory& memory) {
  auto marks = domain.seen.marks;
  if (domain.running) {
    // A crash between start and mark; or an operator started it.
    marks.boot_id = config_.boot_id;
    marks.cause = StopCause::none;
    const auto reboots = session_.reboots(marks.id.str());
    const std::lock_guard lock(mutex_);
    if (memory.reboot_asked != 0 && reboots > memory.reboots_before)
      marks.reboot_seq = std::max(marks.reboot_seq, memory.reboot_asked);
    return marks;
  }
  marks.cause = cause_of(domain, memory);
  const std::lock_guard lock(mutex_);
  if (marks.cause == StopCause::asked)
    marks.power_seq = std::max({marks.power_seq, marks.stop_asked, memory.stopping});
  return marks;
}

Status LibvirtDriver::settle(const Call& call, Domain& domain) {
  const auto marks = settled(domain, *call.memory);
  if (marks == domain.seen.marks) return {};
  auto written = write_marks(call, domain, marks);
  if (written) domain.seen.marks = marks;
  return written;
}

// Writes them down, unless somebody works on the server or holds its domain: then the next look does.
void LibvirtDriver::settle_seen(const Domain& domain, const Marks& marks, std::uint64_t changes) {
  const auto memory = memory_of(marks.id);
  const std::unique_lock marking(memory->marking, std::try_to_lock);
  if (!marking || !domain.idle) return;
  {
    const std::lock_guard lock(mutex_);
    if (memory->active > 0 || memory->changes != changes) return;
  }
  const auto connection = session_.lease();
  if (!connection) return;
  (void)within<bool>(mark_patience, [connection = *connection, handle = domain.handle, marks,
                                     running = domain.running] {
    return static_cast<bool>(write_to_domain(connection, handle, running, marks));
  });
}

// Nothing: it is not ours, or gone.
std::optional<ServerHave> LibvirtDriver::have_of(const Sighting& sighting, ServerId id, std::uint64_t changes) {
  const auto memory = memory_of(id);
  bool busy = false;
  {
    const std::lock_guard lock(mutex_);
    busy = memory->active > 0 && Clock::now() - memory->active_since < busy_patience;
  }
  if (!sighting.answered) {
    if (const auto last = last_seen_.find(id); last != last_seen_.end()) {
      auto server = last->second;
      server.answers = busy;
      return server;
    }
    // Never seen by this process: that it is here, and which life of it, its folder tells.
    for (const auto& [folder, born] : files_.list())
      if (folder == id) return ServerHave{.id = id, .born = born, .running = true, .answers = busy};
    return std::nullopt;
  }
  if (!sighting.domain) return std::nullopt;
  const auto& domain = *sighting.domain;
  const auto marks = settled(domain, *memory);
  if (marks != domain.seen.marks) settle_seen(domain, marks, changes);
  return ServerHave{.id = marks.id, .born = marks.born, .running = domain.running, .pause = domain.pause,
                    .paused = domain.paused, .answers = domain.silent < qemu_patience, .cause = marks.cause,
                    .power_seq = marks.power_seq, .reboot_seq = marks.reboot_seq, .identity = marks.identity,
                    .boot_id = marks.boot_id, .disks = domain.seen.disks, .nics = domain.seen.nics};
}

Result<Have> LibvirtDriver::observe() {
  std::map<ServerId, std::uint64_t> changes;
  {
    const std::lock_guard lock(mutex_);
    touched_.clear();
    for (const auto& [id, memory] : memory_) {
      if (memory->active > 0) touched_.insert(id);
      changes[id] = memory->changes;
    }
  }
  std::vector<std::string> known;
  for (const auto& [id, born] : files_.list()) known.push_back(id.str());
  const auto all = scan_.read(known, [this](const std::string& uuid) {
    const auto id = ServerId::parse(uuid);
    const std::lock_guard lock(mutex_);
    const auto memory = id ? memory_.find(*id) : memory_.end();
    return memory != memory_.end() && memory->second->active > 0;
  });
  if (!all) return all.error();
  Have have;
  have.boot_id = config_.boot_id;
  std::set<ServerId> listed;
  std::set<std::pair<ServerId, Born>> read;
  std::map<ServerId, ServerHave> seen;
  for (const auto& sighting : all->sightings) {
    const auto id = ServerId::parse(sighting.uuid);
    if (!id) continue;
    auto server = have_of(sighting, *id, changes[*id]);
    // One of ours that lost its metadata is nobody's, but its files stay.
    if (!server && (!sighting.answered || sighting.name == domain_name(*id))) listed.insert(*id);
    if (!server) continue;
    if (!sighting.answered) listed.insert(*id);
    read.insert({server->id, server->born});
    seen[*id] = *server;
    have.servers[{server->id, server->born}] = std::move(*server);
  }
  last_seen_ = std::move(seen);
  std::set<ServerId> touched;
  {
    const std::lock_guard lock(mutex_);
    touched = touched_;
    for (auto memory = memory_.begin(); memory != memory_.end();)
      memory = last_seen_.contains(memory->first) || memory->second->active > 0 ? std::next(memory)
                                                                                : memory_.erase(memory);
  }
  if (all->whole)
    files_.sweep([&](ServerId id, Born born) {
      return touched.contains(id) || listed.contains(id) || read.contains({id, born});
    });
  return have;
}

Status LibvirtDriver::perform(const Action& action) {
  const auto id = action.server.id;
  Call call;
  call.forced = action.step == Step::stop_hard || action.step == Step::remove;
  {
    const std::lock_guard lock(mutex_);
    auto& kept = memory_[id];
    if (!kept) kept = std::make_shared<Memory>();
    call.memory = kept;
    auto& memory = *call.memory;
    touched_.insert(id);
    if (memory.active++ == 0) memory.active_since = Clock::now();
    ++memory.changes;
    if (call.forced) ++memory.forced;
    call.ticket = memory.forced;
    memory.reminder.reset();
  }
  // A call that hangs causes no event: whoever looks is woken to see that it does.
  auto reminder = every(step_patience, [this] { session_.wake(); });
  auto done = [&]() -> Status {
    auto connection = session_.lease();
    if (!connection) return connection.error();
    call.connection = *connection;
    return step(call, action);
  }();
  // Neither does a guest that never answers: whoever asks is woken to ask again.
  if (!done && done.error().code == Errc::again)
    reminder = every(stop_again, [this] { session_.wake(); });
  else reminder.reset();
  const std::lock_guard lock(mutex_);
  --call.memory->active;
  call.memory->reminder = std::move(reminder);
  return done;
}

Status LibvirtDriver::step(const Call& call, const Action& action) {
  const auto& server = action.server;
  switch (action.step) {
    case Step::define:
      return define(call, server);
    case Step::start:
      return start(call, server);
    case Step::mark_power:
      return mark_power(call, server);
    case Step::stop_soft:
      return stop_soft(call, server);
    case Step::stop_hard:
      return stop_hard(call, server);
    case Step::reboot_soft:
      return reboot_soft(call, server);
    case Step::reboot_hard:
      return reboot_hard(call, server);
    case Step::resume:
      return resume(call, server);
    case Step::attach_disk:
      return attach_disk(call, server, action.disk);
    case Step::detach_disk:
      return detach_disk(call, server, action.disk);
    case Step::remove:
      return remove(call, server);
  }
  return {Errc::unsupported,
          fmt::format("compute step {} is not known to this version", static_cast<int>(action.step))};
}

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
    {
      const std::lock_guard lock(mutex_);
      call.memory->stopping = std::max<Seq>(now.seen.marks.power_seq, 1);
    }
    if (auto off = power_off(call, now); !off) return off;
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

Status LibvirtDriver::attach_disk(const Call& call, const ServerWant& server,
                                  const DiskLink& disk) {
  auto domain = must_find(call, server);
  if (!domain) return domain.error();
  const auto stored_text =
      domain_text(call.connection, domain->handle.get(), VIR_DOMAIN_XML_INACTIVE, words(server));
  if (!stored_text) return stored_text.error();
  const auto stored = read_domain_xml(*stored_text);
  if (!stored)
    return {Errc::conflict, words(server) + ": its definition lost its metadata: remove the domain"};
  const bool live = domain->running && !has_disk(domain->seen, disk);
  if (live)
    if (auto there = missing_disk(server, disk); !there) return there;
  auto taken = domain->seen.targets;
  taken.insert(taken.end(), stored->targets.begin(), stored->targets.end());
  const bool its_own =
      !disk.device.empty() && std::find(taken.begin(), taken.end(), disk.device) == taken.end();
  const auto target = its_own ? disk.device : free_target(taken);
  if (target.empty())
    return {Errc::invalid, words(server) + " has 26 disks: no more fit; detach one first"};
  const auto attach = [&](const SeenDomain& to, unsigned where) -> Status {
    const auto xml = disk_xml({disk, config_.disk_source(disk.id, disk.born)}, target, to.fixed_places);
    if (!xml) return xml.error();
    if (virDomainAttachDeviceFlags(domain->handle.get(), xml->c_str(), where) == 0) return {};
    return libvirt_error(call.connection, fmt::format("attaching disk {} to {}", disk.id.str(), words(server)));
  };
  if (live)
    if (auto done = attach(domain->seen, VIR_DOMAIN_AFFECT_LIVE); !done) return done;
  if (!has_disk(*stored, disk))
    return unless_forced(call, server.id, [&] { return attach(*stored, VIR_DOMAIN_AFFECT_CONFIG); });
  return {};
}

Status LibvirtDriver::detach_running(const Call& call, const Domain& domain,
                                     const DiskLink& disk) {
  const auto uuid = domain.seen.marks.id.str();
  const auto alias = disk_alias(disk);
  const auto what = fmt::format("detaching disk {} from server {}", disk.id.str(), uuid);
  session_.expect_removal(uuid, alias);
  if (virDomainDetachDeviceAlias(domain.handle.get(), alias.c_str(), VIR_DOMAIN_AFFECT_LIVE) != 0) {
    const auto error = libvirt_error(call.connection, what);
    // It is asked already, and has not answered: that is no failure.
    if (error.text.find("already in the process of unplug") == std::string::npos) return error;
  }
  session_.wait_for_removal(uuid, alias, detach_patience);
  // The event may have been missed; only the domain itself proves it.
  const auto text = domain_text(call.connection, domain.handle.get(), 0, "server " + uuid);
  if (!text) return text.error();
  const auto seen = read_domain_xml(*text);
  if (!seen || !has_disk(*seen, disk)) return {};
  return {Errc::again, what + ": the guest was asked and has not let go of it yet"};
}

Status LibvirtDriver::detach_disk(const Call& call, const ServerWant& server,
                                  const DiskLink& disk) {
  if (disk.boot)
    return {Errc::invalid, words(server) + ": its boot disk cannot be detached: remove the server"};
  auto domain = find_domain(call.connection, server.id, server.born);
  if (!domain) return domain.error();
  if (!*domain) return {};  // no domain holds it
  const auto& handle = (*domain)->handle;
  const auto stored_text = domain_text(call.connection, handle.get(), VIR_DOMAIN_XML_INACTIVE, words(server));
  if (!stored_text) return stored_text.error();
  const auto stored = read_domain_xml(*stored_text);
  if (stored && has_disk(*stored, disk) &&
      virDomainDetachDeviceAlias(handle.get(), disk_alias(disk).c_str(), VIR_DOMAIN_AFFECT_CONFIG) != 0)
    return libvirt_error(call.connection,
                               fmt::format("taking disk {} out of {}", disk.id.str(), words(server)));
  if (!(*domain)->running || !has_disk((*domain)->seen, disk)) return {};
  return detach_running(call, **domain, disk);
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
