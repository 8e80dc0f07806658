#include "agents/core/simulated_disks.h"

#include <fmt/format.h>

#include <algorithm>

namespace reprise {
namespace {

std::uint64_t used_gib(const storage::Have& have) {
  std::uint64_t used = 0;
  for (const auto& [key, disk] : have.disks) used += disk.size_gib;
  return used;
}

}  // namespace

storage::Have SimulatedDisks::have() const {
  std::lock_guard lock(mutex_);
  storage::Have have = have_;
  have.free_gib = gib_ - std::min(gib_, used_gib(have_));
  return have;
}

Status SimulatedDisks::apply(const storage::Action& action, NodeId node) {
  if (action.step == storage::Step::fence) {
    std::lock_guard lock(mutex_);
    Seq& up_to = have_.fences[action.fence.node];
    up_to = std::max(up_to, action.fence.identity);
    return {};
  }
  if (shuts_out(node, action.disk.identity) && action.step != storage::Step::evict_image)
    return {Errc::denied, fmt::format("disk {}: this node is shut out of the pool as {}: it was taken for lost", action.disk.id.str(),
                                      action.disk.identity)};
  const auto& want = action.disk;
  std::lock_guard lock(mutex_);
  switch (action.step) {
    case storage::Step::create: return create(want);
    case storage::Step::grow: {
      const auto at = have_.disks.find({want.id, want.born});
      if (at == have_.disks.end()) return {Errc::not_found, fmt::format("disk {} is not on this host", want.id.str())};
      at->second.size_gib = std::max(at->second.size_gib, want.size_gib);
      return {};
    }
    case storage::Step::remove:
      have_.disks.erase({want.id, want.born});
      return {};
    case storage::Step::evict_image: return evict(action.image);
    case storage::Step::fence: break;
  }
  return {};
}

Status SimulatedDisks::create(const storage::DiskWant& want) {
  const std::pair key{want.id, want.born};
  if (have_.disks.contains(key)) return {};
  if (want.size_gib == 0 && !want.image)
    return {Errc::invalid, fmt::format("disk {} is empty and of 0 GiB: give it a size or an image", want.id.str())};
  const auto used = used_gib(have_);
  if (used + want.size_gib > gib_)
    return {Errc::no_space, fmt::format("disk {} needs {} GiB, {} are free: free some, or add a node", want.id.str(),
                                        want.size_gib, gib_ - used)};
  auto& disk = have_.disks[key] = {.id = want.id, .born = want.born, .kind = want.kind, .size_gib = want.size_gib};
  if (have_.shared) return {};  // a pool keeps its images itself
  if (want.image) have_.cached[want.image->id] = want.image->sha512;
  if (want.image && want.backed) disk.backing = want.image->id;
  return {};
}

Status SimulatedDisks::evict(ImageId image) {
  for (const auto& [key, disk] : have_.disks)
    if (disk.backing == image)
      return {Errc::conflict, fmt::format("image {} cannot go: disk {} stands on it", image.str(), key.first.str())};
  have_.cached.erase(image);
  return {};
}

}  // namespace reprise
