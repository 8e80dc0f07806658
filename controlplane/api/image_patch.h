// PATCH of an image: application/openstack-images-v2.1-json-patch (RFC 6902's add, replace and remove, on the
// top level alone). What comes out is the whole record as it shall be.
#pragma once

#include <variant>

#include "controlplane/api/image.h"

namespace reprise::api {

// The record as it is.
UpdateImage unchanged(const Image& image);

// Or why not: 400 malformed, 403 read-only, 409 no such property, 415 another media type.
std::variant<UpdateImage, Response> patch_image(Ask& ask, const Image& image);

}  // namespace reprise::api
