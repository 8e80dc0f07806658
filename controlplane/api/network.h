// What the files of network v2.0 share.
//
//   network_versions.cc   /, /v2.0, /extensions, /quotas
//   networks.cc           /networks
//   subnets.cc            /subnets
//   ports.cc              /ports
//
// What else neutron has (routers, floating IPs, security groups, agents) is not here yet: those paths are
// 404.
#pragma once

#include "controlplane/api/attributes.h"
#include "controlplane/api/service.h"

namespace reprise::api {

inline constexpr const char* physical_network = "physnet1";

// Own networks, shared ones, and for admins all.
bool may_see(const Ask& ask, const Network& network);
std::optional<Network> visible_network(const Ask& ask, std::string_view id);
// "ResourceNotFound" as neutron says it: 404 with the type NetworkNotFound, SubnetNotFound, PortNotFound.
Response no_such(const Ask& ask, std::string_view kind, std::string_view id);

// tenant_id and project_id of what is made: the token's own, for admins any; none: it is not said.
ProjectId take_project(Ask& ask, Fields& fields);
// The same of what is changed: they may be repeated.
void must_stay_with(Fields& fields, ProjectId project);
// Fields that must have that value (or be left out) because nothing else is possible here.
void must_be(Fields& fields, const char* key, bool value);
void must_be_empty(Fields& fields, const char* key, const char* why);

// created_at, updated_at, tags, tenant_id, project_id: of everything in neutron.
void add_standard(Attributes& row, ProjectId project, std::int64_t created_ms, std::int64_t updated_ms);

void register_networks(Api& api);
void register_subnets(Api& api);
void register_ports(Api& api);
void register_network_versions(Api& api);

}  // namespace reprise::api
