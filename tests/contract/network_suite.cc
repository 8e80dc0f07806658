#include "tests/contract/network_suite.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "agents/network/plan.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::network {

NetworkWant network_want(unsigned network) {
  NetworkWant want;
  want.id = {(0xaaaa0000ull | network) << 32, network};
  want.born = {10 + network, 0};
  want.vlan = static_cast<std::uint16_t>(100 + network);
  want.dhcp_mac = Mac{0xfa163e000000u | network};
  want.dhcp_port = {0xddddu, network};
  SubnetWant subnet;
  subnet.id = {0xccccu, network};
  subnet.base = Ipv4{10u << 24 | network << 8};
  subnet.gateway = Ipv4{subnet.base.value + 1};
  subnet.dhcp_address = Ipv4{subnet.base.value + 2};
  subnet.dns = {*Ipv4::parse("9.9.9.9")};
  want.subnets.push_back(subnet);
  return want;
}

PortWant port_want(unsigned port, unsigned network) {
  const NetworkWant net = network_want(network);
  PortWant want;
  want.id = {0xbbbbu, port};
  want.born = {20 + port, 1};
  want.since = 20 + port;
  want.network = net.id;
  want.mac = Mac{0x525400000000u | port};
  want.addresses = {{net.subnets[0].id, Ipv4{net.subnets[0].base.value + port}}};
  want.hostname = fmt::format("guest-{}", port);
  return want;
}

Want want_of(std::initializer_list<NetworkWant> networks, std::initializer_list<PortWant> ports) {
  Want want;
  for (const auto& one : networks) want.networks[one.id] = one;
  for (const auto& one : ports) want.ports[one.id] = one;
  return want;
}

namespace {

// The driver's wake, to be waited for with a deadline.
class Bell {
 public:
  void ring() {
    std::lock_guard lock(mutex_);
    rung_ = true;
    heard_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    const bool rung = heard_.wait_for(lock, std::chrono::seconds(20), [&] { return rung_; });
    rung_ = false;
    return rung;
  }

 private:
  std::mutex mutex_;
  std::condition_variable heard_;
  bool rung_ = false;
};

class Suite {
 public:
  explicit Suite(const MakeHost& make) : host(make()) { listen(); }
  ~Suite() { host->driver().on_change({}); }

  void listen() {
    host->driver().on_change([this] { bell.ring(); });
  }
  Have look() {
    auto have = host->driver().observe();
    if (!have) FAIL("observe: " << have.error().text);
    return *have;
  }
  void apply(const Want& want) {
    const auto done = host->driver().perform({.step = Step::apply, .want = want, .retried = {}});
    if (!done) FAIL("apply: " << done.error().text);
  }
  // Acts as the plan says until it has nothing to say; in between it waits to be woken.
  void settle(const Want& want) {
    for (int attempt = 0; attempt < 40; ++attempt) {
      const auto action = next_action(want, look());
      if (!action) return;
      const auto done = host->driver().perform(*action);
      if (done) continue;
      UNSCOPED_INFO("apply: " << done.error().text);
      if (!bell.wait()) break;
    }
    FAIL("it does not settle");
  }
  // Looks again at each wake until `good`; as an agent does, except that it does nothing.
  template <class Good>
  Have look_until(Good good) {
    for (Have have = look();; have = look()) {
      if (good(have)) return have;
      if (!bell.wait()) FAIL("nobody woke us, and it is not as it should be");
    }
  }

