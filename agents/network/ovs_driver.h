// The network driver `ovs`: br-int with its flows, and a DHCP namespace per network.
//
// Promises beyond those of every driver: a tap is found by external_ids:iface-id (libvirt's
// virtualport interfaceid = the port's id), whatever its name or number; between a tap's appearance and
// the next apply it neither sends nor receives. Networks and ports that are on the host are told from the
// host: from br-int, and from the hosts files that dnsmasq serves. A port leaves there only after its
// flows have gone, so one that is not shown has no flow.
// One network or port that cannot be carried leaves the others as they are wanted, and itself as far as it
// goes: one whose flows the switch refuses is dark, one whose DHCP fails has its flows. A tap that the switch
// cannot open is the port's trouble while its device is there; a row without a device is a guest that is gone.
//
// State: RUN_DIR (folders of the networks), the namespaces, Open vSwitch's database. Nothing else.
#pragma once

#include <functional>
#include <map>
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
  std::chrono::milliseconds patience{10'000};      // with what does not answer, before it is said
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
  struct Trouble {
    Error error;
    Clock::time_point since;
  };
  using Troubles = std::map<AnyId, Trouble>;
  // One apply: what it is for, and what came of it.
  struct Round {
    const Want& want;
    AnyId retried;
    Troubles troubles;
    std::set<AnyId> dark;              // of those: whose flows the switch refuses
    std::set<std::string> fresh_legs;  // made since the switch last had them
    std::string uplink;                // what keeps it from being carried
  };

  Status apply(const Want& want, AnyId retried);
  void note(Round& round, AnyId id, Error error) const;  // the first trouble of each counts
  std::string words(const Trouble& trouble) const;
  bool is_due(const Round& round, NetworkId network) const;
  void prepare_networks(Round& round);
  Status apply_switch(Round& round);
  Status shape(Round& round, Clock::time_point deadline);
  Status replace_flows(Round& round, Clock::time_point deadline);
  void serve_networks(Round& round);
  void remove_networks(Round& round);
  Status carry_uplink();

  Troubles tap_troubles(const Switch& now, const Want& want) const;
  std::string missing_of(const Want& want, const Switch& now) const;
  void tell_ports(Have& have, const Switch& now, const FlowsBehind& behind, bool flows_known) const;
  void wake();

  const OvsConfig config_;
  std::mutex mutex_;
  std::function<void()> wake_;
  std::optional<Want> applied_;
  Troubles troubles_;     // of the last apply
  std::set<AnyId> dark_;  // of those: whose flows are left out
  std::string missing_;
  Dhcp dhcp_;
  OvsLoop loop_;
  std::unique_ptr<OvsDb> db_;  // both live on the loop
  std::unique_ptr<OpenFlow> flows_;
};

}  // namespace reprise::network
