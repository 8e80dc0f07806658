// libvirtd itself, for a machine where nobody runs it: the host's own is used when it answers; else ours
// is started, kept running and, at `ops/down`, stopped. Guests outlive it either way.
#pragma once

#include <string>

#include "agents/core/daemon.h"
#include "events/result.h"

namespace reprise::compute {

struct LibvirtDaemonConfig {
  std::string socket = "/run/libvirt/libvirt-sock";
  std::string config = "/var/lib/reprise/libvirt/libvirtd.conf";  // ours, written at every start
  // libvirtd reads this one only here; written when there is none, and then removed by `ops/down --wipe`.
  std::string qemu_config = "/etc/libvirt/qemu.conf";
  std::string pid_dir = "/run/reprise";
  std::string log_dir = "/var/log/reprise";
  std::string program = "/usr/sbin/libvirtd";
  std::string host_uuid;               // of this host, as libvirt should know it; empty: the machine's own
};

enum class LibvirtIs { the_hosts, ours };

// Returns once it answers. not_found: no such program; denied: it may not write its files.
Result<LibvirtIs> ensure_libvirtd(Supervisor& supervisor, const LibvirtDaemonConfig& config);
// Stops ours; well if it is the host's.
Status stop_libvirtd(Supervisor& supervisor, const LibvirtDaemonConfig& config);
// Removes the configuration that we wrote.
void remove_libvirtd_config(const LibvirtDaemonConfig& config);

DaemonSpec libvirtd_spec(const LibvirtDaemonConfig& config);

}  // namespace reprise::compute
