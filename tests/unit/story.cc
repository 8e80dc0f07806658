#include "tests/unit/story.h"

#include <fmt/format.h>

#include "events/print.h"

namespace reprise::testing {
namespace {

const auto cloud_id = make_id<CloudId>(1, 0xc1);
const auto log_id = make_id<LogId>(1, 0x10);
const auto project = make_id<ProjectId>(1, 0x04);
const auto user = make_id<UserId>(1, 0x05);
const auto role = make_id<RoleId>(1, 0x06);
const auto node = make_id<NodeId>(1, 0x14);
const auto other_node = make_id<NodeId>(2, 0x14);
const auto image = make_id<ImageId>(1, 0x0f);
const auto network = make_id<NetworkId>(1, 0x11);
const auto subnet = make_id<SubnetId>(1, 0x12);
const auto server = make_id<ServerId>(1, 0x0d);
const auto port = make_id<PortId>(1, 0x13);
const auto spare_port = make_id<PortId>(2, 0x13);
const auto volume = make_id<VolumeId>(1, 0x16);

NodeStarted node_started(NodeId id, std::uint64_t nonce) {
  return {.id = id,
          .nonce = make_id<AnyId>(nonce, 0x99),
          .boot_id = "b0071d",
          .zone = "nova",
          .vcpus = 16,
          .ram_mib = 65536,
          .disk_gib = 2000,
          .compute_driver = "simulated",
          .storage_driver = "simulated",
          .network_driver = "simulated",
          .address = "192.0.2.10",
          .version = "1"};
}

ServerCreated server_created(ServerId id, const std::string& name) {
  return {.id = id,
          .name = name,
          .flavor = "1",
          .flavor_name = "small",
          .vcpus = 2,
          .ram_mib = 2048,
          .disk_gib = 20,
          .image = image,
          .key_name = "key",
          .public_key = "ssh-ed25519 AAAA",
          .user_data_sealed = {1, 2, 3},
          .metadata = {"role", "web"},
          .config_drive = true,
          .hostname = name,
          .project = project,
          .user = user};
}

void tell_identity(Scribe& s) {
  s.write({CloudCreated{.cloud = cloud_id, .log = log_id, .name = "spine"}});
  s.claim();
  s.write({ProjectCreated{.id = project, .name = "demo", .description = "first"},
           RoleCreated{.id = role, .name = "member"},
           UserCreated{.id = user,
                       .name = "ann",
                       .password_hash = "$argon2id$v=19$x",
                       .default_project = project,
                       .email = "ann@example.org"},
           RoleAssigned{.project = project, .user = user, .role = role}});
  s.write({ProjectUpdated{.id = project, .name = "demo", .description = "renamed"},
           UserUpdated{
               .id = user, .name = "anna", .password_hash = "$argon2id$v=19$y", .email = "anna@example.org"},
           QuotaSet{.project = project,
                    .instances = 5,
                    .cores = -1,
                    .ram_mib = 8192,
                    .volumes = 3,
                    .gigabytes = 100,
                    .networks = 2,
                    .subnets = 2,
                    .ports = 10,
                    .key_pairs = 1}});
  s.write({FlavorCreated{.id = "1", .name = "small", .vcpus = 2, .ram_mib = 2048, .disk_gib = 20},
           FlavorCreated{
               .id = "2", .name = "gone", .vcpus = 1, .ram_mib = 1, .disk_gib = 1, .is_public = false}});
  s.write(std::vector{by_intent(
      1, intent_of(1, s.at_ms + 60'000, {}),
      {KeypairCreated{.user = user, .name = "key", .public_key = "ssh-ed25519 AAAA", .fingerprint = "aa:bb"},
       TokenRevoked{.audit_id = make_id<AnyId>(7, 0x70), .expires_ms = s.at_ms + 5000}})});
}

void tell_nodes_and_networks(Scribe& s) {
  s.write({NodeAdmitted{.id = node, .name = "host-1"}, node_started(node, 1),
           NodeAdmitted{.id = other_node, .name = "host-2"}, node_started(other_node, 2),
           NodeEnabledSet{.id = other_node, .enabled = false, .reason = "new memory"},
           NodeLost{.id = other_node, .reason = "not heard for 30 s"}, NodeReturned{.id = other_node}});
  s.at_ms += 500;
  s.write({ImageCreated{.id = image,
                        .name = "guest",
                        .disk_format = "qcow2",
                        .container_format = "bare",
                        .visibility = Visibility::public_,
                        .min_disk_gib = 1,
                        .properties = {"os", "linux"},
                        .tags = {"t"},
                        .project = project},
           ImageStored{.id = image, .size = 4096, .virtual_size = 1 << 30, .md5 = "d41d8", .sha512 = "cf83e"},
           ImageUpdated{.id = image,
                        .name = "guest-2",
                        .visibility = Visibility::public_,
                        .protected_ = true,
                        .disk_format = "qcow2",
                        .container_format = "bare"}});
  s.write({NetworkCreated{
               .id = network, .name = "net", .vlan = 100, .shared = true, .mtu = 1500, .project = project},
           SubnetCreated{.id = subnet,
                         .network = network,
                         .name = "sub",
                         .base = {0x0a000000},
                         .prefix = 24,
                         .gateway = {0x0a000001},
                         .pools = {{{0x0a000002}, {0x0a0000fe}}},
                         .dns = {{0x01010101}},
                         .project = project},
           NetworkUpdated{
               .id = network, .name = "net", .description = "for all", .admin_up = true, .shared = false},
           SubnetUpdated{.id = subnet, .name = "sub", .dns = {{0x08080808}}}});
}

void tell_server(Scribe& s) {
  Intent asked = intent_of(2, s.at_ms + 60'000, server.as<AnyId>());
  asked.set(CreateServer{
      .id = server, .name = "web", .flavor = "1", .image = image, .nics = {{port, network, {}}}});
  s.positions = {{Topic::intents, 0, 3}};
  s.write({by_intent(
      2, asked,
      {server_created(server, "web"),
       PortCreated{.id = port,
                   .network = network,
                   .mac = {0x020000000001},
                   .fixed = {{subnet, {0x0a000005}}},
                   .project = project,
                   .server = server,
                   .device_owner = "compute:nova",
                   .delete_with_server = true},
       ServerPlaced{
           .id = server, .node = node, .considered = 2, .fitting = 1, .deadline_ms = s.at_ms + 60'000}})});
  s.write(std::vector{
      by_report(node, 1, {ServerDiskReady{.id = server}, PortReady{.id = port}}),
      by_report(node, 2,
                {ServerTroubled{.id = server, .reason = "no loop device"}, ServerStarted{.id = server}})});
  s.write({PortCreated{.id = spare_port,
                       .network = network,
                       .name = "spare",
                       .mac = {0x020000000002},
                       .project = project},
           PortUpdated{.id = spare_port, .name = "spare-2", .admin_up = false},
           PortAddressed{.id = spare_port, .fixed = {{subnet, {0x0a000006}}}},
           PortBound{.id = spare_port, .server = server}, PortReady{.id = spare_port},
           PortReleased{.id = spare_port}, PortUnbound{.id = spare_port}});
  s.write(
      {VolumeCreated{.id = volume,
                     .name = "data",
                     .size_gib = 10,
                     .metadata = {"k", "v"},
                     .project = project,
                     .user = user,
                     .node = node,
                     .deadline_ms = s.at_ms + 9000},
       VolumeOverdue{.id = volume, .reason = "host-1 is slow", .deadline_ms = s.at_ms + 19000},
       VolumeReady{.id = volume}, VolumeUpdated{.id = volume, .name = "data-2"},
       VolumeAttaching{.id = volume, .server = server, .device = "/dev/vdb", .deadline_ms = s.at_ms + 9000},
       VolumeAttached{.id = volume}, VolumeDetaching{.id = volume, .deadline_ms = s.at_ms + 9000},
       VolumeDetachFailed{.id = volume, .reason = "the guest holds it"},
       VolumeDetaching{.id = volume, .deadline_ms = s.at_ms + 9000}, VolumeDetached{.id = volume}});
  s.at_ms += 10'000;  // past the revoked token's expiry
  s.write({by_intent(3, intent_of(3, s.at_ms + 60'000, server.as<AnyId>()),
                     {ServerStopping{.id = server, .deadline_ms = s.at_ms + 60'000}}),
           by_timer({ServerOverdue{
                         .id = server, .reason = "the guest does not react", .deadline_ms = s.at_ms + 90'000},
                     ServerStopForced{.id = server, .deadline_ms = s.at_ms + 99'000}}),
           by_report(node, 3, {ServerStopped{.id = server, .cause = StopCause::asked}})});
  s.write({ServerStarting{.id = server, .deadline_ms = s.at_ms + 60'000}, ServerStarted{.id = server},
           ServerRebooting{.id = server, .hard = true, .deadline_ms = s.at_ms + 60'000},
           ServerRebooted{.id = server}, ServerUpdated{.id = server, .name = "web-2", .description = "d"},
           ServerFailed{.id = server, .reason = "disk gone"}});
}

void tell_end(Scribe& s) {
  s.write({by_intent(4, intent_of(4, s.at_ms + 60'000, make_id<AnyId>(2, 0x0d)),
                     {IntentRefused{.refusal = 27,
                                    .text = "no node fits",
                                    .object = make_id<AnyId>(2, 0x0d),
                                    .counts = {0, 1, 0, 0, 1},
                                    .nodes = {{node, 4}, {other_node, 1}}}}),
           by_timer({TimePassed{.asked_ms = s.at_ms}})});
  s.write({ServerUnplaced{.id = server, .reason = "moving", .deadline_ms = s.at_ms + 9000, .retry = true},
           ServerReleased{.id = server, .agent = wire::AgentKind::compute},
           ServerReleased{.id = server, .agent = wire::AgentKind::storage}, PortReleased{.id = port},
           ServerVacated{.id = server}, ServerDeleting{.id = server, .deadline_ms = s.at_ms + 9000},
           PortDeleted{.id = port}, ServerDeleted{.id = server}, PortDeleted{.id = spare_port}});
  s.write({VolumeFailed{.id = volume, .reason = "bit rot"},
           VolumeDeleting{.id = volume, .deadline_ms = s.at_ms + 9000}, VolumeDeleted{.id = volume},
           SubnetDeleted{.id = subnet}, NetworkDeleted{.id = network}, ImageDeleted{.id = image},
           FlavorDeleted{.id = "2"}, KeypairDeleted{.user = user, .name = "key"}});
  s.write({ReportsSkipped{.node = node, .after = 3, .got = 7}, NodeLost{.id = other_node, .reason = "power"},
           NodeDead{.id = other_node, .by = user}, NodeAdmitted{.id = other_node, .name = "host-2"}});
  s.write({IntentTried{.position = {Topic::intents, 0, 9}}});
  s.write({IntentsLost{.from = {Topic::intents, 0, 9}, .to = {Topic::intents, 0, 12}}});
  s.write({RoleUnassigned{.project = project, .user = user, .role = role}, RoleDeleted{.id = role},
           UserDeleted{.id = user}, ProjectDeleted{.id = project}});
  s.at_ms += 25 * 3600 * 1000;  // past the clients' keys
  const auto next_log = make_id<LogId>(2, 0x10);
  s.write({LogSealed{.to = next_log, .place = "embedded:/elsewhere"}});
  s.write({LogOpened{.log = next_log, .from = log_id}});
  s.claim();
}

}  // namespace

void tell_spine(Scribe& scribe) {
  tell_identity(scribe);
  tell_nodes_and_networks(scribe);
  tell_server(scribe);
  tell_end(scribe);
}

void tell_pool(Scribe& s) {
  tell_identity(s);
  tell_nodes_and_networks(s);
  tell_server(s);
  auto here = node_started(node, 3), there = node_started(other_node, 4);
  here.storage_pool = there.storage_pool = "pool";
  s.write({here, there});
  s.write({NodeLost{.id = node, .reason = "not heard for 20 s", .deadline_ms = s.at_ms + 20'000}});
  const Node lost = s.state.nodes.at(node);
  s.write({NodeWaiting{.id = node, .reason = "nobody can fence it", .deadline_ms = s.at_ms + 60'000}});
  s.write({NodeFencing{.id = node,
                       .identity = lost.identity(),
                       .lost = lost.lost_seq,
                       .by = other_node,
                       .deadline_ms = s.at_ms + 30'000}});
  s.write({NodeFenced{.id = node, .identity = lost.identity(), .lost = lost.lost_seq, .by = other_node},
           ServerEvacuated{.id = server, .reason = "node host-1 was lost, and is fenced"},
           ServerPlaced{
               .id = server, .node = other_node, .considered = 2, .fitting = 1, .deadline_ms = s.at_ms + 60'000},
           VolumeMoved{.id = volume, .node = other_node}});
  s.write({LeftoverGone{.node = node, .object = server.as<AnyId>()}, NodeReturned{.id = node}});
  s.write({LeftoverGone{.node = node, .object = port.as<AnyId>()}, ServerDiskReady{.id = server},
           PortReady{.id = port}, ServerStarted{.id = server}});
}

void tell_edges(Scribe& s) {
  tell_identity(s);
  tell_nodes_and_networks(s);
  tell_server(s);
  s.write({NodeTroubled{.id = node, .agent = wire::AgentKind::storage, .reason = "its folder is another's"},
           NodeTroubled{.id = node, .agent = wire::AgentKind::storage}, NodeMeasured{.id = node, .disk_gib = 7}});
  s.write({ServerStarting{.id = server, .deadline_ms = s.at_ms + 60'000}, ServerStarted{.id = server},
           ServerPaused{.id = server, .reason = "no room for what it writes"}, ServerResumed{.id = server},
           ServerTroubled{.id = server, .reason = "libvirtd hangs"}, ServerTroubled{.id = server}});
  s.write({VolumeGone{.id = volume, .reason = "its bytes are gone from node host-1"}, VolumeFound{.id = volume},
           ServerStopped{.id = server, .cause = StopCause::host},
           ServerDiskGone{.id = server, .reason = "its disk is gone from node host-1"}});
  s.write({ServerDiskFound{.id = server}, VolumeGone{.id = volume, .reason = "its bytes are gone from node host-1"}});
}

void BusyCloud::begin() {
  tell_identity(scribe_);
  tell_nodes_and_networks(scribe_);
}

template <class Row>
const Row* BusyCloud::any(const Table<Row>& table) {
  if (table.size() == 0) return nullptr;
  auto left = prng_.below(table.size());
  const Row* found = nullptr;
  table.each([&](const Row& row) {
    if (left-- == 0) found = &row;
  });
  return found;
}

void BusyCloud::step(std::size_t decisions_max) {
  busy_.clear();
  std::vector<Decision> decisions;
  const auto count = 1 + prng_.below(decisions_max);
  while (decisions.size() < count) {
    auto events = some_events();
    if (events.empty()) continue;
    const auto kind = prng_.below(4);
    const AnyId about = subject(events[0]);
    if (kind == 0) decisions.push_back(by_report(node, ++reports_[node], std::move(events)));
    else if (kind == 1) decisions.push_back(by_timer(std::move(events)));
    else
      ++intents_, decisions.push_back(by_intent(intents_, intent_of(intents_, scribe_.at_ms + 3000, about),
                                                std::move(events)));
  }
  scribe_.at_ms += static_cast<std::int64_t>(prng_.below(200));
  scribe_.positions = {{Topic::intents, 0, static_cast<std::int64_t>(intents_)}};
  scribe_.write(std::move(decisions));
}

std::vector<Event> BusyCloud::some_events() {
  switch (prng_.below(8)) {
    case 0:
    case 1:
      return create_something();
    case 2:
      return change_identity();
    case 3:
      if (const auto* row = any(scribe_.state.volumes); row && take(row->id)) return advance_volume(*row);
      break;
    case 4:
      if (const auto* row = any(scribe_.state.ports); row && !row->server && take(row->id))
        return advance_port(*row);
      break;
    default:
      if (const auto* row = any(scribe_.state.servers); row && take(row->id)) return advance_server(*row);
  }
  return {};
}

std::vector<Event> BusyCloud::create_something() {
  const auto n = next();
  switch (prng_.below(4)) {
    case 0:
      return {VolumeCreated{.id = make_id<VolumeId>(n, 0x16),
                            .name = fmt::format("v{}", n),
                            .size_gib = 1 + prng_.below(50),
                            .project = project,
                            .user = user,
                            .node = node,
                            .deadline_ms = scribe_.at_ms + 9000}};
    case 1:
      return {PortCreated{.id = make_id<PortId>(n, 0x13),
                          .network = network,
                          .mac = {0x020000000000 + n},
                          .fixed = {{subnet, {static_cast<std::uint32_t>(0x0a000000 + n)}}},
                          .project = project}};
    default:
      return create_server();
  }
}

std::vector<Event> BusyCloud::create_server() {
  const auto n = next();
  const auto id = make_id<ServerId>(n, 0x0d);
  const auto deadline = scribe_.at_ms + 60'000;
  return {server_created(id, fmt::format("s{}", n)),
          PortCreated{.id = make_id<PortId>(n, 0x13),
                      .network = network,
                      .mac = {0x020000000000 + n},
                      .fixed = {{subnet, {static_cast<std::uint32_t>(0x0a000000 + n)}}},
                      .project = project,
                      .server = id,
                      .device_owner = "compute:nova",
                      .delete_with_server = true},
          ServerPlaced{.id = id,
                       .node = prng_.chance(500) ? node : other_node,
                       .considered = 2,
                       .fitting = 2,
                       .deadline_ms = deadline}};
}

std::vector<Event> BusyCloud::advance_server(const Server& row) {
  const auto deadline = scribe_.at_ms + 60'000;
  if (row.task == TaskState::deleting || row.tenure == Tenure::unplacing) {
    std::vector<Event> events{ServerReleased{.id = row.id, .agent = wire::AgentKind::compute},
                              ServerReleased{.id = row.id, .agent = wire::AgentKind::storage}};
    if (row.tenure == Tenure::unplacing) events.push_back(ServerVacated{.id = row.id});
    if (row.task != TaskState::deleting) return events;
    scribe_.state.ports.each_by(Port::by_server, encode_key(row.id), [&](const Port& port) {
      events.push_back(PortDeleted{.id = port.id});
      return true;
    });
    scribe_.state.volumes.each_by(Volume::by_server, encode_key(row.id), [&](const Volume& volume) {
      events.push_back(VolumeDetached{.id = volume.id});
      (void)take(volume.id);
      return true;
    });
    events.push_back(ServerDeleted{.id = row.id});
    return events;
  }
  if (row.tenure == Tenure::none)
    return {ServerPlaced{.id = row.id, .node = node, .considered = 2, .fitting = 1, .deadline_ms = deadline}};
  switch (prng_.below(8)) {
    case 0:
      return {ServerDiskReady{.id = row.id}, ServerStarted{.id = row.id}};
    case 1:
      return {ServerStopping{.id = row.id, .deadline_ms = deadline}};
    case 2:
      return {ServerStopped{.id = row.id, .cause = StopCause::guest}};
    case 3:
      return {ServerStarting{.id = row.id, .deadline_ms = deadline}};
    case 4:
      return {ServerUpdated{.id = row.id, .name = fmt::format("renamed-{}", prng_.below(1000))}};
    case 5:
      return {ServerFailed{.id = row.id, .reason = "it broke"}};
    case 6:
      return {ServerUnplaced{.id = row.id, .reason = "moving", .deadline_ms = deadline, .retry = true}};
    default:
      return {ServerDeleting{.id = row.id, .deadline_ms = deadline}};
  }
}

std::vector<Event> BusyCloud::advance_volume(const Volume& row) {
  const auto deadline = scribe_.at_ms + 60'000;
  switch (row.status) {
    case VolumeStatus::creating:
      return {VolumeReady{.id = row.id}};
    case VolumeStatus::available:
      if (const auto* server = any(scribe_.state.servers); server && take(server->id) && prng_.chance(700))
        return {VolumeAttaching{
            .id = row.id, .server = server->id, .device = "/dev/vdb", .deadline_ms = deadline}};
      return {VolumeDeleting{.id = row.id, .deadline_ms = deadline}};
    case VolumeStatus::attaching:
      return {VolumeAttached{.id = row.id}};
    case VolumeStatus::in_use:
      return {VolumeDetaching{.id = row.id, .deadline_ms = deadline}};
    case VolumeStatus::detaching:
      return {VolumeDetached{.id = row.id}};
    default:
      return {VolumeDeleted{.id = row.id}};
  }
}

std::vector<Event> BusyCloud::advance_port(const Port& row) {
  if (prng_.chance(500)) return {PortDeleted{.id = row.id}};
  return {
      PortUpdated{.id = row.id, .name = fmt::format("p{}", prng_.below(100)), .admin_up = prng_.chance(500)}};
}

std::vector<Event> BusyCloud::change_identity() {
  const auto n = next();
  switch (prng_.below(5)) {
    case 0:
      return {TokenRevoked{.audit_id = make_id<AnyId>(n, 0x70), .expires_ms = scribe_.at_ms + 1000}};
    case 1:
      return {ProjectCreated{.id = make_id<ProjectId>(n, 0x04), .name = fmt::format("p{}", n)}};
    case 2:
      return {QuotaSet{
          .project = project, .instances = static_cast<std::int64_t>(prng_.below(100)), .cores = -1}};
    case 3:
      return {
          IntentRefused{.refusal = 21, .text = "a name that is taken", .object = make_id<AnyId>(n, 0x0d)}};
    default:
      return {FlavorCreated{.id = fmt::format("f{}", n),
                            .name = fmt::format("f{}", n),
                            .vcpus = 1,
                            .ram_mib = 512,
                            .disk_gib = 1}};
  }
}

}  // namespace reprise::testing
