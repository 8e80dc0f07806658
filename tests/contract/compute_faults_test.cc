// The `libvirt` driver when a guest, a file or a domain is not as it should be: that is that server's
// trouble, it is told in words, and nobody else's.
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <sys/mount.h>

#include <future>

#include "agents/core/child_process.h"
#include "tests/contract/libvirt_host.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::compute {
namespace {

constexpr std::chrono::seconds seconds_of_others{20};

void must(const Status& status) {
  if (!status) FAIL(errc_name(status.error().code) << ": " << status.error().text);
}

// A host with a driver, as an agent has it.
class Bench {
 public:
  explicit Bench(LibvirtHost::Adjust adjust = {}) : host(std::move(adjust)) { listen(); }
  LibvirtHost host;

  void listen() {
    host.driver().on_change([wakes = wakes_] { wakes->wake(); });
  }
  void restart() {
    host.restart();
    listen();
    await([](const Have&) { return true; });
  }
  Status perform(Step step, const ServerWant& want, const DiskLink& disk = {}) {
    return host.driver().perform({step, want, disk});
  }
  ServerWant started(std::uint64_t n) {
    auto want = host.server(n);
    must(perform(Step::define, want));
    must(perform(Step::start, want));
    return want;
  }
  // observe(), which may not take long whatever hangs.
  Result<Have> look() {
    const auto began = Clock::now();
    auto have = host.driver().observe();
    CHECK(Clock::now() - began < seconds_of_others);
    return have;
  }
  Have await(const std::function<bool(const Have&)>& done) {
    const auto deadline = Clock::now() + guest_deadline;
    for (;;) {
      const int seen = wakes_->count();
      const auto have = look();
      if (have && done(*have)) return *have;
      if (!wakes_->wait(seen, deadline)) FAIL("nothing happened within the deadline");
    }
  }
  ServerHave await(const ServerWant& want, const std::function<bool(const ServerHave&)>& done) {
    return at(await([&](const Have& have) {
                const auto found = have.servers.find({want.id, want.born});
                return found != have.servers.end() && done(found->second);
              }),
              want);
  }
  ServerHave get(const ServerWant& want) {
    const auto have = look();
    if (!have) FAIL(have.error().text);
    return at(*have, want);
  }
  static ServerHave at(const Have& have, const ServerWant& want) {
    const auto found = have.servers.find({want.id, want.born});
    if (found == have.servers.end()) FAIL("server " << want.id.str() << " is not shown");
    return found->second;
  }
  std::string name(const ServerWant& want) { return "reprise-" + want.id.str(); }

 private:
  std::shared_ptr<Wakes> wakes_ = std::make_shared<Wakes>();
};

ServerWant off(ServerWant want, Seq seq) {
  want.on = false;
  want.power_seq = seq;
  want.stop_hard = true;
  return want;
}

ServerWant rebooted(ServerWant want, Seq seq, bool hard) {
  want.reboot_seq = seq;
  want.reboot_hard = hard;
  return want;
}

// Runs `work` and says when it took as long as somebody who waits for a hung guest.
template <class Work>
auto soon(const char* what, Work work) {
  const auto began = Clock::now();
  auto done = work();
  INFO(what);
  CHECK(Clock::now() - began < seconds_of_others);
  return done;
}

}  // namespace

