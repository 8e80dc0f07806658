#include "projections/network.h"

#include <fmt/format.h>

#include "projections/state.h"

namespace reprise {

std::string Subnet::cidr() const { return fmt::format("{}/{}", base.str(), prefix); }

const char* port_status_word(PortStatus status) {
  switch (status) {
    case PortStatus::down:
      return "DOWN";
    case PortStatus::build:
      return "BUILD";
    case PortStatus::active:
      return "ACTIVE";
  }
  return "DOWN";
}

namespace network {

void created(State& s, const NetworkCreated& e, const Meta& m) {
  s.networks.insert({.id = e.id, .born = m.born, .project = e.project, .name = e.name, .description = e.description,
                     .vlan = e.vlan, .admin_up = e.admin_up, .shared = e.shared, .mtu = e.mtu,
                     .created_ms = m.at_ms, .updated_ms = m.at_ms});
}

void updated(State& s, const NetworkUpdated& e, const Meta& m) {
  Network& network = s.networks.edit(e.id);
  network.name = e.name;
  network.description = e.description;
  network.admin_up = e.admin_up;
  network.shared = e.shared;
  network.updated_ms = m.at_ms;
}

void deleted(State& s, const NetworkDeleted& e, const Meta&) { s.networks.erase(e.id); }

}  // namespace network

namespace subnet {

void created(State& s, const SubnetCreated& e, const Meta& m) {
  s.subnets.insert({.id = e.id, .born = m.born, .network = e.network, .project = e.project, .name = e.name,
                    .description = e.description, .base = e.base, .prefix = e.prefix, .gateway = e.gateway,
                    .dhcp = e.dhcp, .pools = e.pools, .dns = e.dns, .created_ms = m.at_ms, .updated_ms = m.at_ms});
}

void updated(State& s, const SubnetUpdated& e, const Meta& m) {
  Subnet& subnet = s.subnets.edit(e.id);
  subnet.name = e.name;
  subnet.description = e.description;
  subnet.dns = e.dns;
  subnet.updated_ms = m.at_ms;
}

void deleted(State& s, const SubnetDeleted& e, const Meta&) { s.subnets.erase(e.id); }

}  // namespace subnet

namespace port {

void created(State& s, const PortCreated& e, const Meta& m) {
  s.ports.insert({.id = e.id, .born = m.born, .network = e.network, .project = e.project, .name = e.name,
                  .description = e.description, .mac = e.mac, .fixed = e.fixed, .admin_up = e.admin_up,
                  .server = e.server, .device_owner = e.device_owner, .delete_with_server = e.delete_with_server,
                  .want_seq = m.born.seq, .created_ms = m.at_ms, .updated_ms = m.at_ms});
}

void updated(State& s, const PortUpdated& e, const Meta& m) {
  Port& port = s.ports.edit(e.id);
  port.name = e.name;
  port.description = e.description;
  if (port.admin_up != e.admin_up) port.want_seq = m.born.seq;
  port.admin_up = e.admin_up;
  port.updated_ms = m.at_ms;
}

void bound(State& s, const PortBound& e, const Meta& m) {
  Port& port = s.ports.edit(e.id);
  CHECK(!port.server);
  port.server = e.server;
  port.device_owner = "compute:nova";
  port.want_seq = m.born.seq;
  port.updated_ms = m.at_ms;
}

void addressed(State& s, const PortAddressed& e, const Meta& m) {
  Port& port = s.ports.edit(e.id);
  port.fixed = e.fixed;
  port.want_seq = m.born.seq;
  port.updated_ms = m.at_ms;
}

void ready(State& s, const PortReady& e, const Meta& m) {
  Port& port = s.ports.edit(e.id);
  port.status = PortStatus::active;
  port.updated_ms = m.at_ms;
}

void released(State& s, const PortReleased& e, const Meta& m) {
  Port& port = s.ports.edit(e.id);
  port.status = PortStatus::down;
  port.released = true;
  port.updated_ms = m.at_ms;
}

void unbound(State& s, const PortUnbound& e, const Meta& m) {
  Port& port = s.ports.edit(e.id);
  port.server = {};
  port.device_owner.clear();
  port.status = PortStatus::down;
  port.released = false;
  port.want_seq = m.born.seq;
  port.updated_ms = m.at_ms;
}

void deleted(State& s, const PortDeleted& e, const Meta&) { s.ports.erase(e.id); }

}  // namespace port
}  // namespace reprise
