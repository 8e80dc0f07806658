// Open vSwitch's two daemons, for a machine where nobody runs them: the host's own are used when they
// answer; else ours are started, kept running and, at `ops/down`, stopped.
#pragma once

#include <string>

#include "agents/core/daemon.h"
#include "events/result.h"

namespace reprise::network {

struct OvsDaemonsConfig {
  std::string run_dir =
      "/run/openvswitch";  // where libvirt's ovs-vsctl looks for db.sock, and vswitchd makes br-int.mgmt
  std::string database = "/var/lib/reprise/openvswitch/conf.db";
  std::string pid_dir = "/run/reprise";  // ovsdb-server.pid, ovs-vswitchd.pid
  std::string log_dir = "/var/log/reprise";
  std::string server = "/usr/sbin/ovsdb-server";
  std::string vswitchd = "/usr/sbin/ovs-vswitchd";
  std::string tool = "/usr/bin/ovsdb-tool";
  std::string schema = "/usr/share/openvswitch/vswitch.ovsschema";
};

enum class OvsIs { the_hosts, ours };

// Returns once the database answers and ovs-vswitchd has been started.
Result<OvsIs> ensure_ovs(Supervisor& supervisor, const OvsDaemonsConfig& config);
// Stops ours, in the order in which guests lose least; well if they are the host's.
Status stop_ovs(Supervisor& supervisor, const OvsDaemonsConfig& config);

DaemonSpec ovsdb_server_spec(const OvsDaemonsConfig& config);
DaemonSpec vswitchd_spec(const OvsDaemonsConfig& config);

}  // namespace reprise::network
