#include "agents/network/ovs_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <ranges>

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

// Without those that are dark: for the switch they are not there.
Want lit(const Want& want, const std::set<AnyId>& dark) {
  Want lit = want;
  std::erase_if(lit.networks, [&](const auto& one) { return dark.contains(one.first.template as<AnyId>()); });
  std::erase_if(lit.ports, [&](const auto& one) { return dark.contains(one.first.template as<AnyId>()); });
  return lit;
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

std::string OvsDriver::missing_of(const Want& want, const Switch& now) const {
  const Ofports ofports = ofports_of(now);
  const std::string& uplink = config_.switch_.uplink;
  const std::string& bridge = config_.switch_.bridge;
  if (!uplink.empty() && !ofports.uplink) return fmt::format("uplink {} on {}", uplink, bridge);
  for (const auto& [id, network] : want.networks) {
    if (troubles_.contains(id.as<AnyId>())) continue;
    if (wants_dnsmasq(network) && !ofports.legs.contains(id))
      return fmt::format("{} on {}", leg_name(id), bridge);
    if (auto missing = dhcp_.missing(network, ports_of(want, id)); !missing.empty()) return missing;
  }
  for (const auto& id : dhcp_.networks())
    if (!want.networks.contains(id) && !troubles_.contains(id.as<AnyId>()))
      return "removal of network " + id.str();
  return {};
}

// A row whose device is gone is a guest that is gone: libvirt replaces it when it starts again.
OvsDriver::Troubles OvsDriver::tap_troubles(const Switch& now, const Want& want) const {
  Troubles troubles;
  const Ofports ofports = ofports_of(now);
  for (const auto& port : now.ports) {
    if (!port.iface_id || port.ofport >= 0 || !want.ports.contains(*port.iface_id)) continue;
    if (ofports.taps.contains(*port.iface_id)) continue;
    auto netlink = Netlink::open();
    const auto device = netlink ? netlink->link(port.name) : Result<std::optional<Link>>(netlink.error());
    if (!device || !*device) continue;
    const std::string why = port.error.empty() ? "it does not say why" : port.error;
    troubles[port.iface_id->as<AnyId>()].error = {
        Errc::conflict, fmt::format("Open vSwitch cannot use the tap {} of port {}: {}", port.name,
                                    port.iface_id->str(), why)};
  }
  return troubles;
}

Result<Have> OvsDriver::observe() {
  const Want want = applied_.value_or(Want{});
  const auto deadline = Clock::now() + config_.look_within;
  const auto now = loop_.call([&] { return db_->look(deadline); });
  if (!now) return now.error();
  const auto behind = loop_.call([&]() -> Result<FlowsBehind> {
    if (!now->bridge) return {Errc::not_found, fmt::format("bridge {}", config_.switch_.bridge)};
    return flows_->compare(flows(lit(want, dark_), ofports_of(*now)), deadline);
  });

  missing_.clear();
  if (!applied_) missing_ = "nothing has been applied since the start";
  else if (!behind) missing_ = behind.error().text;
  else if (!behind->none())
    missing_ = fmt::format("{} flows missing, {} not wanted", behind->missing, behind->foreign);
  else if (!now->as_wanted) missing_ = "bridge " + config_.switch_.bridge;
  else missing_ = missing_of(want, *now);

  Have have;
  have.in_force = missing_.empty();
  have.applied = want;
  for (const auto& troubles : {troubles_, tap_troubles(*now, want)})
    for (const auto& [id, trouble] : troubles) have.troubles.try_emplace(id, words(trouble));
  for (const auto& id : dhcp_.networks())
    if (const auto says = dhcp_.says(id); says.network.id == id) have.networks[id] = says.network;
  for (const auto& port : now->ports)
    if (port.network) have.networks[*port.network] = {*port.network, port.born};
  tell_ports(have, *now, behind ? *behind : FlowsBehind{}, behind.ok());
  return have;
}

// Before the first apply the wanted flows are not known; but they come and go in one bundle, so that the
// switch takes frames from a tap says that all of its flows are there. What was applied is here whatever
// became of its files: not ready, but not absent either.
void OvsDriver::tell_ports(Have& have, const Switch& now, const FlowsBehind& behind, bool flows_known) const {
  const Ofports ofports = ofports_of(now);
  if (applied_)
    for (const auto& [id, port] : applied_->ports)
      have.ports[{id, port.born}] = {id, port.born, false, ofports.taps.contains(id)};
  for (const auto& id : dhcp_.networks()) {
    const bool serving = dhcp_.serving(id, ofports.legs.contains(id));
    for (const auto& [key, lines] : dhcp_.says(id).ports) {
      PortHave port{key.first, key.second, serving && !have.troubles.contains(key.first.as<AnyId>()), false};
      if (const auto tap = ofports.taps.find(port.id); tap != ofports.taps.end()) {
        port.plugged = true;
        port.ready = port.ready && flows_known && behind.known.contains(tap->second) &&
                     !behind.ports.contains(port.id);
      }
      if (applied_) {
        const auto want = applied_->ports.find(port.id);
        const auto network = applied_->networks.find(id);
        port.ready = port.ready && want != applied_->ports.end() && network != applied_->networks.end() &&
                     want->second.born == port.born && !dark_.contains(id.as<AnyId>()) &&
                     read_dhcp_hosts(dhcp_hosts(network->second, {&want->second})).ports[key] == lines;
      }
      have.ports[key] = port;
    }
  }
}

Status OvsDriver::perform(const Action& action) {
  switch (action.step) {
    case Step::apply:
      return apply(action.want, action.retried);
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

// Its trouble is old and nothing else is wanted of it: it waits for its own turn, and keeps nobody waiting.
bool OvsDriver::is_due(const Round& round, NetworkId network) const {
  const auto its_port = round.want.ports.find(round.retried.as<PortId>());
  if (round.retried)
    return round.retried == network.as<AnyId>() ||
           (its_port != round.want.ports.end() && its_port->second.network == network);
  if (!applied_ || !troubles_.contains(network.as<AnyId>())) return true;
  const auto before = applied_->networks.find(network), now = round.want.networks.find(network);
  if (before == applied_->networks.end() || now == round.want.networks.end())
    return (before == applied_->networks.end()) != (now == round.want.networks.end());
  const auto same = [](const PortWant* one, const PortWant* other) { return *one == *other; };
  return before->second != now->second ||
         !std::ranges::equal(ports_of(*applied_, network), ports_of(round.want, network), same);
}

void OvsDriver::note(Round& round, AnyId id, Error error) const {
  const auto old = troubles_.find(id);
  const auto since = old == troubles_.end() ? Clock::now() : old->second.since;
  round.troubles.try_emplace(id, Trouble{std::move(error), since});
}

std::string OvsDriver::words(const Trouble& trouble) const {
  const bool may_pass = trouble.error.code == Errc::unreachable || trouble.error.code == Errc::timed_out;
  return may_pass && Clock::now() - trouble.since < config_.patience ? std::string{} : trouble.error.text;
}

void OvsDriver::prepare_networks(Round& round) {
  for (const auto& [id, network] : round.want.networks) {
    if (!is_due(round, id)) {
      const auto old = troubles_.find(id.as<AnyId>());
      if (old != troubles_.end()) round.troubles.insert(*old);
      continue;
    }
    const auto there = dhcp_.says(id).network;
    if (there.id == id && there.born != network.born)  // deleted and made anew: nothing of the old one stays
      if (auto gone = dhcp_.remove(id); !gone) {
        note(round, id.as<AnyId>(), gone.error());
        continue;
      }
    const auto fresh = dhcp_.prepare(network);
    if (!fresh) note(round, id.as<AnyId>(), fresh.error());
    else if (*fresh) round.fresh_legs.insert(leg_name(id));
  }
}

Status OvsDriver::shape(Round& round, Clock::time_point deadline) {
  Layout layout;
  for (const auto& [id, network] : round.want.networks) {
    if (!wants_dnsmasq(network)) continue;
    layout.legs[leg_name(id)] = {id, network.born};
    if (round.troubles.contains(id.as<AnyId>())) layout.left.insert(leg_name(id));
  }
  for (const auto& [id, port] : round.want.ports) layout.ports.insert(id);

  auto before = db_->look(deadline);
  if (!before) return before.error();
  const auto held = [&](const auto& port) { return round.fresh_legs.contains(port.name); };
  if (std::any_of(before->ports.begin(), before->ports.end(), held)) {
    Layout without = layout;
    for (const auto& name : round.fresh_legs) without.legs.erase(name);
    if (auto let_go = db_->shape(without, deadline); !let_go) return let_go.error();
  }
  auto shaped = db_->shape(layout, deadline);
  if (!shaped) return shaped.error();
  for (const auto& [id, error] : shaped->legs) note(round, id.as<AnyId>(), error);
  if (round.uplink.empty()) round.uplink = shaped->uplink;
  return {};
}

Status OvsDriver::replace_flows(Round& round, Clock::time_point deadline) {
  for (;;) {
    auto now = db_->look(deadline);
    if (!now) return now.error();
    auto refused = flows_->replace(flows(lit(round.want, round.dark), ofports_of(*now)), deadline);
    if (!refused) return refused.error();
    if (refused->empty()) return {};
    for (const auto& [id, why] : *refused) {
      if (!round.dark.insert(id).second) return {Errc::broken, why};  // it was left out already
      note(round, id, {Errc::conflict, why});
    }
  }
}

Status OvsDriver::apply_switch(Round& round) {
  // The wire's trouble is no reason to leave those on this node in the dark.
  if (auto uplink = carry_uplink(); !uplink) round.uplink = uplink.error().text;
  return loop_.call([&]() -> Status {
    const auto deadline = Clock::now() + config_.apply_within;
    if (auto shaped = shape(round, deadline); !shaped) return shaped;
    return replace_flows(round, deadline);
  });
}

void OvsDriver::serve_networks(Round& round) {
  for (const auto& [id, network] : round.want.networks) {
    const AnyId key = id.as<AnyId>();
    if (!is_due(round, id) || (round.troubles.contains(key) && !round.dark.contains(key))) continue;
    Status done;
    if (wants_dnsmasq(network)) done = dhcp_.connect(id);
    if (done) done = dhcp_.serve(network, ports_of(round.want, id));
    if (!done) note(round, key, done.error());
  }
}

void OvsDriver::remove_networks(Round& round) {
  for (const auto& id : dhcp_.networks()) {
    if (round.want.networks.contains(id)) continue;
    const auto old = troubles_.find(id.as<AnyId>());
    if (old != troubles_.end() && !is_due(round, id)) round.troubles.insert(*old);
    else if (auto gone = dhcp_.remove(id); !gone) note(round, id.as<AnyId>(), gone.error());
  }
}

Status OvsDriver::apply(const Want& want, AnyId retried) {
  Round round{.want = want, .retried = retried, .troubles = {}, .dark = {}, .fresh_legs = {}, .uplink = {}};
  prepare_networks(round);
  if (auto done = apply_switch(round); !done) return done;
  serve_networks(round);
  remove_networks(round);
  applied_ = want;
  troubles_ = std::move(round.troubles);
  dark_ = std::move(round.dark);
  if (!round.uplink.empty()) return {Errc::not_found, round.uplink};
  if (!retried) return {};
  if (const auto still = troubles_.find(retried); still != troubles_.end()) return still->second.error;
  const auto now = loop_.call([&] { return db_->look(Clock::now() + config_.look_within); });
  const auto taps = now ? tap_troubles(*now, want) : Troubles{};
  const auto still = taps.find(retried);
  return still == taps.end() ? Status{} : Status{still->second.error};
}

Status OvsDriver::wipe() {
  Status first;
  const auto note = [&](Status status) {
    if (!status && first) first = status;
  };
  applied_.reset();
  troubles_.clear();
  dark_.clear();
  note(loop_.call([&] { return db_->remove_bridge(Clock::now() + config_.apply_within); }));
  for (const auto& id : dhcp_.networks()) note(dhcp_.remove(id));
  std::error_code ignored;
  std::filesystem::remove(config_.run_dir, ignored);
  return first;
}

}  // namespace reprise::network
