// Volumes (cinder v3): what its files register, and what they share.
#pragma once

#include "controlplane/api/microversion.h"
#include "controlplane/api/service.h"

namespace reprise::api {

// All of the volume service.
void register_volumes(Api& api);

void register_volume_records(Api& api);
void register_volume_list(Api& api);
void register_volume_types(Api& api);
void register_volume_limits(Api& api);
void register_volume_attachments(Api& api);
void register_volume_services(Api& api);

// A handler below /v3/{project}: the project must be the token's own. The rest of the path begins at param 1.
Handle in_project(Handle handle);

// The volume at {1} of the path, if the actor may see it.
std::optional<Volume> seen_volume(Ask& ask);
Response no_volume(const Ask& ask, std::string_view id);
Response not_here(const Ask& ask, std::string_view what);  // 501

// Of the one attachment that a volume can have.
AttachmentId attachment_of(const Volume& volume);

// The one type. Its id says "local" in hex.
inline constexpr std::string_view volume_type_name = "local";
inline constexpr std::string_view volume_type_id = "6c6f6361-6c00-4000-8000-000000000000";

// Writes volumes of one view.
class VolumeWriter {
 public:
  VolumeWriter(const Ask& ask, unsigned minor, bool details)
      : ask_(ask), minor_(minor), details_(details), admin_(ask.actor().rights.admin) {}
  void write(JsonWriter& json, const Volume& volume);

 private:
  struct Place {
    std::string node;
    std::string zone;
  };
  const Place& place_of(const Volume& volume);
  void write_attachments(JsonWriter& json, const Volume& volume);
  void write_image(JsonWriter& json, const Volume& volume);

  const Ask& ask_;
  const unsigned minor_;
  const bool details_;
  const bool admin_;
  std::map<NodeId, Place> places_;
};

}  // namespace reprise::api
