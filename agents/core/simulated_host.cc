#include "agents/core/simulated_host.h"

#include <fmt/format.h>

#include <algorithm>

namespace reprise {

using compute::DiskLink;
using compute::ServerHave;

struct SimulatedHost::Compute final : compute::Driver {
  explicit Compute(SimulatedHost& host) : host(host) {}

  void on_change(std::function<void()> wake) override { host.wake_[0] = std::move(wake); }
  bool blocks() const override { return false; }

  Result<compute::Have> observe() override {
    if (host.hooks_.blind)
      if (auto status = host.hooks_.blind(AgentKind::compute); !status) return status.error();
    std::lock_guard lock(host.mutex_);
    return host.servers_;
  }

  Status perform(const compute::Action& action) override {
    Status result;
    std::lock_guard lock(host.mutex_);
    if (!host.takes_place(AgentKind::compute, compute::step_name(action.step), action.server.id.as<AnyId>(), result)) return result;
    const Status done = apply(action);
    return done ? result : done;
  }

  Result<std::string> console(ServerId id, std::size_t bytes) override {
    std::lock_guard lock(host.mutex_);
    const auto at = host.consoles_.find(id);
    if (at == host.consoles_.end()) return Error{Errc::not_found, fmt::format("server {} has no console here", id.str())};
    const std::string& text = at->second;
    return bytes && bytes < text.size() ? text.substr(text.size() - bytes) : text;
  }

  Status apply(const compute::Action& action) {
    const auto key = std::pair(action.server.id, action.server.born);
    auto at = host.servers_.servers.find(key);
    if (action.step == compute::Step::remove) {
      if (at != host.servers_.servers.end()) host.servers_.servers.erase(at);
      host.consoles_.erase(action.server.id);
      return {};
    }
    if (action.step == compute::Step::define) {
      if (at != host.servers_.servers.end()) return {};
      ServerHave made{.id = action.server.id, .born = action.server.born, .disks = action.server.disks, .nics = action.server.nics};
      host.servers_.servers.emplace(key, std::move(made));
      return {};
    }
    if (at == host.servers_.servers.end())
      return {Errc::not_found, fmt::format("server {} is not defined on this host", action.server.id.str())};
    return change(at->second, action);
  }

  Status change(ServerHave& have, const compute::Action& action) {
    const auto& want = action.server;
    switch (action.step) {
      case compute::Step::start:
        have.disks = want.disks;
        have.nics = want.nics;
        for (const auto& disk : want.disks)
          if (!host.disks_->holds(disk.id, disk.born))
            return {Errc::not_found, fmt::format("disk {} of server {} is not on this host", disk.id.str(), want.id.str())};
        if (host.disks_->shuts_out(host.node_, want.identity))
          return {Errc::denied, fmt::format("the storage pool lets no client {} of this node in: it was taken for lost", want.identity)};
        start(have, want);
        return {};
      case compute::Step::mark_power: have.power_seq = want.power_seq; return {};
      case compute::Step::stop_soft:
        if (host.deaf_.contains(want.id) || have.pause != compute::Pause::none) return {};
        return stop(have, want);
      case compute::Step::stop_hard: return stop(have, want);
      case compute::Step::reboot_soft:
      case compute::Step::reboot_hard: return reboot(have, action);
      case compute::Step::resume: return resume(have, want);
      case compute::Step::attach_disk: return attach(have, action.disk);
      case compute::Step::detach_disk:
        if (action.disk.boot)
          return {Errc::invalid, fmt::format("the boot disk of server {} cannot be detached", want.id.str())};
        std::erase_if(have.disks, [&](const DiskLink& one) { return one.id == action.disk.id && one.born == action.disk.born; });
        return {};
      case compute::Step::define:
      case compute::Step::remove: break;
    }
    return {};
  }

  Status attach(ServerHave& have, const DiskLink& disk) {
    if (!host.disks_->holds(disk.id, disk.born))
      return {Errc::not_found, fmt::format("disk {} is not on this host", disk.id.str())};
    const bool there = std::any_of(have.disks.begin(), have.disks.end(), [&](const DiskLink& one) { return one.id == disk.id; });
    if (!there) have.disks.push_back(disk);
    return {};
  }

  // What runs writes, if there is room for it.
  void write(ServerHave& have) {
    if (host.full_) {
      have.pause = compute::Pause::io_error;
      have.paused = "no room for what it writes: free some";
      return;
    }
    for (const auto& disk : have.disks) {
      const auto content = host.disks_->write(disk.id, disk.born, host.node_, have.identity, ++host.writes_);
      if (content && host.hooks_.written) host.hooks_.written(disk.id, disk.born, *content);
    }
  }

