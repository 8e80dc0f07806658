// Networks (one VLAN each), subnets and ports.
#pragma once

#include "events/codec.h"
#include "projections/canonical.h"
#include "projections/meta.h"

namespace reprise {

struct State;

struct Network {
  using Key = NetworkId;
  static constexpr std::uint8_t table = 17;
  static constexpr const char* table_name = "networks";
  enum Index : std::uint8_t { by_project = 0, by_vlan = 1, by_shared = 2 };

  NetworkId id;
  Born born;
  ProjectId project;
  std::string name;
  std::string description;
  std::uint16_t vlan = 0;
  bool admin_up = false;
  bool shared = false;
  std::uint32_t mtu = 0;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  bool operator==(const Network&) const = default;

  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "project", s.project), f(4, "name", s.name);
    f(5, "description", s.description), f(6, "vlan", s.vlan), f(7, "admin_up", s.admin_up), f(8, "shared", s.shared);
    f(9, "mtu", s.mtu), f(10, "created_ms", s.created_ms), f(11, "updated_ms", s.updated_ms);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_project, KeyWriter().id(project));
    emit(by_vlan, KeyWriter().number(vlan));
    if (shared) emit(by_shared, KeyWriter().byte(1));
  }
};

struct Subnet {
  using Key = SubnetId;
  static constexpr std::uint8_t table = 18;
  static constexpr const char* table_name = "subnets";
  enum Index : std::uint8_t { by_project = 0, by_network = 1 };

  SubnetId id;
  Born born;
  NetworkId network;
  ProjectId project;
  std::string name;
  std::string description;
  Ipv4 base;
  std::uint8_t prefix = 0;
  Ipv4 gateway;
  bool dhcp = false;
  std::vector<AddressRange> pools;
  std::vector<Ipv4> dns;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  bool operator==(const Subnet&) const = default;

  Ipv4 last() const { return {base.value | (prefix == 0 ? ~0u : (prefix >= 32 ? 0u : ~0u >> prefix))}; }
  bool holds(Ipv4 address) const { return address >= base && address <= last(); }
  std::string cidr() const;
  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "network", s.network), f(4, "project", s.project), f(5, "name", s.name);
    f(6, "description", s.description), f(7, "base", s.base), f(8, "prefix", s.prefix), f(9, "gateway", s.gateway);
    f(10, "dhcp", s.dhcp), f(11, "pools", s.pools), f(12, "dns", s.dns), f(13, "created_ms", s.created_ms);
    f(14, "updated_ms", s.updated_ms);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_project, KeyWriter().id(project));
    emit(by_network, KeyWriter().id(network));
  }
};

// A port is a server's (server is some), the network's DHCP server's (owner network:dhcp), or nobody's yet.
struct Port {
  using Key = PortId;
  static constexpr std::uint8_t table = 19;
  static constexpr const char* table_name = "ports";
  enum Index : std::uint8_t { by_project = 0, by_network = 1, by_server = 2, by_address = 3, by_mac = 4 };

  PortId id;
  Born born;
  NetworkId network;
  ProjectId project;
  std::string name;
  std::string description;
  Mac mac;
  std::vector<FixedIp> fixed;
  bool admin_up = false;
  ServerId server;
  std::string device_owner;
  bool delete_with_server = false;
  PortStatus status = PortStatus::down;
  bool released = false;           // by the network agent of the server's node, while the server is unplacing
  Seq want_seq = 0;                // of the event that last changed what a node should do about it
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  bool operator==(const Port&) const = default;

  bool is_dhcp() const { return device_owner == "network:dhcp"; }
  Key key() const { return id; }
  AnyId object() const { return id.as<AnyId>(); }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "network", s.network), f(4, "project", s.project), f(5, "name", s.name);
    f(6, "description", s.description), f(7, "mac", s.mac), f(8, "fixed", s.fixed), f(9, "admin_up", s.admin_up);
    f(10, "server", s.server), f(11, "device_owner", s.device_owner), f(12, "delete_with_server", s.delete_with_server);
    f(13, "status", s.status), f(14, "released", s.released), f(15, "want_seq", s.want_seq);
    f(16, "created_ms", s.created_ms), f(17, "updated_ms", s.updated_ms);
  }
  template <class Emit>
  void indexes(Emit&& emit) const {
    emit(by_project, KeyWriter().id(project));
    emit(by_network, KeyWriter().id(network));
    if (server) emit(by_server, KeyWriter().id(server));
    for (const auto& ip : fixed) emit(by_address, KeyWriter().id(ip.subnet).number(ip.address.value));
    emit(by_mac, KeyWriter().number(mac.value));
  }
};

// Neutron's word.
const char* port_status_word(PortStatus status);

namespace network {
void created(State&, const NetworkCreated&, const Meta&);
void updated(State&, const NetworkUpdated&, const Meta&);
void deleted(State&, const NetworkDeleted&, const Meta&);
}  // namespace network
namespace subnet {
void created(State&, const SubnetCreated&, const Meta&);
void updated(State&, const SubnetUpdated&, const Meta&);
void deleted(State&, const SubnetDeleted&, const Meta&);
}  // namespace subnet
namespace port {
void created(State&, const PortCreated&, const Meta&);
void updated(State&, const PortUpdated&, const Meta&);
void bound(State&, const PortBound&, const Meta&);
void addressed(State&, const PortAddressed&, const Meta&);
void ready(State&, const PortReady&, const Meta&);
void released(State&, const PortReleased&, const Meta&);
void unbound(State&, const PortUnbound&, const Meta&);
void deleted(State&, const PortDeleted&, const Meta&);
}  // namespace port

}  // namespace reprise
