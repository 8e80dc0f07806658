#include "events/refusal.h"

namespace reprise {

const char* refusal_name(Refusal refusal) {
  switch (refusal) {
#define NAME(name) case Refusal::name: return #name;
    NAME(none) NAME(unreadable) NAME(expired) NAME(rate_limited) NAME(poison) NAME(key_reused) NAME(not_allowed)
    NAME(actor_unknown) NAME(no_such_project) NAME(no_such_user) NAME(no_such_role) NAME(no_such_assignment)
    NAME(no_such_flavor) NAME(no_such_keypair) NAME(no_such_server) NAME(no_such_image) NAME(no_such_volume)
    NAME(no_such_network) NAME(no_such_subnet) NAME(no_such_port) NAME(no_such_node) NAME(name_taken) NAME(id_taken)
    NAME(in_use) NAME(protected_image) NAME(quota_exceeded) NAME(no_valid_host) NAME(wrong_state)
    NAME(image_not_active) NAME(flavor_too_small) NAME(address_taken) NAME(address_outside) NAME(no_address_left)
    NAME(mac_taken) NAME(no_vlan_left) NAME(vlan_taken) NAME(overlaps) NAME(bad_range) NAME(port_bound)
    NAME(no_network_given) NAME(other_node) NAME(already_attached) NAME(not_attached) NAME(too_many_disks) NAME(sealed)
    NAME(key_repeated) NAME(unbootable_format) NAME(too_many_ports)
#undef NAME
  }
  return "?";
}

}  // namespace reprise
