#include "controlplane/api/refusals.h"

namespace reprise::api {
namespace {

// Nova and cinder say 400 of what a body names and is not there.
int missing(Service service, bool own) {
  return own || (service != Service::compute && service != Service::volume) ? 404 : 400;
}

int over_quota(Service service) {
  switch (service) {
    case Service::compute:
    case Service::identity:
    case Service::none:
      return 403;
    case Service::volume:
    case Service::image:
      return 413;
    case Service::network:
      return 409;
  }
  return 403;
}

}  // namespace

int refusal_status(Service service, Refusal refusal, bool own) {
  switch (refusal) {
    case Refusal::unreadable:
    case Refusal::flavor_too_small:
    case Refusal::address_outside:
    case Refusal::overlaps:
    case Refusal::bad_range:
    case Refusal::no_valid_host:
    case Refusal::other_node:
    case Refusal::already_attached:
    case Refusal::unbootable_format:
      return 400;
    case Refusal::actor_unknown:
      return 401;
    case Refusal::not_allowed:
    case Refusal::protected_image:
    case Refusal::too_many_disks:
    case Refusal::too_many_ports:
      return 403;
    case Refusal::no_such_project:
    case Refusal::no_such_user:
    case Refusal::no_such_role:
    case Refusal::no_such_assignment:
    case Refusal::no_such_flavor:
    case Refusal::no_such_keypair:
    case Refusal::no_such_server:
    case Refusal::no_such_image:
    case Refusal::no_such_volume:
    case Refusal::no_such_network:
    case Refusal::no_such_subnet:
    case Refusal::no_such_port:
    case Refusal::no_such_node:
      return missing(service, own);
    case Refusal::not_attached:
      return service == Service::volume ? 400 : 404;
    case Refusal::wrong_state:
    case Refusal::in_use:
      return service == Service::volume ? 400 : 409;
    case Refusal::image_not_active:
      return service == Service::image ? 409 : 400;
    case Refusal::quota_exceeded:
      return over_quota(service);
    case Refusal::key_reused:
    case Refusal::key_repeated:
    case Refusal::name_taken:
    case Refusal::id_taken:
    case Refusal::address_taken:
    case Refusal::no_address_left:
    case Refusal::mac_taken:
    case Refusal::no_vlan_left:
    case Refusal::vlan_taken:
    case Refusal::port_bound:
    case Refusal::no_network_given:
      return 409;
    case Refusal::rate_limited:
      return 429;
    case Refusal::poison:
      return 500;
    case Refusal::expired:
    case Refusal::sealed:
    case Refusal::none:
      return 503;
  }
  return 500;
}

const char* neutron_type(Refusal refusal, IntentType intent) {
  switch (refusal) {
    case Refusal::no_such_network:
      return "NetworkNotFound";
    case Refusal::no_such_subnet:
      return "SubnetNotFound";
    case Refusal::no_such_port:
      return "PortNotFound";
    case Refusal::quota_exceeded:
      return "OverQuota";
    case Refusal::address_taken:
      return "IpAddressInUse";
    case Refusal::address_outside:
      return "InvalidIpForNetwork";
    case Refusal::no_address_left:
      return "IpAddressGenerationFailure";
    case Refusal::mac_taken:
      return "MacAddressInUse";
    case Refusal::no_vlan_left:
      return "NoNetworkAvailable";
    case Refusal::vlan_taken:
      return "VlanIdInUse";
    case Refusal::overlaps:
    case Refusal::bad_range:
      return "InvalidInput";
    case Refusal::in_use:
      if (intent == IntentType::DeleteNetwork) return "NetworkInUse";
      if (intent == IntentType::DeleteSubnet) return "SubnetInUse";
      return "PortInUse";
    default:
      return "";
  }
}

}  // namespace reprise::api
