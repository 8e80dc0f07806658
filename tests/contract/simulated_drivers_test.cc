// The simulated drivers under the same contract as the real ones: a fake is only as good as its likeness.
#include "agents/core/simulated_host.h"
#include "tests/contract/compute_suite.h"
#include "tests/contract/storage_suite.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise {
namespace {

// A host whose storage may be full and whose hypervisor may be away.
struct Troubles {
  bool full = false;
  bool away = false;
};

SimulatedHost::Hooks hooks_of(Troubles& troubles) {
  const Error away{Errc::unreachable, "the simulated hypervisor is away"};
  SimulatedHost::Hooks hooks;
  hooks.fault = [&troubles, away](AgentKind agent, const std::string& what, AnyId) -> SimulatedFault {
    if (agent == AgentKind::compute && troubles.away) return {SimulatedFault::fails, away};
    if (agent == AgentKind::storage && what == "create" && troubles.full)
      return {SimulatedFault::fails, {Errc::no_space, "the simulated host is full"}};
    return {};
  };
  hooks.blind = [&troubles, away](AgentKind agent) {
    return agent == AgentKind::compute && troubles.away ? Status(away) : Status();
  };
  return hooks;
}

class SimulatedStorage final : public storage::ContractHost {
 public:
  storage::Driver& driver() override { return host_.storage(); }
  void restart() override {}  // all memory is the host's
  storage::ImageRef image() override { return {ImageId{9, 1}, std::string(128, 'a'), "qcow2"}; }
  storage::ImageRef damaged_image() override { return image(); }
  storage::ImageRef missing_image() override { return image(); }
  storage::ImageRef large_image() override { return image(); }
  bool has_bytes() override { return false; }
  void fill_up() override { troubles_.full = true; }
  void free_up() override { troubles_.full = false; }

 private:
  Troubles troubles_;
  SimulatedHost host_{"boot-1", 1000, hooks_of(troubles_)};
};

class SimulatedCompute final : public compute::ContractHost {
 public:
  compute::Driver& driver() override { return host_.compute(); }
  void restart() override {}
  compute::ServerWant server(std::uint64_t n) override {
    compute::ServerWant want;
    want.id = ServerId{0xaaaa, n};
    want.born = Born{7, static_cast<std::uint32_t>(n)};
    want.on = true;
    want.power_seq = 10;
    want.disks = {disk(want.id.as<AnyId>(), want.born, true)};
    return want;
  }
  compute::DiskLink volume(std::uint64_t n) override { return disk(AnyId{0xbbbb, n}, Born{9, 0}, false); }
  void await_guest(ServerId) override {}
  void guest_powers_off(ServerId id) override { host_.guest_powers_off(id); }
  void guest_is_killed(ServerId id) override { host_.kill_guest(id); }
  void reboot_host() override { host_.restart("boot-2"); }
  void hypervisor_goes() override { troubles_.away = true; }
  void hypervisor_returns() override { troubles_.away = false; }
  void make_foreign() override {}  // there is nothing but what drivers made
  bool foreign_is_untouched() override { return true; }
  std::string leftovers(ServerId id) override {
    return host_.compute().console(id, 0) ? "the console's log" : "";
  }

 private:
  compute::DiskLink disk(AnyId id, Born born, bool boot) {
    storage::Action action;
    action.disk.id = id;
    action.disk.born = born;
    action.disk.size_gib = 1;
    REQUIRE(host_.storage().perform(action));
    return {id, born, boot, false};
  }

  Troubles troubles_;
  SimulatedHost host_{"boot-1", 1000, hooks_of(troubles_)};
};

}  // namespace

TEST_CASE("simulated storage keeps the drivers' contract") {
  storage::driver_contract([] { return std::make_unique<SimulatedStorage>(); });
}

TEST_CASE("simulated compute keeps the drivers' contract") {
  compute::driver_contract([] { return std::make_unique<SimulatedCompute>(); });
}

TEST_CASE("a storage pool is one for all its nodes, and shuts out whom it was told to, for ever") {
  const NodeId lost{1, 1}, other{1, 2};
  const auto pool = std::make_shared<SimulatedDisks>(10, true);
  SimulatedHost there("boot-1", pool, lost), here("boot-1", pool, other);
  const auto disk = [](std::uint64_t n, Seq identity) {
    storage::Action action;
    action.disk = {.id = AnyId{0xbbbb, n}, .born = {9, 0}, .size_gib = 1, .identity = identity};
    return action;
  };
  REQUIRE(there.storage().perform(disk(1, 5)));
  CHECK(here.storage().observe()->disks.size() == 1);
  CHECK(here.storage().observe()->shared);
  compute::Action start;
  start.server = {.id = ServerId{0xbbbb, 1}, .born = {9, 0}, .on = true, .identity = 5};
  REQUIRE(there.compute().perform(start));
  start.step = compute::Step::start;
  REQUIRE(there.compute().perform(start));
  CHECK(there.may_write(there.servers().servers.begin()->second));

  storage::Action fence{.step = storage::Step::fence, .fence = {.node = lost, .identity = 7, .lost = 9}};
  for (int twice = 0; twice < 2; ++twice) {
    REQUIRE(here.storage().perform(fence));
    CHECK(here.storage().observe()->fences == std::map<NodeId, Seq>{{lost, 7}});
    // Also who it was before it became 7; not who it will be.
    CHECK_FALSE(there.may_write(there.servers().servers.begin()->second));
    CHECK(there.storage().perform(disk(2, 5)).error().code == Errc::denied);
    CHECK(there.storage().perform(disk(2, 7)).error().code == Errc::denied);
    CHECK(there.compute().perform(start).error().code == Errc::denied);
    CHECK(there.storage().perform(disk(2, 8)));
    CHECK(here.storage().perform(disk(3, 3)));
  }
  fence.fence.identity = 6;  // an order that was slept over takes nothing back
  REQUIRE(here.storage().perform(fence));
  CHECK(there.storage().perform(disk(4, 7)).error().code == Errc::denied);
  CHECK(here.storage().observe()->free_gib == 7);
}

}  // namespace reprise
