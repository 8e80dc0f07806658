// Compute (nova v2.1): what its files register, and what they share.
#pragma once

#include "controlplane/api/microversion.h"
#include "controlplane/api/service.h"

namespace reprise::api {

// All of compute, from the version documents down.
void register_compute(Api& api);

void register_flavors(Api& api);
void register_keypairs(Api& api);
void register_servers(Api& api);
void register_server_list(Api& api);
void register_server_actions(Api& api);
void register_server_parts(Api& api);
void register_server_volumes(Api& api);
void register_instance_actions(Api& api);
void register_compute_limits(Api& api);
void register_hypervisors(Api& api);
void register_compute_services(Api& api);

// The server at {0} of the path, if the actor may see it.
std::optional<Server> seen_server(Ask& ask);
// 404 in nova's words.
Response no_server(const Ask& ask, std::string_view id);
// 501 that says what is not there, and what to do instead.
Response not_implemented(const Ask& ask, std::string_view what);

// A link of nova's: {"rel": …, "href": …}.
void write_link(JsonWriter& json, std::string_view rel, std::string_view href);

// The purpose under which a guest's user data (the decoded bytes) and admin password are sealed (Keyring::seal).
inline constexpr std::string_view user_data_purpose = "user_data";

}  // namespace reprise::api
