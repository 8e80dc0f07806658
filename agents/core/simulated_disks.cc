#include "agents/core/simulated_disks.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace reprise {
namespace {

std::uint64_t used_gib(const storage::Have& have) {
  std::uint64_t used = 0;
  for (const auto& [key, disk] : have.disks) used += disk.size_gib;
  return used;
}

std::uint64_t mixed(std::uint64_t content, std::uint64_t value) { return (content ^ value) * 1099511628211u + 1; }

std::string made_line(const storage::DiskHave& disk, ImageId from) {
  return fmt::format("made {} {} {} {} {}", disk.id.str(), disk.born.str(), static_cast<int>(disk.kind), disk.size_gib, from.str());
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
    note(fmt::format("fenced {} {}", action.fence.node.str(), up_to));
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
      note(made_line(at->second, bytes_[at->first].from));
      return {};
    }
    case storage::Step::remove:
      erase({want.id, want.born});
      return {};
    case storage::Step::evict_image: return evict(action.image);
    case storage::Step::fence: break;
  }
  return {};
}

Status SimulatedDisks::create(const storage::DiskWant& want) {
  const std::pair key{want.id, want.born};
  if (have_.disks.contains(key)) return {};
  if (!want.unmakable.empty()) return {Errc::not_found, fmt::format("disk {}: {}", want.id.str(), want.unmakable)};
  if (want.size_gib == 0 && !want.image)
    return {Errc::invalid, fmt::format("disk {} is empty and of 0 GiB: give it a size or an image", want.id.str())};
  const auto used = used_gib(have_);
  if (used + want.size_gib > gib_)
    return {Errc::no_space, fmt::format("disk {} needs {} GiB, {} are free: free some, or add a node", want.id.str(),
                                        want.size_gib, gib_ - used)};
  auto& disk = have_.disks[key] = {.id = want.id, .born = want.born, .kind = want.kind, .size_gib = want.size_gib};
  Bytes& bytes = bytes_[key];
  if (want.image) bytes.from = want.image->id;
  bytes.content = mixed(bytes.from.hi, bytes.from.lo);
  note(made_line(disk, bytes.from));
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

void SimulatedDisks::erase(const std::pair<AnyId, Born>& key) {
  bytes_.erase(key);
  if (have_.disks.erase(key)) note(fmt::format("gone {} {}", key.first.str(), key.second.str()));
}

std::optional<std::uint64_t> SimulatedDisks::write(AnyId id, Born born, NodeId node, Seq identity, std::uint64_t value) {
  std::lock_guard lock(mutex_);
  const auto at = bytes_.find({id, born});
  if (at == bytes_.end() || have_.shuts_out(node, identity)) return std::nullopt;
  return at->second.content = mixed(at->second.content, value);
}

std::optional<std::uint64_t> SimulatedDisks::content(AnyId id, Born born) const {
  std::lock_guard lock(mutex_);
  const auto at = bytes_.find({id, born});
  return at == bytes_.end() ? std::nullopt : std::optional(at->second.content);
}

std::optional<ImageId> SimulatedDisks::made_from(AnyId id, Born born) const {
  std::lock_guard lock(mutex_);
  const auto at = bytes_.find({id, born});
  return at == bytes_.end() ? std::nullopt : std::optional(at->second.from);
}

bool SimulatedDisks::vanish(AnyId id, Born born) {
  std::lock_guard lock(mutex_);
  if (!have_.disks.contains({id, born})) return false;
  erase({id, born});
  return true;
}

void SimulatedDisks::journal(std::function<void(const std::string&)> line) {
  std::lock_guard lock(mutex_);
  journal_ = std::move(line);
  if (!journal_) return;
  for (const auto& [key, disk] : have_.disks) note(made_line(disk, bytes_[key].from));
  for (const auto& [node, up_to] : have_.fences) note(fmt::format("fenced {} {}", node.str(), up_to));
}

bool SimulatedDisks::take(const std::string& line) {
  std::istringstream words(line);
  std::string what, id_text, born_text, from_text;
  words >> what >> id_text >> born_text;
  const auto id = AnyId::parse(id_text);
  std::lock_guard lock(mutex_);
  if (what == "fenced" && id) {
    have_.fences[id->as<NodeId>()] = std::strtoull(born_text.c_str(), nullptr, 10);
    return true;
  }
  const auto born = Born::parse(born_text);
  if (!id || !born) return false;
  if (what == "gone") return erase({*id, *born}), true;
  int kind = 0;
  std::uint64_t size_gib = 0;
  words >> kind >> size_gib >> from_text;
  const auto from = ImageId::parse(from_text);
  if (what != "made" || words.fail() || !from) return false;
  have_.disks[{*id, *born}] = {.id = *id, .born = *born, .kind = static_cast<storage::DiskKind>(kind), .size_gib = size_gib};
  bytes_[{*id, *born}] = {.from = *from, .content = mixed(from->hi, from->lo)};
  return true;
}

}  // namespace reprise
