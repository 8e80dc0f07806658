#include "controlplane/cli/node_drivers.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "agents/compute/libvirt_driver.h"
#include "agents/core/simulated_host.h"
#include "agents/network/ovs_daemons.h"
#include "agents/network/ovs_driver.h"
#include "agents/storage/local_driver.h"
#include "controlplane/api/compute.h"
#include "controlplane/api/image_store.h"
#include "controlplane/api/router.h"
#include "events/hash.h"

namespace reprise::cli {
namespace {

constexpr const char* host_folder = "/run/reprise";
constexpr const char* host_lock = "/run/reprise/agent.lock";

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] ? name : "node";
}

std::string first_line(const std::string& path) {
  auto text = read_file(path);
  return text ? text->substr(0, text->find('\n')) : std::string();
}

// Another one after the host, or all that we run on it, was down: what should be on is started again then.
std::string boot_id_of(const StateFolder& state) {
  const std::string host = first_line("/proc/sys/kernel/random/boot_id"), ours = first_line(state.boot());
  return ours.empty() ? host : blake2b(host + ours).hex().substr(0, 32);
}

std::string or_else(const std::string& configured, const std::string& fallback) {
  return configured.empty() ? fallback : configured;
}

NodeFacts facts_of(const Config& config, NodeId id, std::string name) {
  NodeFacts facts{.id = id, .name = std::move(name), .zone = config.agent.zone};
  facts.compute_driver = config.agent.compute;
  facts.storage_driver = config.agent.storage;
  facts.network_driver = config.agent.network;
  facts.address = config.agent.address;
  facts.version = "0.1";
  return facts;
}

// What the host offers to servers: overcommitted cpus, and memory less what is reserved.
Status measure_host(const Config& config, NodeFacts& facts) {
  struct sysinfo memory {};
  if (::sysinfo(&memory) != 0) return {Errc::broken, "cannot measure this machine's memory"};
  const auto left = [](std::uint64_t all, std::int64_t reserved) {
    return all > static_cast<std::uint64_t>(reserved) ? all - static_cast<std::uint64_t>(reserved) : 0;
  };
  facts.vcpus =
      static_cast<std::uint32_t>(std::max(1.0, std::thread::hardware_concurrency() * config.agent.cpu_ratio));
  facts.ram_mib = left(memory.totalram / 1024 * memory.mem_unit / 1024, config.agent.reserved_ram_mib);
  return {};
}

// What is on simulated disks outlives the process, as on real ones: a line a change, which disks and what (SimulatedDisks::take).
class SimulatedJournal {
 public:
  explicit SimulatedJournal(std::string path) : path_(std::move(path)) {}
  void add(const std::string& name, SimulatedDisks& disks) { disks_[name] = &disks; }

  // Reads it back, writes it anew without what is over, and goes on in it.
  Status open() {
    std::ifstream old(path_);
    for (std::string line; std::getline(old, line);) {
      const auto space = line.find(' ');
      const auto at = disks_.find(line.substr(0, space));
      if (space != line.npos && at != disks_.end()) (void)at->second->take(line.substr(space + 1));  // a torn last one is none
    }
    const std::string fresh = path_ + ".new";
    file_.open(fresh, std::ios::trunc);
    for (auto& [name, disks] : disks_)
      disks->journal([this, name](const std::string& line) {
        std::lock_guard lock(mutex_);
        file_ << name << ' ' << line << '\n' << std::flush;
      });
    if (!file_ || ::rename(fresh.c_str(), path_.c_str()) != 0)
      return {Errc::denied, fmt::format("cannot write {}: what is on simulated disks would be forgotten", path_)};
    return {};
  }

 private:
  const std::string path_;
  std::map<std::string, SimulatedDisks*> disks_;
  std::mutex mutex_;
  std::ofstream file_;
};

class SimulatedNodes final : public NodeSet {
 public:
  SimulatedNodes(const Config& config, const StateFolder& state, NodeId first) : journal_(state.dir + "/simulated-disks") {
    const auto& simulated = config.simulated;
    const std::string name = or_else(config.agent.node, host_name());
    const auto gib = static_cast<std::uint64_t>(simulated.disk_gib);
    const auto pool = std::make_shared<SimulatedDisks>(gib * static_cast<std::uint64_t>(simulated.nodes), true);
    journal_.add("pool", *pool);
    for (std::int64_t i = 0; i < simulated.nodes; ++i) {
      // Whatever was on it went with the process that simulated it: for the cloud, the host has restarted.
      const std::string boot_id = api::random_id().str();
      NodeFacts facts = facts_of(config, {first.hi, first.lo + static_cast<std::uint64_t>(i)},
                                 simulated.nodes == 1 ? name : fmt::format("{}-{}", name, i + 1));
      facts.boot_id = boot_id;
      facts.vcpus = static_cast<std::uint32_t>(simulated.vcpus);
      facts.ram_mib = static_cast<std::uint64_t>(simulated.ram_mib);
      facts.disk_gib = gib;
      facts.storage_pool = simulated.storage_pool;
      const auto disks = simulated.storage_pool.empty() ? std::make_shared<SimulatedDisks>(gib) : pool;
      if (disks != pool) journal_.add(std::to_string(i + 1), *disks);
      hosts_.push_back(std::make_unique<SimulatedHost>(boot_id, disks, facts.id));
      SimulatedHost& host = *hosts_.back();
      nodes_.push_back({std::move(facts), &host.compute(), &host.storage(), &host.network()});
    }
  }
  Status open() { return journal_.open(); }
  const std::vector<NodeDrivers>& nodes() const override { return nodes_; }
  Status wipe() override { return {}; }

