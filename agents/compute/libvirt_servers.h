// The driver `libvirt` as a class, for its own sources: libvirt_driver.cc (observe, perform, marks),
// libvirt_power.cc (definitions, power, reboots), libvirt_disks.cc.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "agents/compute/host_state.h"
#include "agents/compute/libvirt_domain.h"
#include "agents/compute/libvirt_driver.h"
#include "agents/compute/libvirt_session.h"
#include "agents/compute/server_files.h"

namespace reprise::compute {

// What this process knows of a server beside its domain. Its fields are guarded by the driver's mutex,
// except `marking`, which is held while its domain is marked or defined.
struct Memory {
  std::timed_mutex marking;
  int active = 0;             // steps on it that have not come back
  std::chrono::steady_clock::time_point active_since;
  std::uint64_t changes = 0;  // of its marks, and steps begun: what was read before one is old
  std::uint64_t forced = 0;   // steps begun that nobody may come after: stop_hard, remove
  Seq stopping = 0;           // as Marks::stop_asked, of a domain that could not be marked before it was stopped
  // What the guest was last asked, so that it is not asked twice in a breath.
  Seq stop_asked = 0;
  Seq reboot_asked = 0;
  std::uint64_t reboots_before = 0;
  std::chrono::steady_clock::time_point asked_at;
  std::optional<std::chrono::steady_clock::time_point> resumed_at;
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
  void open();

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

inline std::string words(const ServerWant& server) { return "server " + server.id.str(); }

}  // namespace reprise::compute
