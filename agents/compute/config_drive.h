// The config drive: an ISO with label `config-2` that cloud-init (and the test guest) reads, in
// OpenStack's layout openstack/latest/{meta_data,network_data,vendor_data}.json and user_data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agents/compute/driver.h"

namespace reprise::compute {

// The files' texts; pure.
std::string meta_data_json(const ServerWant& server);
std::string network_data_json(const ServerWant& server);

// Of all that the drive says: another one, and the drive has to be made anew.
std::string config_drive_key(const ServerWant& server);

// Makes the drive at `path` (mode 0600) under a temporary name inside `scratch`, an existing folder
// that only its owner may enter. `user_data` empty: the guest gets none.
Status make_config_drive(const ServerWant& server, const std::vector<std::uint8_t>& user_data,
                         const std::string& scratch, const std::string& path);

}  // namespace reprise::compute
