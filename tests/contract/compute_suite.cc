#include "tests/contract/compute_suite.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "tests/contract/wakes.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::compute {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds patience{30};

void must(const Status& status) {
  if (!status) FAIL(errc_name(status.error().code) << ": " << status.error().text);
}

void must_fail(const Status& status, Errc code) {
  REQUIRE_FALSE(status);
  INFO(status.error().text);
  CHECK(std::string(errc_name(status.error().code)) == errc_name(code));
  CHECK(status.error().text.size() > 10);
}

// A host under test, with what an agent would do around its driver.
class Bench {
 public:
  explicit Bench(const MakeHost& make) : wakes_(std::make_shared<Wakes>()), host_(make()) { listen(); }

  ContractHost& host() { return *host_; }
  void listen() {
    host_->driver().on_change([wakes = wakes_] { wakes->wake(); });
  }
  void restart() {
    host_->restart();
    listen();
  }
  Have look() {
    auto have = host_->driver().observe();
    if (!have) FAIL(errc_name(have.error().code) << ": " << have.error().text);
    return *have;
  }
  std::optional<ServerHave> find(const ServerWant& want) {
    const auto have = look();
    const auto found = have.servers.find({want.id, want.born});
    if (found == have.servers.end()) return std::nullopt;
    return found->second;
  }
  ServerHave get(const ServerWant& want) {
    auto have = find(want);
    if (!have) FAIL("server " << want.id.str() << " is not shown");
    return *have;
  }
  Status perform(Step step, const ServerWant& want, const DiskLink& disk = {}) {
    return host_->driver().perform({step, want, disk});
  }
  void started(const ServerWant& want) {
    must(perform(Step::define, want));
    must(perform(Step::start, want));
  }
  // Looks again after each wake until `done` says so.
  ServerHave await(const ServerWant& want, const std::function<bool(const ServerHave&)>& done) {
    const auto deadline = Clock::now() + patience;
    for (;;) {
      const int seen = wakes_->count();
      auto have = get(want);
      if (done(have)) return have;
      if (!wakes_->wait(seen, deadline))
        FAIL("server " << want.id.str() << ": nothing happened within the deadline");
    }
  }
  // As an agent does with what only a guest can do: asks, and asks again when woken.
  void ask(Step step, const ServerWant& want, const std::function<bool(const ServerHave&)>& done) {
    const auto deadline = Clock::now() + patience;
    for (;;) {
      const int seen = wakes_->count();
      if (done(get(want))) return;
      const auto status = perform(step, want);
      if (status) continue;
      if (status.error().code != Errc::again) FAIL(status.error().text);
      if (!wakes_->wait(seen, deadline)) FAIL(step_text(step) << ": " << status.error().text);
    }
  }
  void await_hypervisor() {
    const auto deadline = Clock::now() + patience;
    for (;;) {
      const int seen = wakes_->count();
      if (host_->driver().observe()) return;
      if (!wakes_->wait(seen, deadline)) FAIL("no wake after the hypervisor returned");
    }
  }

 private:
  static int step_text(Step step) { return static_cast<int>(step); }

  std::shared_ptr<Wakes> wakes_;
  std::unique_ptr<ContractHost> host_;
};

ServerWant off(ServerWant want, Seq power_seq, bool hard) {
  want.on = false;
  want.power_seq = power_seq;
  want.stop_hard = hard;
  return want;
}

bool stopped(const ServerHave& have) { return !have.running; }