 private:
  SimulatedJournal journal_;
  std::vector<std::unique_ptr<SimulatedHost>> hosts_;
  std::vector<NodeDrivers> nodes_;
};

// The machine that this process runs on. Drivers may be mixed with simulated ones where that makes sense.
class HostNode final : public NodeSet {
 public:
  HostNode(const Config& config, const StateFolder& state, FindImage find_image,
           std::function<void(const std::string&)> say, FileLock lock)
      : config_(config),
        state_(state),
        find_image_(std::move(find_image)),
        say_(std::move(say)),
        lock_(std::move(lock)) {}

  Status open(NodeId id, const api::Keyring& keyring) {
    NodeFacts facts = facts_of(config_, id, or_else(config_.agent.node, host_name()));
    if (auto done = measure_host(config_, facts); !done) return done;
    if (auto done = open_storage(keyring.cloud(), id, facts); !done) return done;
    facts.boot_id = boot_id_ = boot_id_of(state_);
    simulated_ = std::make_unique<SimulatedHost>(facts.boot_id, facts.disk_gib);
    if (config_.agent.network == "ovs")
      if (auto done = open_network(); !done) return done;
    if (config_.agent.compute == "libvirt")
      if (auto done = open_compute(keyring); !done) return done;
    nodes_.push_back({std::move(facts), compute_ ? compute_.get() : &simulated_->compute(),
                      storage_ ? storage_.get() : &simulated_->storage(),
                      network_ ? static_cast<network::Driver*>(network_.get()) : &simulated_->network()});
    return {};
  }

  const std::vector<NodeDrivers>& nodes() const override { return nodes_; }

  Status wipe() override {
    Status all = wipe_servers();
    const auto also = [&](Status status) {
      if (!status && all) all = std::move(status);
    };
    also(wipe_disks());
    if (network_) also(network_->wipe());
    return all;
  }

 private:
  std::string disks() const { return or_else(config_.local.directory, state_.storage()); }
  storage::ImagePath image_path() const {
    return [folder = or_else(config_.images.directory, state_.images()),
            find = find_image_](ImageId id) -> Result<std::string> {
      const auto born = find(id);
      if (!born) return Error{Errc::not_found, fmt::format("image {} is deleted", id.str())};
      std::string path = fmt::format("{}/{}", folder, api::image_file_name({id, *born}));
      if (!file_exists(path)) path = folder + "/" + id.str();  // as it was once named; the api's start renames it
      if (!file_exists(path))
        return Error{Errc::not_found, fmt::format("the data of image {} is not in {}", id.str(), folder)};
      return path;
    };
  }

  Status open_storage(CloudId cloud, NodeId node, NodeFacts& facts) {
    if (config_.agent.storage != "local") return facts.disk_gib = static_cast<std::uint64_t>(config_.simulated.disk_gib), Status{};
    auto driver = storage::open_local_driver({.directory = disks(),
                                              .image_path = image_path(),
                                              .owner = fmt::format("cloud {} node {}", cloud.str(), node.str()),
                                              .record = state_.dir + "/disks-made",
                                              .reserve_bytes = static_cast<std::uint64_t>(config_.agent.reserved_disk_gib) << 30});
    if (!driver) return driver.error();
    storage_ = std::move(*driver);
    // One whose disks are not to be seen now offers none; its agent says why, and what there is once they are.
    if (const auto have = storage_->observe()) facts.disk_gib = have->room_gib;
    else say_("storage: " + have.error().text);
    return {};
  }