  std::unique_ptr<ContractHost> host;
  Bell bell;
};

PortHave port_of(const Have& have, const PortWant& want) {
  const auto found = have.ports.find({want.id, want.born});
  if (found == have.ports.end()) FAIL("port " << want.id.str() << " is not there");
  return found->second;
}

Want wanted(Want want) { return present(want); }

// One of two networks, or one port, is in trouble: that one says so, the rest goes on, and when the cause is over
// it heals by itself. `running`: it had been well before.
void strike(Suite& s, const Fault& fault, bool running) {
  INFO(fault.name << (running ? ", while running" : ", at start"));
  const PortWant a = port_want(21, 1), b = port_want(22, 1), c = port_want(23, 2), d = port_want(24, 2);
  const Want good = wanted(want_of({network_want(1), network_want(2)}, {a, b, c}));
  Want bad = good;
  const bool of_port = bad.ports.contains(fault.of.as<PortId>());
  s.settle({});
  if (fault.needs_taps)
    for (const auto& port : {a, b, c}) s.host->plug(port);
  if (running) s.settle(good);
  else if (fault.needs_taps) s.settle(wanted(want_of({network_want(1), network_want(2)}, {a, c})));
  if (running)
    for (auto& [id, port] : bad.ports) port.hostname += "-too";  // news for all files
  if (fault.spoil) fault.spoil(bad);
  if (fault.strike) fault.strike();

  const auto said = [&](const Have& have) {
    const auto found = have.troubles.find(fault.of);
    return found == have.troubles.end() ? std::string{} : found->second;
  };
  s.apply(bad);
  Have have = s.look_until([&](const Have& now) { return now.in_force && now.troubles.contains(fault.of); });
  CHECK(have.applied == bad);
  CHECK(have.troubles.size() == 1);
  CHECK(said(have).find(fault.says) != std::string::npos);
  INFO("it says: " << said(have));
  CHECK(port_of(have, c).ready);
  CHECK(port_of(have, a).plugged == fault.needs_taps);
  CHECK_FALSE(port_of(have, b).ready);
  if (of_port) CHECK(port_of(have, a).ready);

  // Its own next try, and its own error; nobody else's.
  const auto again = next_action(bad, have);
  REQUIRE(again.has_value());
  CHECK(again->retried == fault.of);
  CHECK_FALSE(next_action(bad, have, {fault.of}).has_value());
  const auto failed = s.host->driver().perform(*again);
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().text.find(fault.says) != std::string::npos);

  // Meanwhile the others get what they want.
  Want more = bad;
  more.ports[d.id] = wanted(want_of({}, {d})).ports.at(d.id);
  s.apply(more);
  have = s.look();
  CHECK(have.in_force);
  CHECK(port_of(have, d).ready);
  CHECK(have.troubles.size() == 1);
  CHECK(said(have).find(fault.says) != std::string::npos);

  if (fault.mend) fault.mend();
  s.settle(fault.spoil ? good : more);
  have = s.look();
  CHECK(have.in_force);
  CHECK(have.troubles.empty());
  for (const auto& port : {a, b, c}) CHECK(port_of(have, port) == PortHave{port.id, port.born, true, fault.needs_taps});
  if (fault.needs_taps)
    for (const auto& port : {a, b, c}) s.host->unplug(port);
}

}  // namespace

void one_is_in_trouble(const MakeHost& make) {
  Suite s(make);
  for (const auto& fault : s.host->faults(network_want(1), port_want(22, 1)))
    for (const bool running : {false, true})
      if (!running || fault.strikes_the_well) strike(s, fault, running);
}

