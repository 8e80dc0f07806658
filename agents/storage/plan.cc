#include "agents/storage/plan.h"

namespace reprise::storage {
namespace {

// A cached image on which no disk here stands, nor one that is wished will.
std::optional<Action> evict_step(const Want& want, const Have& have, const std::set<AnyId>& skip) {
  if (have.cached.empty()) return std::nullopt;
  std::set<ImageId> used;
  for (const auto& [key, disk] : have.disks) used.insert(disk.backing);
  for (const auto& [id, disk] : want)
    if (disk.image) used.insert(disk.image->id);
  for (const auto& [image, sha512] : have.cached)
    if (!used.contains(image) && !skip.contains(image.as<AnyId>())) return Action{.step = Step::evict_image, .image = image};
  return std::nullopt;
}

}  // namespace

std::optional<Action> next_action(const Want& want, const Have& have, const std::set<AnyId>& skip, const Fences& fences) {
  for (const auto& [node, wished] : fences)
    if (!have.shuts_out(node, wished.identity) && !skip.contains(node.as<AnyId>())) return Action{.step = Step::fence, .fence = wished};
  for (const auto& [id, wished] : want) {
    if (skip.contains(id) || have.troubles.contains(id)) continue;
    const auto at = have.disks.find({id, wished.born});
    const bool there = at != have.disks.end();
    if (wished.absent) {
      if (there) return Action{.step = Step::remove, .disk = wished};
      continue;
    }
    if (!there && (wished.ready || !wished.unmakable.empty())) continue;  // to be seen, not to be done
    if (!there) return Action{.step = Step::create, .disk = wished};
    if (at->second.size_gib < wished.size_gib) return Action{.step = Step::grow, .disk = wished};
  }
  return evict_step(want, have, skip);
}

const char* step_name(Step step) {
  switch (step) {
    case Step::create: return "create";
    case Step::grow: return "grow";
    case Step::remove: return "remove";
    case Step::evict_image: return "evict_image";
    case Step::fence: return "fence";
  }
  return "?";
}

}  // namespace reprise::storage
