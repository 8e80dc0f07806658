#include "agents/compute/plan.h"

#include <algorithm>

namespace reprise::compute {
namespace {

bool attached(const std::vector<DiskLink>& disks, const DiskLink& disk) {
  return std::any_of(disks.begin(), disks.end(), [&](const DiskLink& one) { return one.id == disk.id && one.born == disk.born; });
}

std::optional<Action> disks_step(const ServerWant& want, const ServerHave& have) {
  for (const auto& disk : have.disks)
    if (!disk.boot && !attached(want.disks, disk)) return Action{.step = Step::detach_disk, .server = want, .disk = disk};
  for (const auto& disk : want.disks)
    if (!disk.boot && !attached(have.disks, disk)) return Action{.step = Step::attach_disk, .server = want, .disk = disk};
  return std::nullopt;
}

Action step(Step step, const ServerWant& want) { return {.step = step, .server = want}; }

// A stopped domain whose power_seq is the wished one stands as an observation, unless the host went
// down under it, or we ourselves stopped it on the way to something else.
bool should_start(const ServerWant& want, const ServerHave& have, const std::string& boot_id) {
  if (have.power_seq < want.power_seq) return true;
  if (have.cause == StopCause::host || (!have.boot_id.empty() && have.boot_id != boot_id)) return true;
  return have.cause == StopCause::asked;
}

std::optional<Action> power_step(const ServerWant& want, const ServerHave& have, const std::string& boot_id) {
  if (!want.on) {
    // One that stands still hears no power button.
    if (have.running) return step(want.stop_hard || have.pause != Pause::none ? Step::stop_hard : Step::stop_soft, want);
    if (have.power_seq < want.power_seq) return step(Step::mark_power, want);
    return std::nullopt;
  }
  if (!have.running) {
    if (should_start(want, have, boot_id)) return step(Step::start, want);
    return std::nullopt;
  }
  if (have.power_seq < want.power_seq) return step(Step::mark_power, want);
  const bool reboot = have.reboot_seq < want.reboot_seq;
  if (reboot && want.reboot_hard) return step(Step::reboot_hard, want);
  // Before it is asked to reboot: one that stands still hears nothing.
  if (have.pause == Pause::io_error) return step(Step::resume, want);
  if (reboot) return step(Step::reboot_soft, want);
  return std::nullopt;
}

}  // namespace

std::optional<Action> next_action(const Want& want, const Have& have, const std::set<ServerId>& skip) {
  // First what must not be here: of a former life, deleted, or moved elsewhere.
  for (const auto& [key, server] : have.servers) {
    const auto wished = want.find(key.first);
    const bool keep = wished != want.end() && !wished->second.absent && wished->second.born == key.second;
    if (!keep && !skip.contains(key.first)) return Action{.step = Step::remove, .server = {.id = server.id, .born = server.born}};
  }
  for (const auto& [id, wished] : want) {
    if (wished.absent || skip.contains(id)) continue;
    const auto at = have.servers.find({id, wished.born});
    if (at == have.servers.end()) return step(Step::define, wished);
    // Its storage pool may shut out, at any time, whom it has it opened as; it opens its disks when it starts.
    if (at->second.running && at->second.identity != wished.identity) return step(Step::stop_hard, wished);
    // A guest that is to go off may never let go of a disk: off first.
    const bool off_first = !wished.on && at->second.running;
    if (off_first)
      if (auto action = power_step(wished, at->second, have.boot_id)) return action;
    if (auto action = disks_step(wished, at->second)) return action;
    if (auto action = power_step(wished, at->second, have.boot_id)) return action;
  }
  return std::nullopt;
}

bool is_exclusive(const Action& action) {
  return action.step == Step::define || action.step == Step::start || action.step == Step::attach_disk;
}

const char* step_name(Step step) {
  switch (step) {
    case Step::define: return "define";
    case Step::start: return "start";
    case Step::mark_power: return "mark_power";
    case Step::stop_soft: return "stop_soft";
    case Step::stop_hard: return "stop_hard";
    case Step::reboot_soft: return "reboot_soft";
    case Step::reboot_hard: return "reboot_hard";
    case Step::resume: return "resume";
    case Step::attach_disk: return "attach_disk";
    case Step::detach_disk: return "detach_disk";
    case Step::remove: return "remove";
  }
  return "?";
}

}  // namespace reprise::compute
