#include <fmt/format.h>

#include <algorithm>

#include "controlplane/api/image.h"
#include "controlplane/api/image_patch.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::image;
constexpr std::int64_t min_disk_gib_max = 64 * 1024;
constexpr std::int64_t min_ram_mib_max = 16 * 1024 * 1024;

// Everything that is no attribute is a property: a string under a name of the client's own.
void read_properties(Fields& body, CreateImage& intent) {
  for (const auto& key : body.keys()) {
    if (is_image_attribute(key)) continue;
    if (intent.properties.size() / 2 > image_properties_max) {  // enough to say so
      body.ignore(key);
      continue;
    }
    if (key.empty() || count_characters(key) > 255)
      body.fail(key, "names of properties have 1 to 255 characters");
    else if (const auto value = body.optional_text(key, 0, image_property_chars_max)) {
      intent.properties.push_back(key);
      intent.properties.push_back(*value);
    }
  }
  if (intent.properties.size() / 2 > image_properties_max)
    body.fail("", fmt::format("an image has at most {} properties", image_properties_max));
}

std::optional<Response> refuse_read_only(Ask& ask, Fields& body) {
  for (const auto& key : body.keys())
    if (is_read_only_attribute(key)) return ask.error(403, fmt::format("Attribute '{}' is read-only.", key));
  return std::nullopt;
}

Plan create(Ask& ask) {
  auto body = ask.body();
  if (auto bad = ask.bad()) return std::move(*bad);
  if (auto refused = refuse_read_only(ask, body)) return std::move(*refused);
  CreateImage intent;
  if (const auto id = body.optional_id("id")) intent.id = id->as<ImageId>();
  else intent.id = ask.new_id<ImageId>();
  intent.name = body.optional_string("name", 0, 255).value_or("");
  intent.disk_format = body.optional_string("disk_format", 0, 32).value_or("");
  intent.container_format = body.optional_string("container_format", 0, 32).value_or("");
  if (const auto wrong = check_formats(intent.disk_format, intent.container_format); !wrong.empty())
    body.fail("disk_format", wrong);
  intent.visibility =
      parse_visibility(body.optional_word("visibility", {"shared", "private", "public", "community"}))
          .value_or(Visibility::shared);
  intent.protected_ = body.optional_boolean("protected").value_or(false);
  intent.min_disk_gib =
      static_cast<std::uint64_t>(body.optional_integer("min_disk", 0, min_disk_gib_max).value_or(0));
  intent.min_ram_mib =
      static_cast<std::uint64_t>(body.optional_integer("min_ram", 0, min_ram_mib_max).value_or(0));
  if (body.optional_boolean("os_hidden").value_or(false))
    body.fail("os_hidden", "images are not hidden here: leave it out");
  if (const auto owner = body.optional_string("owner", 0, 64); owner && !owner->empty()) {
    const auto project = ProjectId::parse(*owner);
    if (!project || !ask.sees(*project))
      body.fail("owner", "another than the token's own project needs an admin: leave it out, or use a token of that project");
    else intent.project = *project;
  }
  for (auto& tag : body.strings("tags", image_tags_max, 1, 255))
    if (std::find(intent.tags.begin(), intent.tags.end(), tag) == intent.tags.end())
      intent.tags.push_back(std::move(tag));
  read_properties(body, intent);
  body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto id = intent.id;
  return Change(std::move(intent), id, [id](Ask& ask) { return print_image(ask, id, 201); });
}

Plan show(Ask& ask) {
  const auto image = seen_image(ask);
  return image ? print_image(ask, image->id, 200) : Plan(no_image(ask, ask.param(0)));
}

Plan change_to(UpdateImage intent, int status) {
  const auto id = intent.id;
  return Change(std::move(intent), id, [id, status](Ask& ask) -> Plan {
    return status == 204 ? Plan(Response(204)) : print_image(ask, id, status);
  });
}

Plan patch(Ask& ask) {
  const auto image = seen_image(ask);
  if (!image) return no_image(ask, ask.param(0));
  if (auto refused = foreign_image(ask, *image)) return std::move(*refused);
  auto patched = patch_image(ask, *image);
  if (auto* refused = std::get_if<Response>(&patched)) return std::move(*refused);
  return change_to(std::move(std::get<UpdateImage>(patched)), 200);
}

// The bytes follow the event (follow_deletions).
Plan remove(Ask& ask) {
  const auto image = seen_image(ask);
  if (!image) return no_image(ask, ask.param(0));
  return Change(DeleteImage{.id = image->id}, image->id, [](Ask&) -> Plan { return Response(204); });
}

// Whoever deleted an image, here or through another node, and whether or not anybody heard of it: its bytes go
// when the deletion is folded. What a crash leaves of it, the next start takes away (sweep_images).
void follow_deletions(Api& api, const std::shared_ptr<ImageStore>& store) {
  api.follow([&api, store](const Folded& folded) {
    for (const auto& decision : folded.record.decisions)
      for (const auto& event : decision.events)
        if (event.is<ImageDeleted>())
          (void)api.workers().post_slow({}, [&api, store, id = event.as<ImageDeleted>().id] { store->forget(id, api.backend().view()); });
  });
}

Plan change_tag(Ask& ask, bool add) {
  const auto image = seen_image(ask);
  if (!image) return no_image(ask, ask.param(0));
  if (auto refused = foreign_image(ask, *image)) return std::move(*refused);
  const auto& tag = ask.param(1);
  if (count_characters(tag) > 255) return ask.error(400, "A tag has at most 255 characters.");
  if (!add && std::find(image->tags.begin(), image->tags.end(), tag) == image->tags.end())
    return ask.error(404, fmt::format("The tag {} is not set on image {}.", tag, image->id.str()));
  UpdateImage intent{.id = image->id, .named = 0};
  (add ? intent.tags_added : intent.tags_removed).push_back(tag);
  return change_to(std::move(intent), 204);
}

}  // namespace

void register_image_records(Api& api) {
  api.write(service, Method::post, "/v2/images", Need::member, create);
  api.read(service, "/v2/images/{id}", Need::reader, show);
  api.write(service, Method::patch, "/v2/images/{id}", Need::member, patch);
  api.write(service, Method::del, "/v2/images/{id}", Need::member, remove);
  api.write(service, Method::put, "/v2/images/{id}/tags/{tag}", Need::member,
            [](Ask& ask) { return change_tag(ask, true); });
  api.write(service, Method::del, "/v2/images/{id}/tags/{tag}", Need::member,
            [](Ask& ask) { return change_tag(ask, false); });
}

void register_images(Api& api) {
  const auto store = std::make_shared<ImageStore>(api.config().image_dir, api.config().image_reserve_bytes);
  follow_deletions(api, store);
  register_image_versions(api);
  register_image_quota(api);
  register_image_records(api);
  register_image_list(api);
  register_image_data(api, store);
}

}  // namespace reprise::api
