// What every compute driver promises (agents/core/driver.h, agents/compute/driver.h), as one suite.
// A test program gives it a host; the simulated driver and the real ones pass the same checks.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agents/compute/driver.h"

namespace reprise::compute {

// A node as the suite needs it: the driver, and the hands of guests and operators.
class ContractHost {
 public:
  virtual ~ContractHost() = default;
  virtual Driver& driver() = 0;
  virtual void restart() = 0;                      // the agent died and is back: a new driver, same host
  virtual ServerWant server(std::uint64_t n) = 0;  // on, power_seq 10, its boot disk is there; no NICs
  virtual DiskLink volume(std::uint64_t n) = 0;    // a volume that is there
  virtual void await_guest(ServerId id) = 0;       // until its guest listens to the power button
  virtual void guest_powers_off(ServerId id) = 0;  // by itself
  virtual void guest_is_killed(ServerId id) = 0;   // its process, by kill -9
  virtual void reboot_host() = 0;                  // all guests die; the host's boot id is another
  virtual void hypervisor_goes() = 0;              // libvirtd dies; the guests run on
  virtual void hypervisor_returns() = 0;
  virtual void make_foreign() = 0;  // a stopped guest of the operator's own
  virtual bool foreign_is_untouched() = 0;
  virtual std::string leftovers(
      ServerId id) = 0;  // what is on the host of that server, in words; empty: nothing
};

using MakeHost = std::function<std::unique_ptr<ContractHost>()>;
// To be called inside a TEST_CASE; it has SECTIONs of its own.
void driver_contract(const MakeHost& make);

}  // namespace reprise::compute
