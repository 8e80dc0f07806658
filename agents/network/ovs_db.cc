#include "agents/network/ovs_db.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "agents/network/netlink.h"
#include "agents/network/ovs_headers.h"
#include "events/check.h"

namespace reprise::network {
namespace {

constexpr const char* key_ours = "reprise-bridge";
constexpr const char* key_network = "reprise-network";
constexpr const char* key_born = "reprise-born";
constexpr const char* key_uplink = "reprise-uplink";
const char* protocols[] = {"OpenFlow10", "OpenFlow13", "OpenFlow15"};

void monitor_what_matters(ovsdb_idl* idl) {
  for (const auto* column :
       {&ovsrec_open_vswitch_col_bridges, &ovsrec_open_vswitch_col_cur_cfg, &ovsrec_open_vswitch_col_next_cfg,
        &ovsrec_bridge_col_name, &ovsrec_bridge_col_ports, &ovsrec_bridge_col_fail_mode,
        &ovsrec_bridge_col_protocols, &ovsrec_bridge_col_datapath_type, &ovsrec_bridge_col_external_ids,
        &ovsrec_port_col_name, &ovsrec_port_col_interfaces, &ovsrec_interface_col_name,
        &ovsrec_interface_col_type, &ovsrec_interface_col_ofport, &ovsrec_interface_col_error,
        &ovsrec_interface_col_external_ids})
    ovsdb_idl_add_column(idl, column);
}

class Ids {  // an smap that cleans up after itself
 public:
  explicit Ids(const smap* from = nullptr) {
    if (from) smap_clone(&map_, from);
    else smap_init(&map_);
  }
  Ids(std::initializer_list<std::pair<const char*, std::string>> pairs) : Ids() {
    for (const auto& [key, value] : pairs) set(key, value);
  }
  ~Ids() { smap_destroy(&map_); }
  Ids(const Ids&) = delete;
  void set(const char* key, const std::string& value) { smap_replace(&map_, key, value.c_str()); }
  const smap* get() const { return &map_; }

