// Images (glance v2): what its files register, and what they share.
#pragma once

#include "controlplane/api/image_store.h"
#include "controlplane/api/service.h"

namespace reprise::api {

// All of the image service. The store lives as long as the routes.
void register_images(Api& api);

void register_image_records(Api& api);
void register_image_list(Api& api);
void register_image_data(Api& api, std::shared_ptr<ImageStore> store);
void register_image_versions(Api& api);
void register_image_quota(Api& api);  // and /v2/info/usage

// The image at {0} of the path, if the actor may see it.
std::optional<Image> seen_image(Ask& ask);
bool sees_image(const Ask& ask, const Image& image);
// 404 in glance's words.
Response no_image(const Ask& ask, std::string_view id);
// 403, when it is not the actor's to change.
std::optional<Response> foreign_image(const Ask& ask, const Image& image);

std::optional<Visibility> parse_visibility(std::string_view word);

void write_image(JsonWriter& json, const Image& image);
Plan print_image(Ask& ask, ImageId id, int status);

inline constexpr std::size_t image_property_chars_max = 65535;
// "container_format"s that exist here.
inline constexpr std::string_view container_formats[] = {"bare", "ami", "aki", "ari"};
// What is wrong with these two together; empty: nothing. Either may be empty.
std::string check_formats(std::string_view disk, std::string_view container);
// Attributes that an image has by itself, and those of them that clients do not set.
bool is_image_attribute(std::string_view name);
bool is_read_only_attribute(std::string_view name);

}  // namespace reprise::api
