#include "agents/compute/libvirt_domain.h"

#include <fmt/format.h>
#include <libvirt/virterror.h>

#include <condition_variable>
#include <thread>

#include "agents/compute/patience.h"

namespace reprise::compute {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds list_patience{3};
constexpr std::chrono::seconds ping_patience{3};
constexpr std::chrono::milliseconds domain_patience{2000};
// One that is being started is locked for as long as that takes.
constexpr std::chrono::milliseconds busy_patience{250};

// Which disk of a guest that stands still, and why; the guest goes on by itself once there is room.
std::string error_words(virDomainPtr domain, const SeenDomain& seen) {
  virDomainDiskError errors[32] = {};
  const int count = virDomainGetDiskErrors(domain, errors, 32, 0);
  std::string words;
  for (int i = 0; i < count; ++i) {
    const std::string target = errors[i].disk == nullptr ? "" : errors[i].disk;
    const auto path = seen.paths.find(target);
    words += fmt::format("{}{} ({}) {}", words.empty() ? "" : "; ", target,
                         path == seen.paths.end() ? "its file is not known" : path->second,
                         errors[i].error == VIR_DOMAIN_DISK_ERROR_NO_SPACE
                             ? "has no room left on its file system: make some"
                             : "cannot be read or written: see the host's kernel log");
    free(errors[i].disk);
  }
  return fmt::format("paused, for a disk failed: {}; it goes on by itself when that is mended",
                     words.empty() ? "libvirt does not say which" : words);
}

void read_pause(Domain& domain, int state, int reason) {
  if (state == VIR_DOMAIN_PMSUSPENDED) {
    domain.pause = Pause::other;
    domain.paused = "it suspended itself to memory: virsh dompmwakeup, or reboot it hard";
  }
  if (state != VIR_DOMAIN_PAUSED) return;
  switch (reason) {
    case VIR_DOMAIN_PAUSED_STARTING_UP:
    case VIR_DOMAIN_PAUSED_MIGRATION:
    case VIR_DOMAIN_PAUSED_POSTCOPY:
    case VIR_DOMAIN_PAUSED_SNAPSHOT:
    case VIR_DOMAIN_PAUSED_FROM_SNAPSHOT:
    case VIR_DOMAIN_PAUSED_SAVE:
    case VIR_DOMAIN_PAUSED_DUMP:
    case VIR_DOMAIN_PAUSED_SHUTTING_DOWN:
      return;  // libvirt's own way to somewhere
    case VIR_DOMAIN_PAUSED_USER:
      domain.pause = Pause::by_hand;
      domain.paused = "paused on its host, by hand: virsh resume, or reboot it hard";
      return;
    case VIR_DOMAIN_PAUSED_IOERROR:
      domain.pause = Pause::io_error;
      domain.paused = domain.idle ? error_words(domain.handle.get(), domain.seen)
                                  : "paused, for a disk failed; it goes on by itself when that is mended";
      return;
    case VIR_DOMAIN_PAUSED_WATCHDOG:
      domain.paused = "paused by its watchdog: the guest hangs; reboot it hard";
      break;
    case VIR_DOMAIN_PAUSED_CRASHED:
      domain.paused = "paused, for its system crashed: reboot it hard";
      break;
    default:
      domain.paused = fmt::format("paused, libvirt's reason is {}: virsh resume, or reboot it hard", reason);
  }
  domain.pause = Pause::other;
}

void read_control(Domain& domain) {
  virDomainControlInfo info{};
  if (!domain.running || virDomainGetControlInfo(domain.handle.get(), &info, 0) != 0) return;
  domain.idle = info.state == VIR_DOMAIN_CONTROL_OK;
  if (info.state == VIR_DOMAIN_CONTROL_OCCUPIED) domain.silent = std::chrono::milliseconds(info.stateTime);
  // The monitor is broken for good.
  if (info.state == VIR_DOMAIN_CONTROL_ERROR && info.details == VIR_DOMAIN_CONTROL_ERROR_REASON_MONITOR)
    domain.silent = qemu_patience;
}

}  // namespace

