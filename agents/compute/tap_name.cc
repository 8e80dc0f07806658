#include "agents/compute/driver.h"

namespace reprise::compute {

std::string tap_name(PortId port) { return "tap" + port.hex().substr(0, 11); }

}  // namespace reprise::compute