TEST_CASE("libvirt: guests whose QEMU hangs hold nobody else") {
  Bench bench;
  std::vector<ServerWant> hung;
  for (std::uint64_t n = 1; n <= 7; ++n) hung.push_back(bench.started(n));
  const auto other = bench.started(8);
  std::vector<std::future<Status>> asked;
  // Also where the test fails: nobody waits for ever.
  const std::shared_ptr<void> release(nullptr, [&](void*) { bench.host.libvirtd().tell("end-guests"); });
  for (const auto& want : hung) bench.host.libvirtd().tell("hang-guest " + bench.name(want));
  for (const auto& want : hung)
    asked.push_back(std::async(std::launch::async, [&bench, want] {
      auto soft = off(want, 11);
      soft.stop_hard = false;
      return bench.perform(Step::stop_soft, soft);
    }));
  bench.await([&](const Have& have) {
    return std::all_of(hung.begin(), hung.end(), [&](const ServerWant& want) {
      const auto server = Bench::at(have, want);
      return server.running && !server.answers;
    });
  });
  CHECK(bench.get(other).answers);
  must(soon("attach", [&] { return bench.perform(Step::attach_disk, other, bench.host.volume(1)); }));
  must(soon("stop", [&] { return bench.perform(Step::stop_hard, off(other, 11)); }));
  soon("create", [&] { return bench.started(9); });
  for (const auto& future : asked) CHECK(future.wait_for(std::chrono::seconds(0)) != std::future_status::ready);

  SECTION("stopped by force, all at once") {
    std::vector<std::future<Status>> forced;
    for (const auto& want : hung)
      forced.push_back(std::async(std::launch::async,
                                  [&bench, want] { return bench.perform(Step::stop_hard, off(want, 12)); }));
    for (auto& future : forced) must(soon("stop_hard", [&] { return future.get(); }));
    for (auto& future : asked) (void)soon("the one that hung", [&] { return future.get(); });
    for (const auto& want : hung) {
      const auto server = bench.get(want);
      CHECK_FALSE(server.running);
      CHECK(server.answers);
      CHECK(server.cause == StopCause::asked);
      CHECK(server.power_seq == 12);
    }
    bench.restart();
    CHECK(bench.get(hung[0]).power_seq == 12);
    CHECK(bench.get(hung[0]).cause == StopCause::asked);
  }

  SECTION("removed by force: the step that hung does not bring it back") {
    must(soon("remove", [&] { return bench.perform(Step::remove, hung[0]); }));
    CHECK_FALSE(soon("the one that hung", [&] { return asked[0].get(); }));
    const auto have = bench.look();
    REQUIRE(have);
    CHECK_FALSE(have->servers.contains({hung[0].id, hung[0].born}));
    CHECK(bench.host.leftovers(hung[0].id) == "");
    for (const auto& want : hung) bench.host.libvirtd().tell("wake-guest " + bench.name(want));
  }

  SECTION("they go on: they answer again, and as they were asked") {
    bench.restart();  // a new agent does not know them otherwise than hung
    CHECK_FALSE(bench.get(hung[1]).answers);
    for (const auto& want : hung) bench.host.libvirtd().tell("wake-guest " + bench.name(want));
    for (auto& future : asked) (void)soon("the one that hung", [&] { return future.get(); });
    bench.await(hung[1], [](const ServerHave& server) { return server.answers; });
  }
}

TEST_CASE("libvirt: a guest whose QEMU hangs is rebooted hard: it runs, with its marks") {
  Bench bench;
  const auto want = bench.started(1);
  bench.host.await_guest(want.id);
  bench.host.libvirtd().tell("hang-guest " + bench.name(want));
  must(soon("reboot", [&] { return bench.perform(Step::reboot_hard, rebooted(want, 20, true)); }));
  const auto server = bench.get(want);
  CHECK(server.running);
  CHECK(server.answers);
  CHECK(server.pause == Pause::none);
  CHECK(server.cause == StopCause::none);
  CHECK(server.reboot_seq == 20);
  CHECK(server.power_seq == 10);
}

TEST_CASE("libvirt: a domain that is locked blinds nobody") {
  Bench bench;
  const auto other = bench.started(1);
  const auto want = bench.host.server(2);
  must(bench.perform(Step::define, want));
  const auto hook = bench.host.root() + "/host/etc/hooks/qemu";
  fs::permissions(hook, fs::perms(0755));
  bench.host.libvirtd().tell("kill");
  bench.host.libvirtd().tell("start");
  bench.await([](const Have&) { return true; });
  const auto hold = bench.host.root() + "/host/hold-" + bench.name(want);
  std::ofstream(hold).put('x');
  auto start = std::async(std::launch::async, [&] { return bench.perform(Step::start, want); });
  // Also where the test fails: nobody waits for ever.
  const std::shared_ptr<void> release(nullptr, [&](void*) { fs::remove(hold); });
  // As long as the step may well take it is busy; from then on it does not answer.
  const auto silent =
      bench.await(want, [](const ServerHave& server) { return !server.answers; });
  CHECK(silent.disks == want.disks);
  CHECK(bench.get(other).answers);
  CHECK(bench.get(other).running);
  must(soon("stop", [&] { return bench.perform(Step::stop_hard, off(other, 11)); }));
  CHECK(bench.get(other).power_seq == 11);
  // To define another one libvirt itself waits for the lock.
  CHECK(fs::exists(bench.host.folder_of(want)));
  fs::remove(hold);
  must(start.get());
  CHECK(bench.await(want, [](const ServerHave& server) { return server.answers; }).running);
}