  void start(ServerHave& have, const compute::ServerWant& want) {
    if (!have.running) have.identity = want.identity;  // one that runs has its disks open already
    const bool ran = have.running;
    have.running = true;
    have.cause = compute::StopCause::none;
    have.power_seq = want.power_seq;
    have.reboot_seq = want.reboot_seq;
    have.boot_id = host.servers_.boot_id;
    if (!ran) have.pause = compute::Pause::none, have.paused.clear(), write(have);
    host.consoles_[want.id] += fmt::format("reprise-guest ready {} simulated\n", want.guest.hostname);
  }

  Status reboot(ServerHave& have, const compute::Action& action) {
    if (!have.running)
      return {Errc::conflict, fmt::format("server {} does not run: it cannot reboot", action.server.id.str())};
    const bool hears = have.pause == compute::Pause::none && !host.deaf_.contains(action.server.id);
    if (action.step == compute::Step::reboot_soft && !hears) return {};
    have.reboot_seq = action.server.reboot_seq;
    have.pause = compute::Pause::none;
    have.paused.clear();
    write(have);
    return {};
  }

  Status resume(ServerHave& have, const compute::ServerWant& want) {
    if (!have.running)
      return {Errc::conflict, fmt::format("server {} does not run: it cannot be resumed", want.id.str())};
    have.pause = compute::Pause::none;
    have.paused.clear();
    write(have);
    return {};
  }

  Status stop(ServerHave& have, const compute::ServerWant& want) {
    // Who stopped before it was asked to keeps its own cause.
    if (have.running) have.cause = compute::StopCause::asked;
    have.running = false;
    have.pause = compute::Pause::none;
    have.paused.clear();
    have.power_seq = want.power_seq;
    return {};
  }

  SimulatedHost& host;
};

struct SimulatedHost::Storage final : storage::Driver {
  explicit Storage(SimulatedHost& host) : host(host) {}

  void on_change(std::function<void()> wake) override { host.wake_[1] = std::move(wake); }
  bool blocks() const override { return false; }

  Result<storage::Have> observe() override {
    if (host.hooks_.blind)
      if (auto status = host.hooks_.blind(AgentKind::storage); !status) return status.error();
    return host.disks_->have();
  }

  Status perform(const storage::Action& action) override {
    Status result;
    std::lock_guard lock(host.mutex_);
    const AnyId object = action.step == storage::Step::evict_image ? action.image.as<AnyId>()
                         : action.step == storage::Step::fence     ? action.fence.node.as<AnyId>()
                                                                   : action.disk.id;
    if (!host.takes_place(AgentKind::storage, storage::step_name(action.step), object, result)) return result;
    const Status done = host.disks_->apply(action, host.node_);
    return done ? result : done;
  }

  storage::DiskSource source(AnyId id, Born born) const override {
    return {.type = "file", .path = fmt::format("/simulated/{}.{}", id.str(), born.str()), .format = "qcow2"};
  }

  SimulatedHost& host;
};

struct SimulatedHost::Network final : network::Driver {
  explicit Network(SimulatedHost& host) : host(host) {}

  void on_change(std::function<void()> wake) override { host.wake_[2] = std::move(wake); }
  bool blocks() const override { return false; }

  Result<network::Have> observe() override {
    if (host.hooks_.blind)
      if (auto status = host.hooks_.blind(AgentKind::network); !status) return status.error();
    std::lock_guard lock(host.mutex_);
    return host.ports_;
  }

  Status perform(const network::Action& action) override {
    Status result;
    std::lock_guard lock(host.mutex_);
    if (!host.takes_place(AgentKind::network, network::step_name(action.step), {}, result)) return result;
    auto& have = host.ports_;
    have.networks.clear();
    have.ports.clear();
    have.troubles.clear();
    for (const auto& [id, want] : action.want.networks) {
      if (const auto at = host.network_troubles_.find(id); at != host.network_troubles_.end()) have.troubles[id.as<AnyId>()] = at->second;
      else have.networks[id] = {.id = id, .born = want.born};
    }
    for (const auto& [id, want] : action.want.ports)
      if (have.networks.contains(want.network))
        have.ports[{id, want.born}] = {.id = id, .born = want.born, .ready = true, .plugged = true};
    have.applied = action.want;
    have.in_force = true;
    if (const auto at = have.troubles.find(action.retried); at != have.troubles.end() && result)
      return {Errc::broken, at->second};
    return result;
  }

