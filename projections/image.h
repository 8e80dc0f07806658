// Images.   (none) ─ImageCreated─▶ queued ─ImageStored─▶ active ─ImageDeleted─▶ (none)
// The bytes lie in the image store and were whole and hashed before ImageStored.
#pragma once

#include "events/codec.h"
#include "projections/canonical.h"
#include "projections/meta.h"

namespace reprise {

struct State;

inline constexpr std::size_t image_properties_max = 128;
inline constexpr std::size_t image_tags_max = 128;

struct Image {
  using Key = ImageId;
  static constexpr std::uint8_t table = 15;
  static constexpr const char* table_name = "images";
  enum Index : std::uint8_t { by_project = 0, by_visibility = 1 };

  ImageId id;
  Born born;
  ProjectId project;
  std::string name;
  std::string disk_format;
  std::string container_format;
  Visibility visibility = Visibility::private_;
  bool is_protected = false;
  std::uint64_t min_disk_gib = 0;
  std::uint64_t min_ram_mib = 0;
  std::vector<std::string> properties;   // key, value, key, value …
  std::vector<std::string> tags;
  ImageStatus status = ImageStatus::queued;
  std::uint64_t size = 0;                // bytes
  std::uint64_t virtual_size = 0;        // bytes
  std::string md5;
  std::string sha512;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  bool operator==(const Image&) const = default;

  // The value of a property, or an empty word.
  std::string property(std::string_view name) const;
  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "project", s.project), f(4, "name", s.name);
    f(5, "disk_format", s.disk_format), f(6, "container_format", s.container_format), f(7, "visibility", s.visibility);
    f(8, "is_protected", s.is_protected), f(9, "min_disk_gib", s.min_disk_gib), f(10, "min_ram_mib", s.min_ram_mib);
    f(11, "properties", s.properties), f(12, "tags", s.tags), f(13, "status", s.status), f(14, "size", s.size);
    f(15, "virtual_size", s.virtual_size), f(16, "md5", s.md5), f(17, "sha512", s.sha512);
    f(18, "created_ms", s.created_ms), f(19, "updated_ms", s.updated_ms);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_project, KeyWriter().id(project));
    emit(by_visibility, KeyWriter().byte(static_cast<std::uint8_t>(visibility)));
  }
};

// Glance's words.
const char* visibility_word(Visibility visibility);
const char* image_status_word(ImageStatus status);

namespace image {
void created(State&, const ImageCreated&, const Meta&);
void stored(State&, const ImageStored&, const Meta&);
void updated(State&, const ImageUpdated&, const Meta&);
void deleted(State&, const ImageDeleted&, const Meta&);
}  // namespace image

}  // namespace reprise
