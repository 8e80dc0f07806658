#include "agents/core/assignment.h"

#include <fmt/format.h>

#include <algorithm>

namespace reprise {
namespace {

class Maker {
 public:
  Maker(const State& state, NodeId node, Seq seq) : state_(state), node_(node) { made_.seq = seq; }

  Assignment make() {
    const Node* node = state_.nodes.find(node_);
    if (!node || node->state == NodeState::dead) return std::move(made_);
    if (!node->storage_pool.empty()) identity_ = node->identity();
    state_.servers.each_by(Server::by_node, encode_key(node_), [&](const Server& row) { return server(row), true; });
    state_.volumes.each_by(Volume::by_node, encode_key(node_), [&](const Volume& row) { return volume(row), true; });
    state_.leftovers.each_by(Leftover::by_node, encode_key(node_), [&](const Leftover& row) { return leftover(row), true; });
    state_.nodes.each_by(Node::by_fencer, encode_key(node_), [&](const Node& row) {
      made_.fences[row.id] = {.node = row.id, .identity = row.identity(), .lost = row.lost_seq};
      return true;
    });
    return std::move(made_);
  }

 private:
  // It is elsewhere: what is here of it goes.
  void leftover(const Leftover& row) {
    if (row.agent == wire::AgentKind::compute) {
      const auto id = row.id.object.as<ServerId>();
      made_.compute[id] = {.id = id, .born = row.born, .since = row.since, .absent = true};
    } else {
      const auto id = row.id.object.as<PortId>();
      const bool has_domain = state_.leftovers.contains({node_, row.server.as<AnyId>()});
      made_.network.ports[id] = port_want(state_.servers.at(row.server), state_.ports.at(id), row.since, !has_domain);
    }
  }

  void server(const Server& row) {
    const bool leaving = row.tenure == Tenure::unplacing;
    bool ports_ready = true;
    state_.ports.each_by(Port::by_server, encode_key(row.id), [&](const Port& one) {
      port(row, one);
      ports_ready = ports_ready && one.status == PortStatus::active;
      return true;
    });
    if (!row.disk_released && !keeps_disk(state_, row)) boot_disk(row);
    if (leaving) {
      if (!row.compute_released) made_.compute[row.id] = {.id = row.id, .born = row.born, .since = row.want_seq, .absent = true};
    } else if (row.disk_ready && ports_ready) {
      made_.compute[row.id] = compute_want(row);
    }
  }

  compute::ServerWant compute_want(const Server& row) const {
    compute::ServerWant want{.id = row.id, .born = row.born, .since = row.want_seq, .name = row.name, .vcpus = row.vcpus,
                             .ram_mib = row.ram_mib, .on = row.on, .power_seq = row.power_seq, .stop_hard = row.stop_hard,
                             .reboot_seq = row.reboot_seq, .reboot_hard = row.reboot_hard,
                             .kernel_arguments = row.kernel_arguments, .config_drive = row.config_drive, .identity = identity_};
    if (row.kernel) want.kernel = row.kernel;
    if (row.ramdisk) want.ramdisk = row.ramdisk;
    const Node* node = state_.nodes.find(node_);
    want.guest = {.hostname = row.hostname, .metadata = row.metadata, .key_name = row.key_name, .public_key = row.public_key,
                  .user_data_sealed = row.user_data_sealed,
                  .admin_pass_sealed = row.admin_pass_sealed, .project = row.project,
                  .availability_zone = node ? node->zone : std::string{}};
    want.disks.push_back({.id = row.id.as<AnyId>(), .born = row.born, .boot = true, .device = "vda"});
    state_.volumes.each_by(Volume::by_server, encode_key(row.id), [&](const Volume& volume) {
      const bool lost = volume.gone && volume.status == VolumeStatus::error;
      const bool here = lost || volume.status == VolumeStatus::attaching || volume.status == VolumeStatus::in_use;
      if (here) want.disks.push_back({.id = volume.id.as<AnyId>(), .born = volume.born, .device = bus_place(volume)});
      return true;
    });
    // As the guest sees them: the first volume that was attached is its second disk, after every start.
    std::ranges::sort(want.disks, {}, [](const auto& disk) { return std::pair(!disk.boot, disk.device); });
    state_.ports.each_by(Port::by_server, encode_key(row.id), [&](const Port& port) { return want.nics.push_back(nic(port)), true; });
    // In the order in which they came to be: the guest's eth0 is the first one asked for.
    std::stable_sort(want.nics.begin(), want.nics.end(), [](const auto& a, const auto& b) { return a.born < b.born; });
    return want;
  }