  SimulatedHost& host;
};

SimulatedHost::SimulatedHost(std::string boot_id, std::uint64_t disk_gib, Hooks hooks)
    : SimulatedHost(std::move(boot_id), std::make_shared<SimulatedDisks>(disk_gib), {}, std::move(hooks)) {}

SimulatedHost::SimulatedHost(std::string boot_id, std::shared_ptr<SimulatedDisks> pool, NodeId node, Hooks hooks)
    : hooks_(std::move(hooks)), node_(node), disks_(std::move(pool)), compute_(std::make_unique<Compute>(*this)),
      storage_(std::make_unique<Storage>(*this)), network_(std::make_unique<Network>(*this)) {
  servers_.boot_id = std::move(boot_id);
}
SimulatedHost::~SimulatedHost() = default;

compute::Driver& SimulatedHost::compute() { return *compute_; }
storage::Driver& SimulatedHost::storage() { return *storage_; }
network::Driver& SimulatedHost::network() { return *network_; }

compute::Have SimulatedHost::servers() const { return std::lock_guard(mutex_), servers_; }
network::Have SimulatedHost::ports() const { return std::lock_guard(mutex_), ports_; }

bool SimulatedHost::takes_place(AgentKind agent, const std::string& what, AnyId object, Status& result) {
  const SimulatedFault fault = hooks_.fault ? hooks_.fault(agent, what, object) : SimulatedFault{};
  switch (fault.kind) {
    case SimulatedFault::none: break;
    case SimulatedFault::reply_lost: result = fault.error; break;
    case SimulatedFault::fails: result = fault.error; return false;
    case SimulatedFault::effect_lost: return false;
  }
  if (hooks_.effect) hooks_.effect(agent, what, object);
  return true;
}

void SimulatedHost::stop_guest(ServerId id, compute::StopCause cause) {
  std::function<void()> wake;
  {
    std::lock_guard lock(mutex_);
    for (auto& [key, server] : servers_.servers) {
      if (key.first != id || !server.running) continue;
      server.running = false;
      server.pause = compute::Pause::none;
      server.paused.clear();
      server.cause = cause;
      wake = wake_[0];
    }
  }
  if (wake) wake();
}

void SimulatedHost::guest_powers_off(ServerId id) { stop_guest(id, compute::StopCause::guest); }
void SimulatedHost::kill_guest(ServerId id) { stop_guest(id, compute::StopCause::killed); }

void SimulatedHost::restart(std::string boot_id) {
  {
    std::lock_guard lock(mutex_);
    servers_.boot_id = std::move(boot_id);
    for (auto& [key, server] : servers_.servers) {
      if (server.running) server.cause = compute::StopCause::host;
      server.running = false;
      server.pause = compute::Pause::none;
      server.paused.clear();
    }
    ports_ = {};
  }
  for (const auto& wake : wake_)
    if (wake) wake();
}

void SimulatedHost::lose_flows() {
  std::function<void()> wake;
  {
    std::lock_guard lock(mutex_);
    ports_.in_force = false;
    wake = wake_[2];
  }
  if (wake) wake();
}

void SimulatedHost::pause_guest(ServerId id, compute::Pause pause) {
  std::function<void()> wake;
  {
    std::lock_guard lock(mutex_);
    for (auto& [key, server] : servers_.servers) {
      if (key.first != id || !server.running) continue;
      server.pause = pause;
      server.paused = pause == compute::Pause::none ? "" : "paused on its host, by hand: resume it there, or reboot it hard";
      wake = wake_[0];
    }
  }
  if (wake) wake();
}

void SimulatedHost::set_silent(ServerId id, bool silent) {
  std::lock_guard lock(mutex_);
  for (auto& [key, server] : servers_.servers)
    if (key.first == id) server.answers = !silent;
}

void SimulatedHost::set_full(bool full) {
  std::function<void()> wake;
  {
    std::lock_guard lock(mutex_);
    full_ = full;
    for (auto& [key, server] : servers_.servers) {
      if (!full || !server.running || server.pause != compute::Pause::none) continue;
      server.pause = compute::Pause::io_error;
      server.paused = "no room for what it writes: free some";
    }
    wake = wake_[0];
  }
  if (wake) wake();
}

void SimulatedHost::set_network_trouble(NetworkId network, const std::string& why) {
  std::function<void()> wake;
  {
    std::lock_guard lock(mutex_);
    if (why.empty()) network_troubles_.erase(network);
    else network_troubles_[network] = why;
    if (!why.empty()) ports_.in_force = false;
    wake = wake_[2];
  }
  if (wake) wake();
}

bool SimulatedHost::lose_disk(AnyId id, Born born) {
  if (!disks_->vanish(id, born)) return false;
  if (const auto wake = (std::lock_guard(mutex_), wake_[1])) wake();
  return true;
}

void SimulatedHost::set_deaf(ServerId id, bool deaf) {
  std::lock_guard lock(mutex_);
  if (deaf) deaf_.insert(id);
  else deaf_.erase(id);
}

}  // namespace reprise
