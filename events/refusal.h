// Why an intent was refused. The number goes into the log (IntentRefused.refusal): lines are only
// added at the end. The api maps each to a status (controlplane/api/refusals.cc).
#pragma once

#include <cstdint>

namespace reprise {

enum class Refusal : std::uint16_t {
  none = 0,
  unreadable,              // the bytes are no intent
  expired,                 // log time passed its expires_ms before it was decided
  rate_limited,
  poison,                  // two controllers ended while deciding it
  key_reused,              // the client's key was used with another body
  not_allowed,             // the actor lacks the role now
  actor_unknown,           // user or project is gone or disabled
  no_such_project, no_such_user, no_such_role, no_such_assignment, no_such_flavor, no_such_keypair,
  no_such_server, no_such_image, no_such_volume, no_such_network, no_such_subnet, no_such_port, no_such_node,
  name_taken,
  id_taken,
  in_use,                  // something else depends on it
  protected_image,
  quota_exceeded,
  no_valid_host,           // placement: counts and nodes say why
  wrong_state,             // the object's status forbids it now
  image_not_active,
  flavor_too_small,        // for the image's min_disk, min_ram or virtual size
  address_taken,
  address_outside,         // of the subnet or its network
  no_address_left,
  mac_taken,
  no_vlan_left,
  vlan_taken,
  overlaps,                // subnets of one network
  bad_range,               // pools, gateway, prefix
  port_bound,              // to another server
  no_network_given,        // several to choose from
  other_node,              // a local volume and a server on different nodes
  already_attached,
  not_attached,
  too_many_disks,
  sealed,                  // the log was sealed
  key_repeated,            // the client's key was used with the same body: `object` is the first intent
  unbootable_format,       // of an image: no node makes a disk of it
  too_many_ports,          // for one server
};
const char* refusal_name(Refusal refusal);

}  // namespace reprise
