// br-int and its ports in Open vSwitch's database, through the IDL.
//
// Promises: all calls run on the OvsLoop's thread. look() is the database's content as of now, not a
// memory; `changed` is called whenever something that matters in it is another than before (a tap, an
// ofport, the bridge, the connection). What is made here carries external_ids reprise-*; a bridge with
// ports that nobody marked, and without our mark itself, is the operator's: it is refused, not taken.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agents/network/ovs_loop.h"
#include "events/ids.h"
#include "events/result.h"

struct ovsdb_idl;
struct ovsdb_idl_txn;
struct ovsrec_bridge;
struct ovsrec_open_vswitch;

namespace reprise::network {

struct SwitchPort {
  std::string name;
  std::int64_t ofport = 0;  // 0: not given yet; -1: it could not be opened, see `error`
  std::string error;
  std::optional<PortId> iface_id;    // a guest's tap
  std::optional<NetworkId> network;  // a leg of ours
  Born born;                         // of that network
  bool uplink = false;               // the wire, added by us
  bool operator==(const SwitchPort&) const = default;
};

struct Switch {
  bool bridge = false;
  bool ours = false;              // the bridge carries our mark
  bool as_wanted = false;         // secure, protocols, datapath
  std::vector<SwitchPort> ports;  // without the bridge's own
  bool operator==(const Switch&) const = default;
};

struct Leg {
  NetworkId network;
  Born born;
  auto operator<=>(const Leg&) const = default;
};

struct Layout {
  std::map<std::string, Leg> legs;  // by device name
  std::set<std::string> left;       // of legs: those that stay as they are, there or not
  std::set<PortId> ports;           // whose taps may be plugged; broken ports of others are cleared away
};

// What of a layout could not be, and why; the rest is so.
struct Unshaped {
  std::map<NetworkId, Error> legs;
  std::string uplink;
};

struct OvsDbConfig {
  std::string run_dir = "/run/openvswitch";  // has db.sock
  std::string bridge = "br-int";
  std::string datapath = "auto";  // auto, system, netdev
  std::string uplink;             // device; empty: none
};

class OvsDb : public OvsLoop::Part {
 public:
  OvsDb(OvsLoop& loop, OvsDbConfig config, std::function<void()> changed);
  ~OvsDb() override;

  Result<Switch> look(Clock::time_point deadline);
  // Makes br-int, its uplink and exactly these legs; returns once ovs-vswitchd has it so.
  Result<Unshaped> shape(const Layout& layout, Clock::time_point deadline);
  Status remove_bridge(
      Clock::time_point deadline);  // with all that is on it; well if it is not there or not ours

  void run() override;
  void wait() override;

 private:
  using Change = std::function<Status(ovsdb_idl_txn*, const ovsrec_open_vswitch*)>;
  void connect();
  bool ready() const;
  Status until_ready(Clock::time_point deadline);
  Status commit(const Change& change, Clock::time_point deadline);
  Status in_force(Clock::time_point deadline);
  void legs_open(const Layout& layout, Unshaped& not_so, Clock::time_point deadline);
  Status change_layout(ovsdb_idl_txn* txn, const ovsrec_open_vswitch* root, const Layout& layout,
                       Unshaped& not_so);
  const ovsrec_bridge* shaped_bridge(ovsdb_idl_txn* txn, const ovsrec_open_vswitch* root,
                                     const Layout& layout);
  std::string elsewhere(const std::string& device, const ovsrec_bridge* bridge) const;
  void drop_ports(const ovsrec_bridge* bridge, const Layout& layout);
  std::string datapath_type(const ovsrec_bridge* bridge) const;
  const ovsrec_bridge* find_bridge() const;
  Switch picture() const;

  OvsLoop& loop_;
  const OvsDbConfig config_;
  std::function<void()> changed_;
  Appearances socket_;
  ovsdb_idl* idl_ = nullptr;
  ovsdb_idl_txn* txn_ = nullptr;
  bool was_ready_ = false;
  std::optional<Switch> last_;
  unsigned seqno_ = 0;
};

}  // namespace reprise::network
