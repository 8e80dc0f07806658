// The network driver `ovs`: br-int with its flows, and a DHCP namespace per network.
//
// Promises beyond those of every driver: a tap is found by external_ids:iface-id (libvirt's
// virtualport interfaceid = the port's id), whatever its name or number; between a tap's appearance and
// the next apply it neither sends nor receives. Networks and ports that are on the host are told from the
// host: from br-int, and from the hosts files that dnsmasq serves. A port leaves there only after its
// flows have gone, so one that is not shown has no flow.
//
// State: RUN_DIR (folders of the networks), the namespaces, Open vSwitch's database. Nothing else.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "agents/network/dhcp.h"
#include "agents/network/driver.h"
#include "agents/network/flows.h"
#include "agents/network/openflow.h"
#include "agents/network/ovs_db.h"

namespace reprise::network {

struct OvsConfig {
  OvsDbConfig switch_;  // where Open vSwitch is, the bridge, the uplink
  std::string run_dir = "/run/reprise/network";
  std::string dnsmasq = "/usr/sbin/dnsmasq";
  std::chrono::milliseconds look_within{2'000};    // for observe(): then it is unreachable
  std::chrono::milliseconds apply_within{10'000};  // for each part of an apply
};

class OvsDriver : public Driver {
 public:
  explicit OvsDriver(OvsConfig config);
  ~OvsDriver() override;

  void on_change(std::function<void()> wake) override;
  // unreachable: ovsdb-server is away. While only ovs-vswitchd is, nothing is in force.
  Result<Have> observe() override;
  Status perform(const Action& action) override;

  // Everything of ours goes, br-int too, also while Open vSwitch is away (then its bridge stays, and it is
  // said).
  Status wipe();
  // What kept the last observe() from in_force; for people.
  const std::string& missing() const { return missing_; }

 private:
  Status apply(const Want& want);
  Status carry_uplink();
  Status apply_switch(const Want& want, const std::set<std::string>& fresh_legs);
  std::string missing_of(const Want& want) const;
  void tell_ports(Have& have, const Switch& now, const FlowsBehind& behind, bool flows_known) const;
  void wake();

  const OvsConfig config_;
  std::mutex mutex_;
  std::function<void()> wake_;
  std::optional<Want> applied_;
  std::string missing_;
  Dhcp dhcp_;
  OvsLoop loop_;
  std::unique_ptr<OvsDb> db_;  // both live on the loop
  std::unique_ptr<OpenFlow> flows_;
};

}  // namespace reprise::network
