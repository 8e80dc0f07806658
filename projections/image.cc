#include "projections/image.h"

#include "projections/state.h"

namespace reprise {

std::string Image::property(std::string_view name) const {
  for (std::size_t i = 0; i + 1 < properties.size(); i += 2)
    if (properties[i] == name) return properties[i + 1];
  return {};
}

const char* visibility_word(Visibility visibility) {
  switch (visibility) {
    case Visibility::private_:
      return "private";
    case Visibility::public_:
      return "public";
    case Visibility::shared:
      return "shared";
    case Visibility::community:
      return "community";
  }
  return "?";
}

const char* image_status_word(ImageStatus status) {
  return status == ImageStatus::active ? "active" : "queued";
}

namespace image {

void created(State& s, const ImageCreated& e, const Meta& m) {
  s.images.insert({.id = e.id, .born = m.born, .project = e.project, .name = e.name, .disk_format = e.disk_format,
                   .container_format = e.container_format, .visibility = e.visibility, .is_protected = e.protected_,
                   .min_disk_gib = e.min_disk_gib, .min_ram_mib = e.min_ram_mib, .properties = e.properties,
                   .tags = e.tags, .created_ms = m.at_ms, .updated_ms = m.at_ms});
}

void stored(State& s, const ImageStored& e, const Meta& m) {
  Image& image = s.images.edit(e.id);
  image.status = ImageStatus::active;
  image.size = e.size;
  image.virtual_size = e.virtual_size;
  image.md5 = e.md5;
  image.sha512 = e.sha512;
  image.updated_ms = m.at_ms;
}

void updated(State& s, const ImageUpdated& e, const Meta& m) {
  Image& image = s.images.edit(e.id);
  image.name = e.name;
  image.visibility = e.visibility;
  image.is_protected = e.protected_;
  image.min_disk_gib = e.min_disk_gib;
  image.min_ram_mib = e.min_ram_mib;
  image.properties = e.properties;
  image.tags = e.tags;
  image.disk_format = e.disk_format;
  image.container_format = e.container_format;
  image.updated_ms = m.at_ms;
}

void deleted(State& s, const ImageDeleted& e, const Meta&) { s.images.erase(e.id); }

}  // namespace image
}  // namespace reprise