void check_life(Bench& bench) {
  SECTION("defined: stopped, never ran, nothing carried out") {
    auto want = bench.host().server(1);
    want.reboot_seq = 4;
    must(bench.perform(Step::define, want));
    must(bench.perform(Step::define, want));
    const auto have = bench.get(want);
    CHECK_FALSE(have.running);
    CHECK(have.cause == StopCause::none);
    CHECK(have.power_seq == 0);
    CHECK(have.boot_id.empty());
    CHECK(have.disks == want.disks);
    CHECK(have.nics == want.nics);
  }

  SECTION("started: runs in this boot of the host, with the wishes marked") {
    auto want = bench.host().server(1);
    want.reboot_seq = 4;
    bench.started(want);
    must(bench.perform(Step::start, want));
    const auto have = bench.get(want);
    CHECK(have.running);
    CHECK(have.cause == StopCause::none);
    CHECK(have.power_seq == 10);
    CHECK(have.reboot_seq == 4);
    CHECK(have.boot_id == bench.look().boot_id);
    CHECK(have.disks == want.disks);
  }

  SECTION("only what is defined can be started, stopped or rebooted") {
    const auto want = bench.host().server(1);
    for (const auto step :
         {Step::start, Step::mark_power, Step::stop_soft, Step::stop_hard, Step::reboot_hard})
      must_fail(bench.perform(step, want), Errc::not_found);
  }

  SECTION("removed while it runs, twice; nothing is left") {
    const auto want = bench.host().server(1);
    bench.started(want);
    must(bench.perform(Step::remove, want));
    CHECK_FALSE(bench.find(want));
    must(bench.perform(Step::remove, want));
    CHECK(bench.host().leftovers(want.id) == "");
  }

  SECTION("a former life goes before the next one comes") {
    const auto former = bench.host().server(1);
    auto next = former;
    next.born.seq += 100;
    bench.started(former);
    must(bench.perform(Step::remove, next));
    CHECK(bench.get(former).running);
    must(bench.perform(Step::remove, former));
    must(bench.perform(Step::define, next));
    CHECK(bench.find(next));
    CHECK_FALSE(bench.find(former));
  }

  SECTION("an agent that comes back sees the same") {
    const auto one = bench.host().server(1);
    const auto two = bench.host().server(2);
    bench.started(one);
    must(bench.perform(Step::define, two));
    const auto before = bench.look();
    bench.restart();
    CHECK(bench.look().servers == before.servers);
  }
}

void check_power(Bench& bench) {
  const auto want = bench.host().server(1);
  bench.started(want);

  SECTION("the plug pulled") {
    must(bench.perform(Step::stop_hard, off(want, 11, true)));
    must(bench.perform(Step::stop_hard, off(want, 11, true)));
    const auto have = bench.get(want);
    CHECK_FALSE(have.running);
    CHECK(have.power_seq == 11);
    CHECK(have.cause == StopCause::asked);
  }

  SECTION("the guest asked to stop, then started again") {
    bench.host().await_guest(want.id);
    bench.ask(Step::stop_soft, off(want, 11, false), stopped);
    must(bench.perform(Step::mark_power, off(want, 11, false)));
    auto have = bench.get(want);
    CHECK(have.power_seq == 11);
    CHECK(have.cause == StopCause::asked);
    auto again = want;
    again.power_seq = 12;
    must(bench.perform(Step::start, again));
    have = bench.get(want);
    CHECK(have.running);
    CHECK(have.cause == StopCause::none);
    CHECK(have.power_seq == 12);
  }

  SECTION("the guest powers itself off: seen, told, and remembered") {
    bench.host().await_guest(want.id);
    bench.host().guest_powers_off(want.id);
    auto have = bench.await(want, stopped);
    CHECK(have.cause == StopCause::guest);
    CHECK(have.power_seq == 10);
    bench.restart();
    have = bench.get(want);
    CHECK(have.cause == StopCause::guest);
    CHECK(have.boot_id == bench.look().boot_id);
  }

  SECTION("its process killed") {
    bench.host().guest_is_killed(want.id);
    const auto have = bench.await(want, stopped);
    CHECK(have.cause == StopCause::killed);
    CHECK(have.power_seq == 10);
  }

  SECTION("a wish that is as it is already is only marked") {
    auto later = want;
    later.power_seq = 15;
    must(bench.perform(Step::mark_power, later));
    const auto have = bench.get(want);
    CHECK(have.running);
    CHECK(have.power_seq == 15);
  }

  SECTION("rebooted hard and softly: it runs on, marked after the effect") {
    bench.host().await_guest(want.id);
    auto later = want;
    later.reboot_seq = 20;
    later.reboot_hard = true;
    must(bench.perform(Step::reboot_hard, later));
    CHECK(bench.get(want).reboot_seq == 20);
    CHECK(bench.get(want).running);
    bench.host().await_guest(want.id);
    later.reboot_seq = 21;
    later.reboot_hard = false;
    bench.ask(Step::reboot_soft, later, [](const ServerHave& have) { return have.reboot_seq == 21; });
    CHECK(bench.get(want).running);
    CHECK(bench.get(want).power_seq == 10);
  }
}