TEST_CASE("libvirt: a guest that stands still is told, with the reason, and a hard reboot lets it run") {
  Bench bench;
  const auto want = bench.started(1);
  bench.host.await_guest(want.id);
  CHECK(bench.get(want).pause == Pause::none);
  REQUIRE(virDomainSuspend(bench.host.domain(want.id).get()) == 0);
  const auto server = bench.await(want, [](const ServerHave& have) { return have.pause != Pause::none; });
  CHECK(server.running);
  CHECK(server.answers);
  CHECK(server.pause == Pause::by_hand);
  CHECK(server.paused.find("virsh resume") != std::string::npos);

  SECTION("resumed by hand: seen at once") {
    REQUIRE(virDomainResume(bench.host.domain(want.id).get()) == 0);
    CHECK(bench.await(want, [](const ServerHave& have) { return have.pause == Pause::none; }).paused.empty());
  }
  SECTION("a soft reboot says at once that it cannot be heard") {
    const auto refused = bench.perform(Step::reboot_soft, rebooted(want, 20, false));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::conflict);
    CHECK(refused.error().text.find("virsh resume") != std::string::npos);
  }
  SECTION("a hard reboot ends with a guest that runs") {
    must(bench.perform(Step::reboot_hard, rebooted(want, 20, true)));
    CHECK(bench.get(want).pause == Pause::none);
    CHECK(bench.get(want).reboot_seq == 20);
    bench.host.await_guest(want.id);
  }
  SECTION("stopped and started, it is as new") {
    must(bench.perform(Step::stop_hard, off(want, 11)));
    CHECK(bench.get(want).pause == Pause::none);
    auto again = want;
    again.power_seq = 12;
    must(bench.perform(Step::start, again));
    CHECK(bench.get(want).pause == Pause::none);
  }
  SECTION("an agent that comes back sees the same") {
    bench.restart();
    CHECK(bench.get(want) == server);
  }
}

TEST_CASE("libvirt: what stops while its host goes down did not stop by its own will") {
  auto going_down = std::make_shared<std::atomic<bool>>(false);
  Bench bench([going_down](LibvirtConfig& config) {
    config.host_is_going_down = [going_down] { return going_down->load(); };
  });
  const auto one = bench.started(1), two = bench.started(2), three = bench.started(3);
  bench.host.await_guest(one.id);
  *going_down = true;
  bench.restart();  // it remembers a no for a second
  bench.host.guest_powers_off(one.id);
  bench.host.libvirtd().tell("end-guest " + bench.name(two));
  must(bench.perform(Step::stop_hard, off(three, 11)));
  for (const auto& want : {one, two}) {
    const auto server = bench.await(want, [](const ServerHave& have) { return !have.running; });
    CHECK(server.cause == StopCause::host);
    CHECK(server.power_seq == 10);
  }
  CHECK(bench.get(three).cause == StopCause::asked);
  const auto start = bench.perform(Step::start, one);
  REQUIRE_FALSE(start);
  CHECK(start.error().code == Errc::again);
  CHECK(start.error().text.find("going down") != std::string::npos);
  *going_down = false;
  bench.restart();
  CHECK(bench.get(one).cause == StopCause::host);
  must(bench.perform(Step::start, one));
  CHECK(bench.get(one).cause == StopCause::none);
}

TEST_CASE("libvirt: what a config drive says is true at each start, and user data is not lost with its key") {
  Bench bench;
  auto want = bench.host.server(1);
  want.config_drive = true;
  want.guest.hostname = "before";
  want.guest.user_data_sealed = {'!', '#'};
  must(bench.perform(Step::define, want));
  const auto iso = bench.host.folder_of(want) + "/config.iso";
  const auto in_iso = [&](const std::string& name) {
    const auto end = run_child({"isoinfo", "-R", "-x", "/openstack/latest/" + name, "-i", iso});
    if (!end) FAIL(end.error().text);
    return end->out;
  };
  const auto first = fs::last_write_time(iso);
  must(bench.perform(Step::start, want));
  CHECK(fs::last_write_time(iso) == first);
  must(bench.perform(Step::stop_hard, off(want, 11)));
  want.power_seq = 12;
  want.guest.hostname = "after";
  want.nics = {NicLink{PortId{7, 5}, Born{3, 2}, Mac{0xfa163e000001}, 1450,
                       {{*Ipv4::parse("10.0.0.5"), 24, *Ipv4::parse("10.0.0.1"), false, {*Ipv4::parse("9.9.9.9")}}}}};
  bench.host.libvirtd().tell("ovs");
  must(bench.perform(Step::start, want));
  CHECK(in_iso("meta_data.json").find("after") != std::string::npos);
  CHECK(in_iso("network_data.json").find("10.0.0.5") != std::string::npos);
  CHECK(in_iso("user_data") == "#!");
  must(bench.perform(Step::stop_hard, off(want, 13)));
  // The project's key is gone: what was told before is all that there is.
  want.power_seq = 14;
  want.guest.hostname = "later";
  want.guest.user_data_sealed = {'x', '#'};
  must(bench.perform(Step::start, want));
  CHECK(in_iso("user_data") == "#!");
}

