#include <fmt/format.h>

#include <algorithm>

#include "agents/compute/libvirt_servers.h"

namespace reprise::compute {
namespace {

// A guest lets go of a disk in 140 ms; one without a kernel never does.
constexpr std::chrono::seconds detach_patience{2};

bool has_disk(const SeenDomain& seen, const DiskLink& link) {
  return std::any_of(seen.disks.begin(), seen.disks.end(),
                     [&](const DiskLink& disk) { return disk.id == link.id && disk.born == link.born; });
}

// Where it is already, for a step that was cut short; else its own, else the first that is free.
std::string target_for(const DiskLink& disk, const SeenDomain& live, const SeenDomain& stored) {
  for (const auto* seen : {&live, &stored})
    for (const auto& one : seen->disks)
      if (one.id == disk.id && one.born == disk.born) return one.device;
  auto taken = live.targets;
  taken.insert(taken.end(), stored.targets.begin(), stored.targets.end());
  const bool free = !disk.device.empty() && std::find(taken.begin(), taken.end(), disk.device) == taken.end();
  return free ? disk.device : free_target(taken);
}

}  // namespace

Status LibvirtDriver::attach_disk(const Call& call, const ServerWant& server, const DiskLink& disk) {
  auto domain = must_find(call, server);
  if (!domain) return domain.error();
  const auto stored_text =
      domain_text(call.connection, domain->handle.get(), VIR_DOMAIN_XML_INACTIVE, words(server));
  if (!stored_text) return stored_text.error();
  const auto stored = read_domain_xml(*stored_text);
  if (!stored)
    return {Errc::conflict, words(server) + ": its definition lost its metadata: remove the domain"};
  const bool live = domain->running && !has_disk(domain->seen, disk);
  if (live)
    if (auto there = missing_disk(server, disk); !there) return there;
  const auto target = target_for(disk, domain->seen, *stored);
  if (target.empty())
    return {Errc::invalid, words(server) + " has 26 disks: no more fit; detach one first"};
  const auto attach = [&](const SeenDomain& to, unsigned where) -> Status {
    const auto xml = disk_xml({disk, config_.disk_source(disk.id, disk.born)}, target, to.fixed_places);
    if (!xml) return xml.error();
    if (virDomainAttachDeviceFlags(domain->handle.get(), xml->c_str(), where) == 0) return {};
    return libvirt_error(call.connection, fmt::format("attaching disk {} to {}", disk.id.str(), words(server)));
  };
  if (live)
    if (auto done = attach(domain->seen, VIR_DOMAIN_AFFECT_LIVE); !done) return done;
  if (!has_disk(*stored, disk))
    return unless_forced(call, server.id, [&] { return attach(*stored, VIR_DOMAIN_AFFECT_CONFIG); });
  return {};
}

Status LibvirtDriver::detach_running(const Call& call, const Domain& domain, const DiskLink& disk) {
  const auto uuid = domain.seen.marks.id.str();
  const auto alias = disk_alias(disk);
  const auto what = fmt::format("detaching disk {} from server {}", disk.id.str(), uuid);
  session_.expect_removal(uuid, alias);
  if (virDomainDetachDeviceAlias(domain.handle.get(), alias.c_str(), VIR_DOMAIN_AFFECT_LIVE) != 0) {
    const auto error = libvirt_error(call.connection, what);
    // It is asked already, and has not answered: that is no failure.
    if (error.text.find("already in the process of unplug") == std::string::npos) return error;
  }
  session_.wait_for_removal(uuid, alias, detach_patience);
  // The event may have been missed; only the domain itself proves it.
  const auto text = domain_text(call.connection, domain.handle.get(), 0, "server " + uuid);
  if (!text) return text.error();
  const auto seen = read_domain_xml(*text);
  if (!seen || !has_disk(*seen, disk)) return {};
  return {Errc::again, what + ": the guest was asked and has not let go of it yet"};
}

Status LibvirtDriver::detach_disk(const Call& call, const ServerWant& server, const DiskLink& disk) {
  if (disk.boot)
    return {Errc::invalid, words(server) + ": its boot disk cannot be detached: remove the server"};
  auto domain = find_domain(call.connection, server.id, server.born);
  if (!domain) return domain.error();
  if (!*domain) return {};  // no domain holds it
  const auto& handle = (*domain)->handle;
  const auto stored_text = domain_text(call.connection, handle.get(), VIR_DOMAIN_XML_INACTIVE, words(server));
  if (!stored_text) return stored_text.error();
  const auto stored = read_domain_xml(*stored_text);
  if (stored && has_disk(*stored, disk) &&
      virDomainDetachDeviceAlias(handle.get(), disk_alias(disk).c_str(), VIR_DOMAIN_AFFECT_CONFIG) != 0)
    return libvirt_error(call.connection,
                               fmt::format("taking disk {} out of {}", disk.id.str(), words(server)));
  if (!(*domain)->running || !has_disk((*domain)->seen, disk)) return {};
  return detach_running(call, **domain, disk);
}

}  // namespace reprise::compute