void check_disks(Bench& bench) {
  auto want = bench.host().server(1);
  const auto one = bench.host().volume(1);
  const auto two = bench.host().volume(2);
  const auto has = [&](const DiskLink& disk) {
    const auto disks = bench.get(want).disks;
    return std::find(disks.begin(), disks.end(), disk) != disks.end();
  };

  SECTION("attached and detached while stopped") {
    must(bench.perform(Step::define, want));
    must(bench.perform(Step::attach_disk, want, one));
    must(bench.perform(Step::attach_disk, want, one));
    CHECK(has(one));
    CHECK(bench.get(want).disks.size() == 2);
    must(bench.perform(Step::detach_disk, want, one));
    must(bench.perform(Step::detach_disk, want, one));
    CHECK(bench.get(want).disks == want.disks);
    must_fail(bench.perform(Step::detach_disk, want, want.disks[0]), Errc::invalid);
  }

  SECTION("attached while running, there after a stop; a detach is done only when it is gone") {
    bench.started(want);
    must(bench.perform(Step::attach_disk, want, one));
    must(bench.perform(Step::attach_disk, want, one));
    must(bench.perform(Step::attach_disk, want, two));
    CHECK(has(one));
    CHECK(has(two));
    CHECK(bench.get(want).disks.size() == 3);
    const auto status = bench.perform(Step::detach_disk, want, two);
    if (status) CHECK_FALSE(has(two));
    else CHECK(std::string(errc_name(status.error().code)) == "again");
    must(bench.perform(Step::stop_hard, off(want, 11, true)));
    CHECK(has(one));
    must(bench.perform(Step::detach_disk, want, two));
    CHECK_FALSE(has(two));
  }

  SECTION("started with the disks that are wanted then") {
    must(bench.perform(Step::define, want));
    want.disks.push_back(one);
    must(bench.perform(Step::start, want));
    CHECK(bench.get(want).disks == want.disks);
  }
}

void check_host(Bench& bench) {
  const auto want = bench.host().server(1);

  SECTION("the operator's own guests are neither shown nor touched") {
    bench.host().make_foreign();
    CHECK(bench.look().servers.empty());
    bench.started(want);
    CHECK(bench.look().servers.size() == 1);
    must(bench.perform(Step::remove, want));
    CHECK(bench.host().foreign_is_untouched());
  }

  SECTION("the host restarts: what ran is off, in another boot, and starts again") {
    bench.started(want);
    const auto idle = bench.host().server(2);
    must(bench.perform(Step::define, idle));
    const auto before = bench.look().boot_id;
    bench.host().reboot_host();
    bench.listen();
    bench.await_hypervisor();
    const auto have = bench.get(want);
    CHECK_FALSE(have.running);
    CHECK(have.cause == StopCause::host);
    CHECK(have.boot_id == before);
    CHECK(bench.look().boot_id != before);
    CHECK(bench.get(idle).cause == StopCause::none);
    must(bench.perform(Step::start, want));
    CHECK(bench.get(want).boot_id == bench.look().boot_id);
    CHECK(bench.get(want).running);
  }

  SECTION("the hypervisor's daemon dies and returns: said so, woken, and the guests run on") {
    bench.started(want);
    bench.host().hypervisor_goes();
    const auto away = bench.host().driver().observe();
    REQUIRE_FALSE(away);
    CHECK(std::string(errc_name(away.error().code)) == "unreachable");
    must_fail(bench.perform(Step::stop_hard, off(want, 11, true)), Errc::unreachable);
    bench.host().hypervisor_returns();
    bench.await_hypervisor();
    const auto have = bench.get(want);
    CHECK(have.running);
    CHECK(have.power_seq == 10);
  }

  SECTION("killed while the daemon is away: known after its return") {
    bench.started(want);
    bench.host().hypervisor_goes();
    bench.host().guest_is_killed(want.id);
    bench.host().hypervisor_returns();
    bench.await_hypervisor();
    const auto have = bench.await(want, stopped);
    CHECK(have.cause == StopCause::killed);
  }
}

}  // namespace

void driver_contract(const MakeHost& make) {
  Bench bench(make);
  SECTION("an empty node") {
    const auto have = bench.look();
    CHECK(have.servers.empty());
    CHECK_FALSE(have.boot_id.empty());
  }
  check_life(bench);
  SECTION("power") { check_power(bench); }
  SECTION("disks") { check_disks(bench); }
  SECTION("host") { check_host(bench); }
}

}  // namespace reprise::compute
