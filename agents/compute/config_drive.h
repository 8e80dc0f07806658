// The config drive: an ISO with label `config-2` that cloud-init (and the test guest) reads, in
// OpenStack's layout openstack/latest/{meta_data,network_data,vendor_data}.json and user_data.
#pragma once

#include <string>

#include "agents/compute/driver.h"

namespace reprise::compute {

// What is sealed in the log, opened for the guest; empty: it gets none.
struct GuestSecrets {
  std::string user_data;
  std::string admin_pass;  // nova's admin_pass in meta_data.json: what in the guest sets it is the guest's business
};

// The files' texts; pure.
std::string meta_data_json(const ServerWant& server, const std::string& admin_pass = {});
std::string network_data_json(const ServerWant& server);

// Of all that the drive says: another one, and the drive has to be made anew.
std::string config_drive_key(const ServerWant& server);

// Makes the drive at `path` (mode 0600) under a temporary name inside `scratch`, an existing folder
// that only its owner may enter.
Status make_config_drive(const ServerWant& server, const GuestSecrets& secrets, const std::string& scratch, const std::string& path);

}  // namespace reprise::compute
