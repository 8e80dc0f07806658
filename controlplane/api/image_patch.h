// PATCH of an image: application/openstack-images-v2.1-json-patch (RFC 6902's add, replace and remove, on the
// top level alone). What comes out names what the operations change, and nothing else.
#pragma once

#include <variant>

#include "controlplane/api/image.h"

namespace reprise::api {

// Or why not: 400 malformed, 403 read-only, 409 no such property, 415 another media type.
std::variant<UpdateImage, Response> patch_image(Ask& ask, const Image& image);

}  // namespace reprise::api
