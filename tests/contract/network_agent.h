// The network driver's tests in common: an agent in small, the contract's host on a real Open vSwitch, and what
// of it can be broken.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "agents/network/ovs_driver.h"
#include "tests/contract/network_host.h"
#include "tests/contract/network_suite.h"

namespace reprise::network {

inline constexpr const char* run_dir = "/run/test/network";

// The driver as the tests have it. Its dnsmasq is a script that obeys set_dnsmasq().
OvsConfig config_of(const std::string& uplink = {});
// For one network: "" as it should be, "die" at once, "hang" without ever serving.
void set_dnsmasq(NetworkId network, const std::string& how);
std::vector<pid_t> dnsmasqs();  // those that run
std::string bridges();
std::string interfaces();

// Looks, applies what is wanted, waits for a wake when that did not do.
class Agent {
 public:
  explicit Agent(OvsConfig config = config_of());
  ~Agent();

  // `in`: the guests whose taps it must have seen by then; news of them comes through the database.
  void settle(const Want& want, std::initializer_list<const Guest*> in = {});
  bool well(const Want& want, std::initializer_list<const Guest*> in);
  std::uint64_t wakes();
  std::uint64_t wait_after(std::uint64_t seen);

  OvsDriver driver;
  bool wipe_at_end = true;

 private:
  std::mutex mutex_;
  std::condition_variable heard_;
  std::uint64_t wakes_ = 0;
};

class OvsContractHost final : public ContractHost {
 public:
  OvsContractHost();
  ~OvsContractHost() override;
  Driver& driver() override { return *driver_; }
  void restart() override;
  void plug(const PortWant& port) override;
  void unplug(const PortWant& port) override { guests_.at(port.id)->unplug(); }
  void lose_flows() override { kill_and_wait(OvsHost::get().pid("ovs-vswitchd")); }
  std::vector<Fault> faults(const NetworkWant& network, const PortWant& port) override;

 private:
  std::unique_ptr<OvsDriver> driver_;
  std::map<PortId, std::unique_ptr<Guest>> guests_;
};

}  // namespace reprise::network
