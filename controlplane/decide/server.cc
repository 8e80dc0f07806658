#include "controlplane/decide/server.h"

#include "controlplane/decide/address.h"
#include "controlplane/decide/decide.h"
#include "events/named.h"

namespace reprise::server {
namespace {

constexpr std::uint64_t gib = 1024ull * 1024 * 1024;

Events no_server(ServerId id) {
  return refuse(Refusal::no_such_server, fmt::format("Instance {} could not be found.", id.str()), id.as<AnyId>());
}

// The server, if the actor may act on it; otherwise why not.
struct Found {
  const Server* server = nullptr;
  Events refused;
};
Found find(const State& s, ServerId id, const Context& c, const char* what) {
  const Server* server = s.servers.find(id);
  if (!server || !c.sees(server->project)) return {nullptr, no_server(id)};
  if (!c.rights.member)
    return {nullptr, refuse(Refusal::not_allowed, fmt::format("To {} a server needs the role member.", what), server->object())};
  return {server, {}};
}

const char* status_word(ServerStatus status) {
  switch (status) {
    case ServerStatus::build: return "building";
    case ServerStatus::active: return "active";
    case ServerStatus::shutoff: return "stopped";
    case ServerStatus::error: return "error";
    case ServerStatus::paused: return "paused";
  }
  return "?";
}

// nova's own words, which its clients match on.
Events wrong_state(const Server& server, const char* action) {
  if (server.task != TaskState::none)
    return refuse(Refusal::wrong_state, fmt::format("Cannot '{}' instance {} while it is in task_state {}", action,
                                                    server.id.str(), task_state_word(server.task)), server.object());
  return refuse(Refusal::wrong_state, fmt::format("Cannot '{}' instance {} while it is in vm_state {}", action,
                                                  server.id.str(), status_word(server.status)), server.object());
}

Events disk_is_gone(const Server& server, const char* action) {
  return refuse(Refusal::wrong_state, fmt::format("Cannot '{}' instance {}: {}. Bring the disk back, or delete the server.", action,
                                                  server.id.str(), server.fault), server.object());
}

const Image* usable_image(const State& s, ImageId id, const Context& c) {
  const Image* image = s.images.find(id);
  if (!image) return nullptr;
  const bool open = image->visibility == Visibility::public_ || image->visibility == Visibility::community;
  return open || c.sees(image->project) ? image : nullptr;
}

Events no_image(ImageId id, const char* role) {
  return refuse(Refusal::no_such_image, fmt::format("{} {} could not be found.", role, id.str()));
}

// The boot disk's size: the flavor's, or the image's own when the flavor says 0.
std::uint64_t boot_disk_gib(const Flavor& flavor, const Image& image) {
  return flavor.disk_gib ? flavor.disk_gib : (std::max(image.virtual_size, image.size) + gib - 1) / gib;
}

std::optional<Events> refuse_image(const Image& image, const Flavor& flavor) {
  if (image.status != ImageStatus::active)
    return refuse(Refusal::image_not_active, fmt::format("Image {} is not active: upload its data first.", image.id.str()));
  if (auto refused = refuse_format(image, {})) return refused;
  if (flavor.ram_mib < image.min_ram_mib)
    return refuse(Refusal::flavor_too_small, fmt::format("Flavor's memory is too small for requested image: {} MiB, it needs {}.",
                                                         flavor.ram_mib, image.min_ram_mib));
  const std::uint64_t disk = boot_disk_gib(flavor, image);
  if (disk < image.min_disk_gib || disk * gib < image.virtual_size)
    return refuse(Refusal::flavor_too_small,
                  fmt::format("Flavor's disk is too small for requested image. Flavor disk is {} bytes, image is {} bytes.",
                              disk * gib, std::max(image.virtual_size, image.min_disk_gib * gib)));
  return std::nullopt;
}

// Kernel and ramdisk that the image names by its properties (direct boot).
std::optional<Events> set_direct_boot(const State& s, const Image& image, const Context& c, ServerCreated& made) {
  const auto named = [&](const char* property, ImageId& into) -> std::optional<Events> {
    const std::string text = image.property(property);
    if (text.empty()) return std::nullopt;
    const auto id = ImageId::parse(text);
    const Image* other = id ? usable_image(s, *id, c) : nullptr;
    if (!other || other->status != ImageStatus::active)
      return refuse(Refusal::no_such_image, fmt::format("Image {} has {} = {}, which is no active image.", image.id.str(), property, text));
    into = *id;
    return std::nullopt;
  };
  if (auto refused = named("kernel_id", made.kernel)) return refused;
  if (auto refused = named("ramdisk_id", made.ramdisk)) return refused;
  made.kernel_arguments = image.property("os_command_line");
  return std::nullopt;
}

// The events that give the server its ports: new ones made, given ones bound.
std::optional<Events> add_ports(const State& s, const CreateServer& i, const Context& c, Events& events) {
  if (i.nics.size() > ports_per_server_max)
    return refuse(Refusal::too_many_ports, fmt::format("The maximum allowed number of ports ({}) of a single instance has been exceeded: {} are "
                                                       "asked for.", ports_per_server_max, i.nics.size()));
  Allocator allocator(s);
  std::int64_t made = 0;
  std::set<PortId> seen;
  for (const auto& nic : i.nics) {
    if (!seen.insert(nic.port).second) return refuse(Refusal::port_bound, fmt::format("Port {} is named twice.", nic.port.str()));
    if (!nic.network) {
      const Port* port = s.ports.find(nic.port);
      if (!port || !c.sees(port->project))
        return refuse(Refusal::no_such_port, fmt::format("Port id {} could not be found.", nic.port.str()));
      if (port->server || port->is_dhcp())
        return refuse(Refusal::port_bound, fmt::format("Port {} is still in use.", nic.port.str()));
      events.push_back(PortBound{.id = nic.port, .server = i.id});
      continue;
    }
    const Network* network = s.networks.find(nic.network);
    if (!network || !(network->shared || c.sees(network->project)))
      return refuse(Refusal::no_such_network, fmt::format("Network {} could not be found.", nic.network.str()));
    if (s.ports.contains(nic.port)) return refuse(Refusal::id_taken, fmt::format("A port with id {} exists.", nic.port.str()));
    if (!s.subnets.any_by(Subnet::by_network, encode_key(nic.network)))
      return refuse(Refusal::no_such_subnet, fmt::format("Network {} requires a subnet in order to boot instances on.", nic.network.str()));
    if (nic.address)
      if (auto refused = refuse_choice(*network, c, "fixed_ip")) return refused;
    std::vector<FixedIp> wished;
    if (nic.address) wished.push_back({{}, nic.address});
    auto addresses = choose_addresses(s, allocator, *network, wished);
    if (!addresses.refused.empty()) return addresses.refused;
    ++made;
    events.push_back(PortCreated{.id = nic.port, .network = nic.network, .mac = allocator.mac(nic.port),
                                 .fixed = std::move(addresses.fixed), .admin_up = true, .project = c.project(),
                                 .server = i.id, .device_owner = "compute:nova", .delete_with_server = true});
  }
  return made ? over_quota(s, c.project(), Resource::ports, made) : std::nullopt;
}

std::optional<Events> refuse_quota(const State& s, const Context& c, const Flavor& flavor) {
  if (auto over = over_quota(s, c.project(), Resource::instances, 1)) return over;
  if (auto over = over_quota(s, c.project(), Resource::cores, flavor.vcpus)) return over;
  return over_quota(s, c.project(), Resource::ram_mib, static_cast<std::int64_t>(flavor.ram_mib));
}

// Away from its node, but not from its storage pool.
PlacementRequest elsewhere(const State& s, const Server& server) {
  auto request = placement_request(server);
  const Node* node = s.nodes.find(server.node);
  request.not_on = server.node;
  if (node) request.pool = node->storage_pool;
  return request;
}

bool has_leftovers(const State& s, ServerId id, const std::set<LeftoverKey>& gone) {
  bool any = false;
  s.leftovers.each_by(Leftover::by_server, encode_key(id), [&](const Leftover& row) { return !(any = !gone.contains(row.id)); });
  return any;
}

}  // namespace

ServerPlaced placed(ServerId id, const Placement& placement, std::int64_t at_ms) {
  return {.id = id, .node = placement.node, .considered = placement.considered, .fitting = placement.fitting,
          .deadline_ms = at_ms + deadline::boot_ms};
}

PlacementRequest placement_request(const Server& server) {
  return {.vcpus = server.vcpus, .ram_mib = static_cast<std::int64_t>(server.ram_mib),
          .disk_gib = static_cast<std::int64_t>(server.disk_gib), .zone = server.zone, .host = server.host};
}

std::optional<PlacementRequest> placement_request(const State& s, const CreateServer& i) {
  const Flavor* flavor = s.flavors.find(i.flavor);
  const Image* image = s.images.find(i.image);
  if (!flavor || !image) return std::nullopt;
  return PlacementRequest{.vcpus = flavor->vcpus, .ram_mib = static_cast<std::int64_t>(flavor->ram_mib),
                          .disk_gib = static_cast<std::int64_t>(boot_disk_gib(*flavor, *image)), .zone = i.zone, .host = i.host};
}

Events create(const State& s, const CreateServer& i, const Context& c) {
  const auto object = i.id.as<AnyId>();
  if (!c.rights.member) return refuse(Refusal::not_allowed, "Creating a server needs the role member.", object);
  if (!i.host.empty() && !c.rights.admin)
    return refuse(Refusal::not_allowed, "Only an admin may choose the host of a server.", object);
  if (s.servers.contains(i.id)) return refuse(Refusal::id_taken, "A server with that id exists.", object);
  const Flavor* flavor = s.flavors.find(i.flavor);
  if (!flavor || (!flavor->is_public && !c.rights.admin))
    return refuse(Refusal::no_such_flavor, fmt::format("Flavor {} could not be found.", i.flavor), object);
  const Image* image = usable_image(s, i.image, c);
  if (!image) return no_image(i.image, "Image");
  if (auto refused = refuse_image(*image, *flavor)) return *refused;
  if (auto over = refuse_quota(s, c, *flavor)) return *over;
  ServerCreated made{.id = i.id, .name = i.name, .flavor = flavor->id, .flavor_name = flavor->name, .vcpus = flavor->vcpus,
                     .ram_mib = flavor->ram_mib, .disk_gib = boot_disk_gib(*flavor, *image), .image = i.image,
                     .key_name = i.key_name, .user_data_sealed = i.user_data_sealed, .metadata = i.metadata,
                     .zone = i.zone, .host = i.host, .config_drive = i.config_drive, .hostname = i.hostname,
                     .description = i.description, .project = c.project(), .user = c.user(),
                     .admin_pass_sealed = i.admin_pass_sealed};
  if (auto refused = set_direct_boot(s, *image, c, made)) return *refused;
  if (!i.key_name.empty()) {
    const Keypair* keypair = s.keypairs.find({c.user(), i.key_name});
    if (!keypair) return refuse(Refusal::no_such_keypair, fmt::format("Invalid key_name provided: {} is no key pair of yours.", i.key_name), object);
    made.public_key = keypair->public_key;
  }
  const PlacementRequest request = *placement_request(s, i);
  Events events{std::move(made)};
  if (auto refused = add_ports(s, i, c, events)) return *refused;
  const Placement placement = place(s, request);
  if (!placement.node) return refuse_placement(placement, request, object);
  events.push_back(placed(i.id, placement, c.at_ms));
  return events;
}

Events update(const State& s, const UpdateServer& asked, const Context& c) {
  using Named = wire::UpdateServerNamed;
  const auto [server, refused] = find(s, asked.id, c, "change");
  if (!server) return refused;
  auto i = asked;
  unless_named(i, Named::VT_NAME, i.name, server->name);
  unless_named(i, Named::VT_DESCRIPTION, i.description, server->description);
  return {ServerUpdated{.id = i.id, .name = i.name, .description = i.description}};
}

Events remove(const State& s, const DeleteServer& i, const Context& c) {
  const auto [server, refused] = find(s, i.id, c, "delete");
  if (!server) return refused;
  Events events{ServerDeleting{.id = i.id, .deadline_ms = c.at_ms + deadline::unplace_ms}};
  if (server->tenure != Tenure::none) return events;
  Server gone = *server;
  gone.task = TaskState::deleting;
  Before before;
  for (auto& event : after_vacated(s, gone, c.at_ms, before)) events.push_back(std::move(event));
  return events;
}

Events start(const State& s, const StartServer& i, const Context& c) {
  const auto [server, refused] = find(s, i.id, c, "start");
  if (!server) return refused;
  if (server->disk_gone) return disk_is_gone(*server, "start");
  const bool startable = server->status == ServerStatus::shutoff ||
                         (server->status == ServerStatus::error && server->tenure == Tenure::placed && server->launched_ms);
  if (server->task != TaskState::none || !startable) return wrong_state(*server, "start");
  return {ServerStarting{.id = i.id, .deadline_ms = c.at_ms + deadline::power_on_ms}};
}

Events stop(const State& s, const StopServer& i, const Context& c) {
  const auto [server, refused] = find(s, i.id, c, "stop");
  if (!server) return refused;
  const bool stoppable = server->status == ServerStatus::active || server->status == ServerStatus::paused ||
                         (server->status == ServerStatus::error && server->tenure == Tenure::placed && server->launched_ms);
  if (server->task != TaskState::none || !stoppable) return wrong_state(*server, "stop");
  return {ServerStopping{.id = i.id, .deadline_ms = c.at_ms + deadline::stop_soft_ms}};
}

Events reboot(const State& s, const RebootServer& i, const Context& c) {
  const auto [server, refused] = find(s, i.id, c, "reboot");
  if (!server) return refused;
  if (i.hard && server->disk_gone) return disk_is_gone(*server, "reboot");
  const bool soft_ok = server->status == ServerStatus::active && server->task == TaskState::none;
  const bool task_ok = server->task == TaskState::none || server->task == TaskState::rebooting;
  const bool hard_ok = task_ok && server->tenure == Tenure::placed && server->launched_ms;
  if (i.hard ? !hard_ok : !soft_ok) return wrong_state(*server, "reboot");
  const auto allowed = i.hard ? deadline::reboot_hard_ms : deadline::reboot_soft_ms;
  return {ServerRebooting{.id = i.id, .hard = i.hard, .deadline_ms = c.at_ms + allowed}};
}

Events give_up_place(const State& s, const Server& server, const std::string& reason, std::int64_t at_ms) {
  const bool retry = server.attempts < attempts_max && place(s, elsewhere(s, server)).node;
  Events events;
  if (!retry) events.push_back(ServerFailed{.id = server.id, .reason = reason});
  events.push_back(ServerUnplaced{.id = server.id, .reason = reason, .deadline_ms = at_ms + deadline::unplace_ms, .retry = retry});
  return events;
}

Events after_vacated(const State& s, const Server& server, std::int64_t at_ms, Before& before) {
  Events events;
  const auto vacate = [&] { if (server.tenure != Tenure::none) events.push_back(ServerVacated{.id = server.id}); };
  if (server.task == TaskState::deleting) {
    vacate();
    // A guest that was left behind may answer for its addresses still: they are not given away before it is gone.
    if (has_leftovers(s, server.id, before.leftovers_gone)) return events;
    s.volumes.each_by(Volume::by_server, encode_key(server.id), [&](const Volume& row) {
      events.push_back(VolumeDetached{.id = row.id});
      return true;
    });
    s.ports.each_by(Port::by_server, encode_key(server.id), [&](const Port& row) {
      if (row.delete_with_server) events.push_back(PortDeleted{.id = row.id});
      else events.push_back(PortUnbound{.id = row.id});
      return true;
    });
    events.push_back(ServerDeleted{.id = server.id});
    return events;
  }
  if (!server.retry) return vacate(), events;
  auto request = elsewhere(s, server);
  request.promised = &before.promised;
  const Placement placement = place(s, request);
  if (!placement.node) {
    const std::string reason = fmt::format("{}; and no other node fits", server.fault);
    if (!keeps_disk(s, server)) vacate();
    events.push_back(ServerFailed{.id = server.id, .reason = reason});
    if (keeps_disk(s, server))  // only now is it to go
      events.push_back(ServerUnplaced{.id = server.id, .reason = reason, .deadline_ms = at_ms + deadline::unplace_ms});
    return events;
  }
  vacate();
  before.promised.push_back({.node = placement.node, .vcpus = request.vcpus, .ram_mib = request.ram_mib, .disk_gib = request.disk_gib});
  events.push_back(placed(server.id, placement, at_ms));
  return events;
}

std::string still_held(const State& s, const Server& server) {
  std::string held;
  const auto add = [&](const char* what) { held += held.empty() ? what : fmt::format(", {}", what); };
  if (server.tenure == Tenure::none) {
    s.leftovers.each_by(Leftover::by_server, encode_key(server.id), [&](const Leftover& row) {
      return add(row.agent == wire::AgentKind::compute ? "its domain" : "a port"), true;
    });
    return held;
  }
  if (!server.compute_released) add("its domain");
  if (!server.disk_released && !keeps_disk(s, server)) add("its boot disk");
  bool ports = false;
  s.ports.each_by(Port::by_server, encode_key(server.id), [&](const Port& row) {
    ports = ports || !row.released;
    return !ports;
  });
  if (ports) add("its ports");
  return held;
}

}  // namespace reprise::server
