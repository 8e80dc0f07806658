// What every storage driver promises (agents/core/driver.h, agents/storage/driver.h), as one suite.
// A test program gives it a host; the simulated driver and the real ones pass the same checks.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agents/storage/driver.h"

namespace reprise::storage {

// A node as the suite needs it: the driver, and the hands of an operator.
class ContractHost {
 public:
  virtual ~ContractHost() = default;
  virtual Driver& driver() = 0;
  virtual void restart() = 0;            // the agent died and is back: a new driver on the same host
  virtual ImageRef image() = 0;          // an image that is there; its disk has between 1 MiB and 1 GiB
  virtual ImageRef damaged_image() = 0;  // its bytes are not those that its hash names
  virtual ImageRef missing_image() = 0;  // its bytes cannot be had
  virtual ImageRef large_image() = 0;    // its disk has between 1 GiB and 2 GiB
  virtual bool has_bytes() { return true; }  // false: images and disks are names only
  virtual void fill_up() = 0;            // no space is left on the node
  virtual void free_up() = 0;
};

using MakeHost = std::function<std::unique_ptr<ContractHost>()>;
// To be called inside a TEST_CASE; it has SECTIONs of its own.
void driver_contract(const MakeHost& make);

}  // namespace reprise::storage
