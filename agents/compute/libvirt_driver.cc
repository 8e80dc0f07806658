#include "agents/compute/libvirt_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "agents/compute/console_log.h"
#include "agents/compute/libvirt_servers.h"
#include "agents/compute/patience.h"

namespace reprise::compute {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds trim_period{10};
// A step that has not come back by then may hang: somebody should look.
constexpr std::chrono::seconds step_patience{4};
// Whoever asked a guest for something is woken to look at it again.
constexpr std::chrono::seconds again_period{5};
// One that is worked on is not called silent for as long as a step may well take.
constexpr std::chrono::seconds busy_patience{15};
constexpr std::chrono::seconds mark_patience{1};
// For the other step on the same server to be out of its way.
constexpr std::chrono::seconds other_patience{5};

Result<std::string> read_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  if (std::getline(file, id) && id.size() == 36) return id;
  return Error{Errc::unsupported,
               "cannot read /proc/sys/kernel/random/boot_id: a restart of the host would go unnoticed"};
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

}  // namespace

void LibvirtDriver::open() {
  files_.open();
  trimming_ = every(trim_period, [this] { files_.trim_console_logs(); });
}

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
    reminder = every(again_period, [this] { session_.wake(); });
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

Result<std::string> LibvirtDriver::console(ServerId id, std::size_t bytes) {
  const auto path = files_.console_log(id);
  if (path.empty()) return Error{Errc::not_found, "server " + id.str() + " has no console log on this node"};
  return read_console_log(path, bytes);
}

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
  driver->open();
  return std::unique_ptr<Driver>(std::move(driver));
}

}  // namespace reprise::compute