 private:
  smap map_;
};

SwitchPort picture_of(const ovsrec_interface& row) {
  SwitchPort port{row.name, row.n_ofport ? *row.ofport : 0, row.error ? row.error : "", {}, {}, {}, false};
  if (const char* id = smap_get(&row.external_ids, "iface-id")) port.iface_id = PortId::parse(id);
  if (const char* id = smap_get(&row.external_ids, key_network)) port.network = NetworkId::parse(id);
  if (const char* born = smap_get(&row.external_ids, key_born))
    port.born = Born::parse(born).value_or(Born{});
  port.uplink = smap_get(&row.external_ids, key_uplink) != nullptr;
  return port;
}

bool has_protocols(const ovsrec_bridge& bridge) {
  return bridge.n_protocols == std::size(protocols) &&
         std::all_of(std::begin(protocols), std::end(protocols), [&](const char* wanted) {
           return std::any_of(bridge.protocols, bridge.protocols + bridge.n_protocols,
                              [&](const char* has) { return std::strcmp(has, wanted) == 0; });
         });
}

bool is_secure(const ovsrec_bridge& bridge) {
  return bridge.fail_mode && std::strcmp(bridge.fail_mode, "secure") == 0;
}

ovsrec_port* add_port(ovsdb_idl_txn* txn, const std::string& name, const Ids& ids,
                      const char* type = nullptr) {
  ovsrec_interface* interface = ovsrec_interface_insert(txn);
  ovsrec_interface_set_name(interface, name.c_str());
  if (type) ovsrec_interface_set_type(interface, type);
  ovsrec_interface_set_external_ids(interface, ids.get());
  ovsrec_port* port = ovsrec_port_insert(txn);
  ovsrec_port_set_name(port, name.c_str());
  ovsrec_port_set_interfaces(port, &interface, 1);
  return port;
}

const ovsrec_port* find_port(const ovsrec_bridge& bridge, const std::string& name) {
  for (std::size_t i = 0; i < bridge.n_ports; ++i)
    if (name == bridge.ports[i]->name) return bridge.ports[i];
  return nullptr;
}

}  // namespace

OvsDb::OvsDb(OvsLoop& loop, OvsDbConfig config, std::function<void()> changed)
    : loop_(loop),
      config_(std::move(config)),
      changed_(std::move(changed)),
      socket_(config_.run_dir, "db.sock") {
  connect();
  loop_.attach(this);
}

OvsDb::~OvsDb() {
  loop_.detach(this);
  ovsdb_idl_destroy(idl_);
}

void OvsDb::connect() {
  if (idl_) ovsdb_idl_destroy(idl_);
  const std::string remote = fmt::format("unix:{}/db.sock", config_.run_dir);
  idl_ = ovsdb_idl_create(remote.c_str(), &ovsrec_idl_class, false, true);
  monitor_what_matters(idl_);
  was_ready_ = false;
  seqno_ = 0;
}

bool OvsDb::ready() const { return ovsdb_idl_has_ever_connected(idl_) && ovsdb_idl_is_connected(idl_); }

// A lost connection means a fresh IDL: its content is then never older than the connection, and a server
// that is back is met when its socket appears, without the library's back-off.
void OvsDb::run() {
  const bool appeared = socket_.happened();
  if (!txn_ && ((was_ready_ && !ovsdb_idl_is_connected(idl_)) || (appeared && !ready()))) connect();
  ovsdb_idl_run(idl_);
  const bool is_ready = ready();
  was_ready_ = was_ready_ || is_ready;
  std::optional<Switch> now = last_;
  if (!is_ready) now.reset();
  else if (const unsigned seqno = ovsdb_idl_get_seqno(idl_); seqno != seqno_ || !last_) {
    seqno_ = seqno;
    now = picture();
  }
  if (now == last_) return;
  last_ = std::move(now);
  changed_();
}

void OvsDb::wait() {
  socket_.wait();
  ovsdb_idl_wait(idl_);
  if (txn_) ovsdb_idl_txn_wait(txn_);
}

const ovsrec_bridge* OvsDb::find_bridge() const {
  const ovsrec_bridge* bridge;
  OVSREC_BRIDGE_FOR_EACH(bridge, idl_)
  if (config_.bridge == bridge->name) return bridge;
  return nullptr;
}

Switch OvsDb::picture() const {
  Switch now;
  const ovsrec_bridge* bridge = find_bridge();
  if (!bridge) return now;
  now.bridge = true;
  now.ours = smap_get(&bridge->external_ids, key_ours) != nullptr;
  now.as_wanted = is_secure(*bridge) && has_protocols(*bridge) &&
                  (config_.datapath == "auto" || config_.datapath == bridge->datapath_type);
  for (std::size_t i = 0; i < bridge->n_ports; ++i) {
    const ovsrec_port& port = *bridge->ports[i];
    if (config_.bridge == port.name) continue;
    for (std::size_t j = 0; j < port.n_interfaces; ++j) now.ports.push_back(picture_of(*port.interfaces[j]));
  }
  std::sort(now.ports.begin(), now.ports.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return now;
}

Status OvsDb::until_ready(Clock::time_point deadline) {
  if (loop_.run_until([this] { return ready(); }, deadline)) return {};
  return {Errc::unreachable,
          fmt::format("ovsdb-server does not answer at {}/db.sock: is it running?", config_.run_dir)};
}

Result<Switch> OvsDb::look(Clock::time_point deadline) {
  if (auto status = until_ready(deadline); !status) return status.error();
  return picture();
}

// ovs-vswitchd copies next_cfg to cur_cfg once all up to there is done.
Status OvsDb::in_force(Clock::time_point deadline) {
  const auto caught_up = [this] {
    if (!ready()) return false;
    const ovsrec_open_vswitch* root = ovsrec_open_vswitch_first(idl_);
    return root && root->cur_cfg >= root->next_cfg;
  };
  if (loop_.run_until(caught_up, deadline)) return {};
  return {Errc::unreachable,
          fmt::format("ovs-vswitchd does not take on what is in the database at {}/db.sock: is it running?",
                      config_.run_dir)};
}

Status OvsDb::commit(const Change& change, Clock::time_point deadline) {
  for (;;) {
    if (auto status = until_ready(deadline); !status) return status;
    txn_ = ovsdb_idl_txn_create(idl_);
    const ovsrec_open_vswitch* root = ovsrec_open_vswitch_first(idl_);
    const bool fresh = root == nullptr;
    if (fresh) root = ovsrec_open_vswitch_insert(txn_);
    Status changed = change(txn_, root);
    ovsdb_idl_txn_status result = TXN_ABORTED;
    std::string error;
    if (changed) {
      if (!fresh) ovsdb_idl_txn_increment(txn_, &root->header_, &ovsrec_open_vswitch_col_next_cfg, false);
      const auto answered = [&] {
        result = ovsdb_idl_txn_commit(txn_);
        return result != TXN_INCOMPLETE || !ovsdb_idl_is_connected(idl_);
      };
      if (!answered()) loop_.run_until(answered, deadline);  // the IDL may not run before the first commit
      if (const char* text = ovsdb_idl_txn_get_error(txn_)) error = text;
    }
    ovsdb_idl_txn_destroy(txn_);
    txn_ = nullptr;
    if (!changed) return changed;
    if (result == TXN_SUCCESS || result == TXN_UNCHANGED) return {};
    if (result == TXN_ERROR)
      return {Errc::conflict, fmt::format("Open vSwitch's database refuses a change: {}", error)};
    if (Clock::now() >= deadline)
      return {Errc::timed_out, fmt::format("Open vSwitch's database did not answer to a change in time ({})",
                                           ovsdb_idl_txn_status_to_string(result))};
    // TRY_AGAIN or a lost connection: once more on the newest content.
  }
}

// An existing bridge keeps its datapath under "auto"; else the kernel decides. (The database's
// datapath_types names "system" also where the module is missing.)
std::string OvsDb::datapath_type(const ovsrec_bridge* bridge) const {
  if (config_.datapath != "auto") return config_.datapath;
  if (bridge && bridge->datapath_type && *bridge->datapath_type) return bridge->datapath_type;
  return kernel_has_family("ovs_datapath") ? "system" : "netdev";
}

void OvsDb::drop_ports(const ovsrec_bridge* bridge, const Layout& layout) {
  for (std::size_t i = 0; i < bridge->n_ports; ++i) {
    const ovsrec_port* port = bridge->ports[i];
    if (port->n_interfaces != 1 || config_.bridge == port->name) continue;
    const SwitchPort has = picture_of(*port->interfaces[0]);
    const auto leg = layout.legs.find(has.name);
    const bool wanted_leg =
        leg != layout.legs.end() && has.network == leg->second.network && has.born == leg->second.born;
    const bool stale_leg = has.network && !wanted_leg;
    const bool stale_uplink = has.uplink && has.name != config_.uplink;
    const bool dead_tap = has.iface_id && has.ofport < 0 && !layout.ports.contains(*has.iface_id);
    if (stale_leg || stale_uplink || dead_tap) ovsrec_bridge_update_ports_delvalue(bridge, port);
  }
}

const ovsrec_bridge* OvsDb::shaped_bridge(ovsdb_idl_txn* txn, const ovsrec_open_vswitch* root,
                                          const Layout& layout) {
  const ovsrec_bridge* bridge = find_bridge();
  const std::string datapath = datapath_type(bridge);
  if (!bridge) {
    ovsrec_bridge* fresh = ovsrec_bridge_insert(txn);
    ovsrec_bridge_set_name(fresh, config_.bridge.c_str());
    ovsrec_port* own = add_port(txn, config_.bridge, Ids{}, "internal");
    ovsrec_bridge_set_ports(fresh, &own, 1);
    ovsrec_open_vswitch_update_bridges_addvalue(root, fresh);
    bridge = fresh;
  } else {
    drop_ports(bridge, layout);
  }
  Ids ids(&bridge->external_ids);
  ids.set(key_ours, "true");
  ovsrec_bridge_set_external_ids(bridge, ids.get());
  ovsrec_bridge_set_fail_mode(bridge, "secure");
  ovsrec_bridge_set_datapath_type(bridge, datapath.c_str());
  ovsrec_bridge_set_protocols(bridge, protocols, std::size(protocols));
  return bridge;
}

// Names are one space in the whole database: one that is taken would have the whole change refused.
std::string OvsDb::elsewhere(const std::string& device, const ovsrec_bridge* bridge) const {
  const ovsrec_bridge* other;
  OVSREC_BRIDGE_FOR_EACH(other, idl_) {
    if (other == bridge) continue;
    for (std::size_t i = 0; i < other->n_ports; ++i)
      for (std::size_t j = 0; j < other->ports[i]->n_interfaces; ++j)
        if (device == other->ports[i]->name || device == other->ports[i]->interfaces[j]->name)
          return fmt::format("Open vSwitch has {} on the bridge {}: take it off there (ovs-vsctl del-port {})",
                             device, other->name, device);
  }
  return {};
}

Status OvsDb::change_layout(ovsdb_idl_txn* txn, const ovsrec_open_vswitch* root, const Layout& layout,
                            Unshaped& not_so) {
  const ovsrec_bridge* bridge = find_bridge();
  if (bridge && !smap_get(&bridge->external_ids, key_ours) && bridge->n_ports > 1)
    return {
        Errc::exists,
        fmt::format("the bridge {} is there, has ports and is not Reprise's: remove it, or name another one "
                    "in the configuration",
                    config_.bridge)};
  std::set<std::string> others;  // on the bridge by an operator's hand
  for (std::size_t i = 0; bridge && i < bridge->n_ports; ++i)
    for (std::size_t j = 0; j < bridge->ports[i]->n_interfaces; ++j)
      if (const auto has = picture_of(*bridge->ports[i]->interfaces[j]); !has.network && !has.uplink)
        others.insert(has.name);
  bridge = shaped_bridge(txn, root, layout);

  for (const auto& [name, leg] : layout.legs) {
    if (layout.left.contains(name)) continue;
    const ovsrec_port* there = find_port(*bridge, name);
    if (there && there->n_interfaces == 1) {
      const SwitchPort has = picture_of(*there->interfaces[0]);
      if (has.network == leg.network && has.born == leg.born) continue;
    }
    std::string taken = elsewhere(name, bridge);
    if (others.contains(name))
      taken = fmt::format("the port {} of {} is not Reprise's: take it off (ovs-vsctl del-port {})", name,
                          config_.bridge, name);
    if (taken.empty())
      ovsrec_bridge_update_ports_addvalue(
          bridge, add_port(txn, name, Ids{{key_network, leg.network.str()}, {key_born, leg.born.str()}}));
    else not_so.legs[leg.network] = {Errc::exists, taken};
  }
  if (config_.uplink.empty() || find_port(*bridge, config_.uplink)) return {};
  not_so.uplink = elsewhere(config_.uplink, bridge);
  if (not_so.uplink.empty())
    ovsrec_bridge_update_ports_addvalue(bridge, add_port(txn, config_.uplink, Ids{{key_uplink, "true"}}));
  return {};
}

void OvsDb::legs_open(const Layout& layout, Unshaped& not_so, Clock::time_point deadline) {
  const auto is_leg = [&](const SwitchPort& port) {
    return layout.legs.contains(port.name) && !layout.left.contains(port.name) && port.network;
  };
  Switch now;
  loop_.run_until(
      [&] {
        if (!ready()) return false;
        now = picture();
        return std::none_of(now.ports.begin(), now.ports.end(), [&](const auto& port) {
          return (is_leg(port) || port.uplink) && port.ofport == 0;
        });
      },
      deadline);
  for (const auto& port : now.ports) {
    if (port.ofport > 0) continue;
    const std::string why =
        fmt::format("Open vSwitch cannot use the device {}: {}", port.name,
                    port.error.empty() ? "ovs-vswitchd gave it no port number in time" : port.error);
    if (is_leg(port))
      not_so.legs[*port.network] = {port.ofport == 0 ? Errc::timed_out : Errc::conflict, why};
    if (port.uplink) not_so.uplink = why;
  }
}

Result<Unshaped> OvsDb::shape(const Layout& layout, Clock::time_point deadline) {
  Unshaped not_so;
  auto done = commit(
      [&](ovsdb_idl_txn* txn, const ovsrec_open_vswitch* root) {
        not_so = {};
        return change_layout(txn, root, layout, not_so);
      },
      deadline);
  if (done) done = in_force(deadline);
  if (!done) return done.error();
  legs_open(layout, not_so, deadline);
  return not_so;
}

Status OvsDb::remove_bridge(Clock::time_point deadline) {
  auto done = commit(
      [&](ovsdb_idl_txn*, const ovsrec_open_vswitch* root) {
        const ovsrec_bridge* bridge = find_bridge();
        if (bridge && smap_get(&bridge->external_ids, key_ours))
          ovsrec_open_vswitch_update_bridges_delvalue(root, bridge);
        return Status{};
      },
      deadline);
  return done ? in_force(deadline) : done;
}

}  // namespace reprise::network