  static std::string bus_place(const Volume& volume) {
    constexpr std::string_view dev = "/dev/";
    return volume.device.starts_with(dev) ? volume.device.substr(dev.size()) : volume.device;
  }

  compute::NicLink nic(const Port& port) const {
    const Network* network = state_.networks.find(port.network);
    compute::NicLink link{.port = port.id, .born = port.born, .mac = port.mac, .mtu = network ? network->mtu : 1500};
    for (const auto& ip : port.fixed) {
      compute::NicAddress one{.address = ip.address};
      if (const Subnet* subnet = state_.subnets.find(ip.subnet))
        one.prefix = subnet->prefix, one.gateway = subnet->gateway, one.dhcp = subnet->dhcp, one.dns = subnet->dns;
      link.addresses.push_back(std::move(one));
    }
    return link;
  }

  void boot_disk(const Server& row) {
    const bool absent = row.tenure == Tenure::unplacing && row.compute_released;
    storage::DiskWant want{.id = row.id.as<AnyId>(), .born = row.born, .since = row.want_seq, .absent = absent,
                           .kind = storage::DiskKind::boot, .size_gib = row.disk_gib,
                           .ready = row.disk_made(), .identity = identity_};
    fill_from(row.image, want);
    made_.storage[want.id] = std::move(want);
  }

  void volume(const Volume& row) {
    const bool absent = row.status == VolumeStatus::deleting || (row.status == VolumeStatus::error && !row.gone);
    storage::DiskWant want{.id = row.id.as<AnyId>(), .born = row.born, .since = row.want_seq, .absent = absent,
                           .kind = storage::DiskKind::volume, .size_gib = row.size_gib,
                           .ready = row.status != VolumeStatus::creating, .backed = false, .identity = identity_};
    fill_from(row.image, want);
    made_.storage[want.id] = std::move(want);
  }

  // An image that is not known any more is not none: an empty disk is no answer.
  void fill_from(ImageId id, storage::DiskWant& want) const {
    if (!id) return;
    if (const Image* image = state_.images.find(id))
      want.image = storage::ImageRef{.id = id, .sha512 = image->sha512, .disk_format = image->disk_format};
    else
      want.unmakable = fmt::format("image {}, which it is made from, was deleted meanwhile: make it from another", id.str());
  }

  void port(const Server& server, const Port& row) {
    if (row.released) return;
    const bool absent = server.tenure == Tenure::unplacing && server.compute_released;
    made_.network.ports[row.id] = port_want(server, row, std::max(server.want_seq, row.want_seq), absent);
  }

  network::PortWant port_want(const Server& server, const Port& row, Seq since, bool absent) {
    network::PortWant want{.id = row.id, .born = row.born, .since = since, .absent = absent};
    if (!absent) {
      const Network* network = state_.networks.find(row.network);
      want.network = row.network;
      want.mac = row.mac;
      for (const auto& ip : row.fixed) want.addresses.push_back({.subnet = ip.subnet, .address = ip.address});
      want.hostname = server.hostname;
      want.admin_up = row.admin_up && network && network->admin_up;
      if (network) carry(*network);
    }
    return want;
  }

  // A network that a port here is in.
  void carry(const Network& row) {
    if (made_.network.networks.contains(row.id)) return;
    network::NetworkWant want{.id = row.id, .born = row.born, .vlan = row.vlan, .mtu = row.mtu};
    const Port* dhcp = nullptr;
    state_.ports.each_by(Port::by_network, encode_key(row.id), [&](const Port& port) {
      if (port.is_dhcp()) dhcp = &port;
      return dhcp == nullptr;
    });
    if (dhcp) want.dhcp_port = dhcp->id, want.dhcp_mac = dhcp->mac;
    state_.subnets.each_by(Subnet::by_network, encode_key(row.id), [&](const Subnet& subnet) {
      network::SubnetWant one{.id = subnet.id, .base = subnet.base, .prefix = subnet.prefix, .gateway = subnet.gateway,
                              .dhcp = subnet.dhcp, .dns = subnet.dns};
      if (dhcp)
        for (const auto& ip : dhcp->fixed)
          if (ip.subnet == subnet.id) one.dhcp_address = ip.address;
      one.dhcp = one.dhcp && one.dhcp_address;
      want.subnets.push_back(std::move(one));
      return true;
    });
    made_.network.networks[row.id] = std::move(want);
  }

  const State& state_;
  const NodeId node_;
  Assignment made_;
  Seq identity_ = 0;           // the node's, as a client of its storage pool
};

}  // namespace

Assignment assignment(const State& state, NodeId node, Seq seq) { return Maker(state, node, seq).make(); }

}  // namespace reprise
