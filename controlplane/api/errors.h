// Refusals in the words of the service that is asked: each of OpenStack's services has a format of its own,
// and its clients look for the text in exactly that place.
//
//   identity  {"error": {"code": 404, "message": …, "title": "Not Found"}}
//   compute   {"itemNotFound": {"code": 404, "message": …}}, the key by status (also volume)
//   image     HTML as glance makes it; to who accepts only JSON {"message", "code": "404 Not Found", "title"}
//   network   {"NeutronError": {"type": "NetworkNotFound", "message": …, "detail": ""}}
//   reprise   {"error": {"code", "message"}}: our own paths
#pragma once

#include <string>
#include <string_view>

#include "controlplane/api/http_message.h"

namespace reprise::api {

enum class Service { none, identity, compute, image, volume, network };
const char* service_name(Service service);

// `neutron_type` is neutron's name for the mistake ("NetworkNotFound"); when empty the status decides.
Response error_response(Service service, int status, std::string_view message, std::string_view accept = {},
                        std::string_view neutron_type = {});

// Nova's and cinder's key for a status: "itemNotFound" for 404.
const char* fault_key(int status);

}  // namespace reprise::api