void driver_contract(const MakeHost& make) {
  Suite s(make);
  const PortWant a = port_want(21, 1), b = port_want(22, 1), c = port_want(23, 2);
  const Want two = want_of({network_want(1), network_want(2)}, {a, b, c});

  SECTION("a fresh host has nothing, and nothing is in force before the first apply") {
    const Have have = s.look();
    CHECK(have.networks.empty());
    CHECK(have.ports.empty());
    CHECK_FALSE(have.in_force);
    CHECK(have.applied == Want{});
  }
  SECTION("what was applied is there, in force, and applying it again changes nothing") {
    s.apply(two);
    const Have first = s.look();
    CHECK(first.in_force);
    CHECK(first.applied == two);
    CHECK(first.networks.size() == 2);
    CHECK(first.networks.at(network_want(1).id).born == network_want(1).born);
    CHECK(first.ports.size() == 3);
    CHECK(port_of(first, a) == PortHave{a.id, a.born, true, false});
    s.apply(two);
    CHECK(s.look() == first);
  }
  SECTION("a tap wakes; the port is ready again once it has been applied") {
    s.apply(two);
    s.host->plug(a);
    const Have seen = s.look_until([&](const Have& have) { return port_of(have, a).plugged; });
    CHECK_FALSE(seen.in_force);
    CHECK_FALSE(port_of(seen, a).ready);
    CHECK(port_of(seen, b).ready);
    s.apply(two);
    const Have have = s.look();
    CHECK(have.in_force);
    CHECK(port_of(have, a) == PortHave{a.id, a.born, true, true});
    s.host->unplug(a);
    s.look_until([&](const Have& now) { return !port_of(now, a).plugged; });
    s.apply(two);
    CHECK(s.look().in_force);
  }
  SECTION("a tap that was there first is taken up by the first apply") {
    s.apply(Want{});
    s.host->plug(a);
    s.apply(two);
    const Have have = s.look_until([&](const Have& now) { return port_of(now, a).plugged; });
    s.apply(two);
    CHECK(port_of(s.look(), a).ready);
  }
  SECTION("what is no longer wanted goes, and only that") {
    s.apply(two);
    s.host->plug(c);
    s.look_until([&](const Have& have) { return port_of(have, c).plugged; });
    const Want less = want_of({network_want(1)}, {b});
    s.apply(less);
    const Have have = s.look();
    CHECK(have.in_force);
    CHECK(have.networks.size() == 1);
    CHECK(have.ports.size() == 1);
    CHECK(port_of(have, b).ready);
    s.apply(Want{});
    const Have empty = s.look();
    CHECK(empty.in_force);
    CHECK(empty.networks.empty());
    CHECK(empty.ports.empty());
  }
  SECTION("after a restart of the agent the host is as it was, nothing counts as applied") {
    s.apply(two);
    s.host->plug(a);
    s.look_until([&](const Have& have) { return port_of(have, a).plugged; });
    s.apply(two);
    s.host->restart();
    s.listen();
    const Have have = s.look_until([&](const Have& now) { return port_of(now, a).ready; });
    CHECK_FALSE(have.in_force);
    CHECK(have.applied == Want{});
    CHECK(have.networks.size() == 2);
    CHECK(have.ports.size() == 3);
    CHECK(port_of(have, a) == PortHave{a.id, a.born, true, true});
    CHECK(port_of(have, b) == PortHave{b.id, b.born, true, false});
    s.apply(two);
    CHECK(s.look().in_force);
  }
  SECTION("deleted and made anew under the same id: the old one is told by its born, and replaced") {
    s.apply(two);
    NetworkWant again = network_want(1);
    again.born = {500, 0};
    PortWant port = a;
    port.born = {501, 0};
    s.apply(want_of({again}, {port}));
    const Have have = s.look();
    CHECK(have.in_force);
    CHECK(have.networks.size() == 1);
    CHECK(have.networks.at(again.id).born == again.born);
    CHECK(have.ports.size() == 1);
    CHECK(port_of(have, port).ready);
  }
  SECTION("a change of a port is not in force until it is applied") {
    s.apply(two);
    Want changed = two;
    changed.ports[a.id].addresses[0].address.value += 100;
    changed.ports[a.id].hostname = "other";
    changed.ports[b.id].admin_up = false;
    s.apply(changed);
    const Have have = s.look();
    CHECK(have.in_force);
    CHECK(have.applied == changed);
    CHECK(port_of(have, a).ready);
  }
  SECTION("a switch that comes back empty wakes, and is filled by the next apply") {
    s.apply(two);
    s.host->plug(a);
    s.look_until([&](const Have& have) { return port_of(have, a).plugged; });
    s.apply(two);
    REQUIRE(s.look().in_force);
    s.host->lose_flows();
    s.look_until([&](const Have& have) { return !have.in_force; });
    s.apply(two);
    const Have have = s.look_until([&](const Have& now) { return now.in_force; });
    CHECK(port_of(have, a) == PortHave{a.id, a.born, true, true});
  }
}

}  // namespace reprise::network
