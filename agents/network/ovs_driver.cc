#include "agents/network/ovs_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "agents/network/netlink.h"

namespace reprise::network {
namespace {

std::vector<const PortWant*> ports_of(const Want& want, NetworkId network) {
  std::vector<const PortWant*> ports;
  for (const auto& [id, port] : want.ports)
    if (!port.absent && port.network == network) ports.push_back(&port);
  return ports;
}

// A tap that is being replaced can be there twice for a moment: the newer one has the higher number.
Ofports ofports_of(const Switch& now) {
  Ofports ofports;
  for (const auto& port : now.ports) {
    if (port.ofport <= 0) continue;
    const auto number = static_cast<std::uint32_t>(port.ofport);
    if (port.uplink) ofports.uplink = number;
    else if (port.network) ofports.legs[*port.network] = number;
    else if (port.iface_id) ofports.taps[*port.iface_id] = std::max(ofports.taps[*port.iface_id], number);
  }
  return ofports;
}

Layout layout_of(const Want& want) {
  Layout layout;
  for (const auto& [id, network] : want.networks) layout.legs[leg_name(id)] = {id, network.born};
  for (const auto& [id, port] : want.ports) layout.ports.insert(id);
  return layout;
}

}  // namespace

OvsDriver::OvsDriver(OvsConfig config)
    : config_(std::move(config)), dhcp_(config_.run_dir, config_.dnsmasq, [this] { wake(); }) {
  loop_.call([this] {
    db_ = std::make_unique<OvsDb>(loop_, config_.switch_, [this] { wake(); });
    flows_ = std::make_unique<OpenFlow>(loop_, config_.switch_.run_dir, config_.switch_.bridge,
                                        [this] { wake(); });
  });
}

OvsDriver::~OvsDriver() {
  on_change({});
  loop_.call([this] {
    flows_.reset();
    db_.reset();
  });
}

void OvsDriver::on_change(std::function<void()> wake) {
  std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

void OvsDriver::wake() {
  std::lock_guard lock(mutex_);
  if (wake_) wake_();
}

std::string OvsDriver::missing_of(const Want& want) const {
  for (const auto& [id, network] : want.networks)
    if (auto missing = dhcp_.missing(network, ports_of(want, id)); !missing.empty()) return missing;
  for (const auto& id : dhcp_.networks())
    if (!want.networks.contains(id)) return "removal of network " + id.str();
  return {};
}

Result<Have> OvsDriver::observe() {
  const Want want = applied_.value_or(Want{});
  const auto deadline = Clock::now() + config_.look_within;
  const auto now = loop_.call([&] { return db_->look(deadline); });
  if (!now) return now.error();
  const auto behind = loop_.call([&]() -> Result<FlowsBehind> {
    if (!now->bridge) return {Errc::not_found, fmt::format("bridge {}", config_.switch_.bridge)};
    return flows_->compare(flows(want, ofports_of(*now)), deadline);
  });

  missing_.clear();
  if (!applied_) missing_ = "nothing has been applied since the start";
  else if (!behind) missing_ = behind.error().text;
  else if (!behind->none())
    missing_ = fmt::format("{} flows missing, {} not wanted", behind->missing, behind->foreign);
  else if (!now->as_wanted) missing_ = "bridge " + config_.switch_.bridge;
  else missing_ = missing_of(want);

  Have have;
  have.in_force = missing_.empty();
  have.applied = want;
  for (const auto& id : dhcp_.networks())
    if (const auto says = dhcp_.says(id); says.network.id == id) have.networks[id] = says.network;
  for (const auto& port : now->ports)
    if (port.network) have.networks[*port.network] = {*port.network, port.born};
  tell_ports(have, *now, behind ? *behind : FlowsBehind{}, behind.ok());
  return have;
}

// Before the first apply the wanted flows are not known; but they come and go in one bundle, so that the
// switch takes frames from a tap says that all of its flows are there.
void OvsDriver::tell_ports(Have& have, const Switch& now, const FlowsBehind& behind, bool flows_known) const {
  const Ofports ofports = ofports_of(now);
  for (const auto& id : dhcp_.networks()) {
    const bool serving = dhcp_.serving(id);
    for (const auto& [key, lines] : dhcp_.says(id).ports) {
      PortHave port{key.first, key.second, serving, false};
      if (const auto tap = ofports.taps.find(port.id); tap != ofports.taps.end()) {
        port.plugged = true;
        port.ready = port.ready && flows_known && behind.known.contains(tap->second) &&
                     !behind.ports.contains(port.id);
      }
      if (applied_) {
        const auto want = applied_->ports.find(port.id);
        const auto network = applied_->networks.find(id);
        port.ready = port.ready && want != applied_->ports.end() && network != applied_->networks.end() &&
                     want->second.born == port.born &&
                     read_dhcp_hosts(dhcp_hosts(network->second, {&want->second})).ports[key] == lines;
      }
      have.ports[key] = port;
    }
  }
}

Status OvsDriver::perform(const Action& action) {
  switch (action.step) {
    case Step::apply:
      return apply(action.want);
  }
  return {Errc::unsupported, fmt::format("the ovs driver knows no step {}", static_cast<int>(action.step))};
}

Status OvsDriver::carry_uplink() {
  const std::string& uplink = config_.switch_.uplink;
  if (uplink.empty()) return {};
  auto netlink = Netlink::open();
  if (!netlink) return netlink.error();
  auto link = netlink->link(uplink);
  if (!link) return link.error();
  if (!*link)
    return {Errc::not_found,
            fmt::format("the uplink {} is no network device of this machine: see network.uplink in the "
                        "configuration",
                        uplink)};
  if (!(*link)->up)
    if (auto up = netlink->set_link(uplink, std::nullopt, std::nullopt, true); !up) return up;
  auto driver = netlink->driver_of(uplink);
  return driver && *driver == "veth" ? netlink->no_offload(uplink, true) : Status{};
}

Status OvsDriver::apply_switch(const Want& want, const std::set<std::string>& fresh_legs) {
  if (auto uplink = carry_uplink(); !uplink) return uplink;
  return loop_.call([&]() -> Status {
    const auto deadline = Clock::now() + config_.apply_within;
    auto before = db_->look(deadline);
    if (!before) return before.error();
    const auto held = [&](const auto& port) { return fresh_legs.contains(port.name); };
    if (std::any_of(before->ports.begin(), before->ports.end(), held)) {
      Layout without = layout_of(want);
      for (const auto& name : fresh_legs) without.legs.erase(name);
      if (auto let_go = db_->shape(without, deadline); !let_go) return let_go;
    }
    if (auto shaped = db_->shape(layout_of(want), deadline); !shaped) return shaped;
    auto now = db_->look(deadline);
    if (!now) return now.error();
    auto replaced = flows_->replace(flows(want, ofports_of(*now)), deadline);
    return replaced ? Status{} : Status{replaced.error()};
  });
}

Status OvsDriver::apply(const Want& want) {
  std::set<std::string> fresh_legs;
  for (const auto& [id, network] : want.networks) {
    const auto there = dhcp_.says(id).network;
    if (there.id == id && there.born != network.born)  // deleted and made anew: nothing of the old one stays
      if (auto gone = dhcp_.remove(id); !gone) return gone;
    auto fresh = dhcp_.prepare(network);
    if (!fresh) return fresh.error();
    if (*fresh) fresh_legs.insert(leg_name(id));
  }
  if (auto done = apply_switch(want, fresh_legs); !done) return done;

  Status first;  // one network's trouble is not the others'
  for (const auto& [id, network] : want.networks) {
    if (auto connected = dhcp_.connect(id); !connected && first) first = connected;
    if (auto served = dhcp_.serve(network, ports_of(want, id)); !served && first) first = served;
  }
  for (const auto& id : dhcp_.networks())
    if (!want.networks.contains(id))
      if (auto gone = dhcp_.remove(id); !gone && first) first = gone;
  if (first) applied_ = want;
  return first;
}

Status OvsDriver::wipe() {
  Status first;
  const auto note = [&](Status status) {
    if (!status && first) first = status;
  };
  applied_.reset();
  note(loop_.call([&] { return db_->remove_bridge(Clock::now() + config_.apply_within); }));
  for (const auto& id : dhcp_.networks()) note(dhcp_.remove(id));
  std::error_code ignored;
  std::filesystem::remove(config_.run_dir, ignored);
  return first;
}

}  // namespace reprise::network