DomainHandle own(virDomainPtr domain) {
  return {domain, [](virDomainPtr held) {
            if (held != nullptr) virDomainFree(held);
          }};
}

Result<std::string> domain_text(const Connection& connection, virDomainPtr domain, unsigned flags,
                                const std::string& what) {
  const std::unique_ptr<char, decltype(&free)> xml(virDomainGetXMLDesc(domain, flags), &free);
  if (!xml) return libvirt_error(connection, "reading the domain of " + what);
  return std::string(xml.get());
}

Result<std::optional<Domain>> inspect(const Connection& connection, DomainHandle handle) {
  const auto text = domain_text(connection, handle.get(), 0, "a server");
  int state = 0, reason = 0;
  if (!text || virDomainGetState(handle.get(), &state, &reason, 0) != 0) {
    const auto error = text ? libvirt_error(connection, "reading a domain's state") : text.error();
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
  read_control(domain);
  if (domain.running) read_pause(domain, state, reason);
  return std::optional<Domain>(std::move(domain));
}

Result<std::optional<Domain>> find_domain(const Connection& connection, ServerId id, Born born) {
  auto handle = own(virDomainLookupByUUIDString(connection.get(), id.str().c_str()));
  if (!handle) {
    const auto error = libvirt_error(connection, "looking for server " + id.str());
    if (error.code == Errc::not_found) return std::optional<Domain>();
    return error;
  }
  auto domain = inspect(connection, std::move(handle));
  if (domain && *domain && ((*domain)->seen.marks.id != id || (*domain)->seen.marks.born != born))
    return std::optional<Domain>();
  return domain;
}

// Shared by whoever waits and the readers, of which all but the last were left behind.
struct DomainScan::Round {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Sighting> sightings;
  std::vector<DomainHandle> handles;  // by the same index; empty: to be looked up
  std::vector<bool> skip;
  std::size_t at = 0;  // read now
  Clock::time_point since;
  std::uint64_t reader = 0;
  std::optional<Error> failed;  // of libvirtd, not of one domain
  std::shared_ptr<Left> left;
};

void DomainScan::run(const std::shared_ptr<Round>& round, std::uint64_t reader, const Connection& connection) {
  for (;;) {
    std::string uuid;
    DomainHandle handle;
    std::size_t index = 0;
    {
      const std::lock_guard lock(round->mutex);
      if (round->reader != reader) return;
      while (round->at < round->sightings.size() && round->skip[round->at]) ++round->at;
      round->since = Clock::now();
      round->changed.notify_all();
      if (round->at >= round->sightings.size()) return;
      index = round->at;
      uuid = round->sightings[index].uuid;
      handle = round->handles[index];
    }
    bool gone = false;
    if (!handle) {
      handle = own(virDomainLookupByUUIDString(connection.get(), uuid.c_str()));
      gone = !handle && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
    }
    auto domain = gone      ? Result<std::optional<Domain>>(std::optional<Domain>())
                  : !handle ? Result<std::optional<Domain>>(libvirt_error(connection, "looking for " + uuid))
                            : inspect(connection, handle);
    const std::lock_guard lock(round->mutex);
    if (round->reader != reader) {
      const std::lock_guard left_lock(round->left->mutex);
      if (--round->left->readers[uuid] == 0) round->left->readers.erase(uuid);
      --calls_left_behind;
      return;
    }
    if (!domain && domain.error().code == Errc::unreachable) round->failed = domain.error();
    round->sightings[index].answered = static_cast<bool>(domain);
    if (domain) round->sightings[index].domain = std::move(*domain);
    ++round->at;
    if (round->failed) round->at = round->sightings.size();
  }
}

Status DomainScan::start_reader(const std::shared_ptr<Round>& round) {
  auto connection = session_.lease();
  if (!connection) return connection.error();
  std::uint64_t reader = 0;
  {
    const std::lock_guard lock(round->mutex);
    reader = ++round->reader;
    round->since = Clock::now();
  }
  std::thread([round, reader, connection = *connection] { run(round, reader, connection); }).detach();
  return {};
}

Result<std::optional<std::vector<DomainHandle>>> DomainScan::list() {
  using Handles = std::vector<DomainHandle>;
  using Listed = std::pair<Handles, std::optional<Error>>;
  auto connection = session_.lease();
  if (!connection) return connection.error();
  bool waits = false;
  {
    const std::lock_guard lock(left_->mutex);
    waits = std::exchange(left_->listing, true);
  }
  if (!waits) {
    std::shared_ptr<void> came(nullptr, [left = left_](void*) {
      const std::lock_guard lock(left->mutex);
      left->listing = false;
    });
    std::function<Listed()> call = [connection = *connection, came = std::move(came)]() -> Listed {
      virDomainPtr* list = nullptr;
      Listed handles;
      const int count = virConnectListAllDomains(connection.get(), &list, 0);
      if (count < 0) handles.second = libvirt_error(connection, "listing domains");
      for (int i = 0; i < count; ++i) handles.first.push_back(own(list[i]));
      free(list);
      return handles;
    };
    auto listed = within(list_patience, std::move(call));
    if (listed && listed->second) return *listed->second;
    if (listed) return std::optional<Handles>(std::move(listed->first));
  }
  // Either libvirtd hangs, or one domain does and its list with it.
  auto other = session_.lease();
  if (!other) return other.error();
  const auto pong = within<int>(ping_patience, [other = *other] {
    unsigned long version = 0;
    return virConnectGetLibVersion(other.get(), &version);
  });
  if (pong && *pong == 0) return std::optional<Handles>();
  return Error{Errc::unreachable, "libvirtd does not answer; it is asked again until it does"};
}

Result<DomainScan::All> DomainScan::read(const std::vector<std::string>& known,
                                         const std::function<bool(const std::string&)>& busy) {
  auto listed = list();
  if (!listed) return listed.error();
  const bool whole = listed->has_value();
  auto round = std::make_shared<Round>();
  round->left = left_;
  if (whole) round->handles = std::move(**listed);
  else round->handles.resize(known.size());
  for (std::size_t i = 0; i < round->handles.size(); ++i) {
    Sighting sighting;
    if (whole) {
      char uuid[VIR_UUID_STRING_BUFLEN] = {};
      virDomainGetUUIDString(round->handles[i].get(), uuid);
      sighting.uuid = uuid;
      sighting.name = virDomainGetName(round->handles[i].get());
    } else {
      sighting.uuid = known[i];
    }
    const std::lock_guard lock(left_->mutex);
    round->skip.push_back(left_->readers.contains(sighting.uuid));
    round->sightings.push_back(std::move(sighting));
  }
  if (auto started = start_reader(round); !started) return started.error();
  std::unique_lock lock(round->mutex);
  while (round->at < round->sightings.size()) {
    const auto patience = busy(round->sightings[round->at].uuid) ? busy_patience : domain_patience;
    const auto at = round->at;
    const auto deadline = round->since + patience;
    round->changed.wait_until(lock, deadline, [&] { return round->at != at; });
    if (round->at != at || Clock::now() < deadline) continue;
    // Left behind with the one that does not answer; another goes on after it.
    {
      const std::lock_guard left_lock(left_->mutex);
      ++left_->readers[round->sightings[at].uuid];
    }
    ++calls_left_behind;
    ++round->at;
    ++round->reader;
    if (calls_left_behind >= left_behind_at_most)
      return Error{Errc::unreachable,
                   fmt::format("{} calls of libvirt's hang: restart libvirtd", calls_left_behind.load())};
    lock.unlock();
    if (auto started = start_reader(round); !started) return started.error();
    lock.lock();
  }
  if (round->failed) return *round->failed;
  All all;
  all.whole = whole;
  all.sightings = std::move(round->sightings);
  return all;
}

}  // namespace reprise::compute