TEST_CASE("libvirt: a file that is missing, foreign, full or read-only is that server's trouble") {
  // Mounts of this test's own, which the host below inherits.
  REQUIRE(unshare(CLONE_NEWNS) == 0);
  REQUIRE(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  Bench bench;
  const auto other = bench.started(1);
  auto want = bench.host.server(2);
  want.config_drive = true;
  const auto folder = bench.host.folder_of(want);
  const auto servers = bench.host.root() + "/state/servers", scratch = bench.host.root() + "/state/scratch";
  const auto refused = [&](Step step, const std::string& words) {
    const auto status = bench.perform(step, want);
    REQUIRE_FALSE(status);
    INFO(status.error().text);
    CHECK(status.error().text.find(words) != std::string::npos);
    CHECK(status.error().text.find(want.id.str()) != std::string::npos);
    CHECK(bench.get(other).running);
  };
  SECTION("a file in the place of its folder") {
    std::ofstream(folder).put('x');
    // What is no server's is swept away: here it is held.
    refused(Step::define, folder);
    fs::remove(folder);
    must(bench.perform(Step::define, want));
  }
  SECTION("its folder vanished, its console log a folder, while it was stopped") {
    must(bench.perform(Step::define, want));
    fs::remove_all(folder);
    CHECK_FALSE(bench.get(want).running);
    fs::create_directories(folder + "/console.log");
    refused(Step::start, "console.log");
    fs::remove_all(folder);
    must(bench.perform(Step::start, want));
  }
  SECTION("scratch is gone, or a file") {
    fs::remove_all(scratch);
    must(bench.perform(Step::define, want));
    must(bench.perform(Step::remove, want));
    fs::remove_all(scratch);
    std::ofstream(scratch).put('x');
    refused(Step::define, scratch);
    bench.restart();
    must(bench.perform(Step::define, want));
  }
  SECTION("no room") {
    fs::remove_all(scratch);
    fs::create_directory(scratch);
    REQUIRE(mount("tmpfs", scratch.c_str(), "tmpfs", 0, "size=16k") == 0);
    refused(Step::define, "No space left");
    REQUIRE(umount(scratch.c_str()) == 0);
    must(bench.perform(Step::define, want));
  }
  SECTION("read-only, at the start too") {
    must(bench.perform(Step::define, bench.host.server(3)));
    REQUIRE(mount(servers.c_str(), servers.c_str(), nullptr, MS_BIND, nullptr) == 0);
    REQUIRE(mount(nullptr, servers.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) == 0);
    refused(Step::define, "Read-only");
    const auto third = bench.host.server(3);
    CHECK_FALSE(bench.perform(Step::remove, third));
    CHECK_FALSE(bench.get(third).running);
    bench.restart();
    refused(Step::define, "Read-only");
    must(bench.perform(Step::stop_hard, off(other, 11)));
    REQUIRE(umount(servers.c_str()) == 0);
    must(bench.perform(Step::define, want));
    must(bench.perform(Step::remove, third));
  }
  SECTION("its disk is gone: said, and not made") {
    must(bench.perform(Step::define, want));
    const auto disk = bench.host.disk_file(want.disks[0].id, want.born);
    fs::remove(disk);
    refused(Step::start, disk);
    CHECK_FALSE(fs::exists(disk));
    const auto volume = bench.host.volume(1);
    const auto file = bench.host.disk_file(volume.id, volume.born);
    fs::remove(file);
    const auto status = bench.perform(Step::attach_disk, other, volume);
    REQUIRE_FALSE(status);
    CHECK(status.error().text.find(file) != std::string::npos);
    CHECK_FALSE(fs::exists(file));
  }
}

TEST_CASE("libvirt: a domain that lost its metadata is nobody's, and blinds nobody") {
  Bench bench;
  const auto one = bench.started(1), two = bench.started(2);
  for (const unsigned where : {VIR_DOMAIN_AFFECT_LIVE, VIR_DOMAIN_AFFECT_CONFIG})
    REQUIRE(virDomainSetMetadata(bench.host.domain(one.id).get(), VIR_DOMAIN_METADATA_ELEMENT, nullptr, "reprise",
                                 "urn:reprise:1", where) == 0);
  const auto have = bench.look();
  REQUIRE(have);
  CHECK(have->servers.size() == 1);
  CHECK(Bench::at(*have, two).running);
  CHECK(fs::exists(bench.host.folder_of(one)));
  const auto refused = bench.perform(Step::define, one);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::exists);
}

}  // namespace reprise::compute
