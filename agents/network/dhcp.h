// A network's DHCP on this node: a namespace rp-…, a veth pair from br-int into it, and dnsmasq in there. A
// network without DHCP has none of them, only its folder: what is here, and whose it is.
//
// Promises:
// - One network's trouble is that network's: an error of any call leaves all others.
// - serve() makes it so, by difference, safe to repeat; remove() leaves nothing of it.
// - What is on the host says whose it is: folder RUN_DIR/NETWORK-ID, whose hosts file names the network
//   and each port with born. Only the folder's networks and namespaces rp-<12 hex digits> are touched.
// - dnsmasq outlives us and is started again within two seconds when it ends (core/daemon.h). A change of
//   hosts or options reaches it by SIGHUP; a change of subnets restarts it, and an address that comes to
//   another MAC: dnsmasq gives no one what it has leased to somebody else, and forgets that only at its end.
// - Guests get fixed addresses only; a MAC that is not ours gets no answer.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agents/core/daemon.h"
#include "agents/network/dhcp_files.h"
#include "agents/network/driver.h"
#include "events/result.h"

namespace reprise::network {

std::string leg_name(NetworkId network);  // the device on br-int
std::string namespace_name(NetworkId network);

class Dhcp {
 public:
  Dhcp(std::string run_dir, std::string dnsmasq, std::function<void()> changed);

  // Folder, namespace, veth and addresses: before the leg is put on br-int. True: the veth has been made
  // since the last connect(), so that a switch which had one of that name still holds the one that is gone.
  Result<bool> prepare(const NetworkWant& network);
  // The leg is up: once more, when the switch has it. Open vSwitch writes a device's flags as it knew them before
  // (netdev_linux_update_flags()), so that one which came back under its name may have been set down.
  Status connect(NetworkId network);
  // Files and dnsmasq: after the flows are in force, so that what the hosts file names is so.
  Status serve(const NetworkWant& network, const std::vector<const PortWant*>& ports);
  Status remove(NetworkId network);

  // The networks that have anything here: a folder or a namespace.
  std::vector<NetworkId> networks() const;
  DhcpFileSays says(NetworkId network) const;
  // What the files say is in force, as far as this node's DHCP goes: told by the host, not by what was asked
  // for. `leg_plugged`: br-int has its leg.
  bool serving(NetworkId network, bool leg_plugged) const;
  // Nothing, or what is not as serve() left it.
  std::string missing(const NetworkWant& network, const std::vector<const PortWant*>& ports) const;

 private:
  DaemonSpec daemon(const NetworkWant& network) const;
  DaemonSpec daemon_of(NetworkId network) const;
  std::string folder(NetworkId network) const;
  std::string missing_devices(const NetworkWant& network) const;
  Result<bool> make_pair(const NetworkWant& network);
  Status set_up_devices(const NetworkWant& network);
  Result<bool> write_files(const NetworkWant& network, const std::string& hosts, const std::string& options);
  Status be_without(NetworkId network);  // no dnsmasq, no leg, no namespace

  std::string run_dir_;
  std::string dnsmasq_;
  struct Told {  // what a dnsmasq has read for sure
    pid_t pid = 0;
    std::string files;
    std::map<std::string, std::string> leases;  // address: the MAC that it may have leased it to
    bool knows_all_leases = true;               // not of an adopted one
  };
  static bool leased_to_another(const Told& told, const std::map<std::string, std::string>& leases);
  std::map<NetworkId, Told> told_;
  Supervisor supervisor_;
};

}  // namespace reprise::network
