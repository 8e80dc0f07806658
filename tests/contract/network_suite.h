// What every network driver promises (agents/core/driver.h, agents/network/driver.h), as one suite.
// A test program gives it a host; the simulated driver and the real one pass the same checks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agents/network/driver.h"

namespace reprise::network {

// A way in which one network, or one port, cannot be carried.
struct Fault {
  std::string name;
  AnyId of;                         // whose trouble it is
  std::string says;                 // part of what is said of it
  std::function<void()> strike;     // to the host; may be nothing
  std::function<void()> mend;
  std::function<void(Want&)> spoil; // to what is wanted; may be nothing
  bool needs_taps = false;          // it strikes a port that is plugged in
  bool strikes_the_well = true;     // also what had been well before
};

// A node as the suite needs it: the driver, and what happens around it.
class ContractHost {
 public:
  virtual ~ContractHost() = default;
  virtual Driver& driver() = 0;
  virtual void restart() = 0;                   // the agent died and is back: a new driver on the same host
  virtual void plug(const PortWant& port) = 0;  // compute starts a guest: its tap appears on the bridge
  virtual void unplug(const PortWant& port) = 0;
  virtual void lose_flows() = 0;  // the switch restarts, empty
  // What can befall that network, or that port of it.
  virtual std::vector<Fault> faults(const NetworkWant& network, const PortWant& port) = 0;
};

using MakeHost = std::function<std::unique_ptr<ContractHost>()>;
// To be called inside a TEST_CASE; it has SECTIONs of its own.
void driver_contract(const MakeHost& make);
// The rest of the contract: each fault that the host knows, at start and while running.
void one_is_in_trouble(const MakeHost& make);

// Two networks and ports in them, for suites and tests: network N is 10.0.N.0/24 on VLAN 100+N, its DHCP
// at .2; port P has the MAC 52:54:00:00:00:P and the address 10.0.N.P.
NetworkWant network_want(unsigned network);
PortWant port_want(unsigned port, unsigned network);
Want want_of(std::initializer_list<NetworkWant> networks, std::initializer_list<PortWant> ports);

}  // namespace reprise::network