  Status open_network() {
    const auto& ovs = config_.ovs;
    if (ovs.start) {
      supervisor_ = std::make_unique<Supervisor>(
          [this](const std::string& name) { say_("watch: " + name + " ended or was started"); });
      auto is = network::ensure_ovs(
          *supervisor_, {.run_dir = ovs.switch_dir, .database = state_.openvswitch() + "/conf.db"});
      if (!is) return is.error();
      say_(*is == network::OvsIs::ours ? "Open vSwitch: kept by this process"
                                       : "Open vSwitch: the host's own");
    }
    network::OvsConfig config;
    config.switch_ = {
        .run_dir = ovs.switch_dir, .bridge = ovs.bridge, .datapath = ovs.datapath, .uplink = ovs.uplink};
    config.run_dir = ovs.run_dir;
    config.dnsmasq = ovs.dnsmasq;
    network_ = std::make_unique<network::OvsDriver>(std::move(config));
    return {};
  }

  Status open_compute(const api::Keyring& keyring) {
    compute::LibvirtConfig config;
    config.uri = config_.libvirt.uri;
    config.state = state_.dir;
    config.bridge = config_.ovs.bridge;
    config.emulator = config_.libvirt.emulator;
    config.boot_id = boot_id_;
    config.domain_logs = config_.libvirt.domain_logs;
    config.virtualization = config_.libvirt.virtualization == "kvm"   ? compute::Virtualization::kvm
                            : config_.libvirt.virtualization == "tcg" ? compute::Virtualization::tcg
                                                                      : compute::Virtualization::automatic;
    config.image_path = image_path();
    config.disk_source = [storage = storage_.get()](AnyId id, Born born) {
      return storage->source(id, born);
    };
    config.open_sealed = [&keyring](
                             ProjectId project,
                             const std::vector<std::uint8_t>& sealed) -> Result<std::vector<std::uint8_t>> {
      auto plain = keyring.unseal(project, api::user_data_purpose,
                                  {reinterpret_cast<const char*>(sealed.data()), sealed.size()});
      if (!plain) return plain.error();
      return std::vector<std::uint8_t>(plain->begin(), plain->end());
    };
    auto driver = compute::open_libvirt_driver(std::move(config));
    if (!driver) return driver.error();
    compute_ = std::move(*driver);
    return {};
  }

  Status wipe_servers() {
    if (!compute_) return {};
    auto have = compute_->observe();
    if (!have) return have.error();
    Status all;
    for (const auto& [key, server] : have->servers) {
      compute::Action remove{.step = compute::Step::remove};
      remove.server.id = server.id;
      remove.server.born = server.born;
      if (auto done = compute_->perform(remove); !done && all) all = done;
    }
    return all;
  }

  Status wipe_disks() {
    if (!storage_) return {};
    auto have = storage_->observe();
    if (!have) return have.error();
    Status all;
    for (const auto& [key, disk] : have->disks) {
      storage::Action remove{.step = storage::Step::remove};
      remove.disk = {.id = disk.id, .born = disk.born, .kind = disk.kind};
      if (auto done = storage_->perform(remove); !done && all) all = done;
    }
    return all;
  }

  const Config config_;
  const StateFolder state_;
  const FindImage find_image_;
  const std::function<void(const std::string&)> say_;
  const FileLock lock_;
  std::string boot_id_;
  std::unique_ptr<SimulatedHost> simulated_;
  std::unique_ptr<storage::Driver> storage_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<network::OvsDriver> network_;
  std::unique_ptr<compute::Driver> compute_;
  std::vector<NodeDrivers> nodes_;
};

Result<std::unique_ptr<NodeSet>> open_simulated(const Config& config, const StateFolder& state, NodeId id) {
  auto nodes = std::make_unique<SimulatedNodes>(config, state, id);
  if (auto opened = nodes->open(); !opened) return opened.error();
  return std::unique_ptr<NodeSet>(std::move(nodes));
}

}  // namespace

Result<std::unique_ptr<NodeSet>> NodeSet::open(const Config& config, const StateFolder& state,
                                               const api::Keyring& keyring, FindImage find_image,
                                               std::function<void(const std::string&)> say) {
  const auto id = read_node_id(state);
  if (!id) return id.error();
  const auto& agent = config.agent;
  if (agent.compute == "simulated" && agent.storage == "simulated" && agent.network == "simulated")
    return open_simulated(config, state, *id);
  if (auto made = make_folders(host_folder); !made) return made.error();
  // dnsmasq, a user of its own, passes through to its lists; what is not others' is protected below.
  if (::chmod(host_folder, 0711) != 0)
    return Error{Errc::denied, fmt::format("cannot open {} to dnsmasq: {}", host_folder, std::strerror(errno))};
  auto lock = FileLock::take(host_lock, "the agents of node " + id->str());
  if (!lock)
    return {lock.error().code,
            lock.error().text + ": one process at a time drives this host; end that one first"};
  auto node = std::make_unique<HostNode>(config, state, std::move(find_image), std::move(say), std::move(*lock));
  if (auto opened = node->open(*id, keyring); !opened) return opened.error();
  return std::unique_ptr<NodeSet>(std::move(node));
}

}  // namespace reprise::cli
