#include "tests/sim/workload.h"

#include <algorithm>

namespace reprise::sim {
namespace {

constexpr std::array catalog{
#define INTENT(Type, handler) IntentType::Type,
#include "events/catalog.def"
#undef INTENT
};

// A new intent of the catalog does not compile until it has its weight here; its shape is below.
unsigned weight(IntentType type) {
  switch (type) {
    case IntentType::CreateServer: return 190;
    case IntentType::DeleteServer: return 100;
    case IntentType::StopServer:
    case IntentType::StartServer:
    case IntentType::RebootServer: return 65;
    case IntentType::UpdateServer: return 15;
    case IntentType::CreateVolume: return 75;
    case IntentType::DeleteVolume: return 35;
    case IntentType::AttachVolume: return 75;
    case IntentType::DetachVolume: return 50;
    case IntentType::UpdateVolume: return 8;
    case IntentType::CreateNetwork: return 24;
    case IntentType::CreateSubnet: return 36;
    case IntentType::CreatePort: return 18;
    case IntentType::DeletePort: return 12;
    case IntentType::UpdatePort:
    case IntentType::UpdateSubnet:
    case IntentType::UpdateNetwork: return 6;
    case IntentType::DeleteSubnet:
    case IntentType::DeleteNetwork: return 7;
    case IntentType::CreateImage: return 15;
    case IntentType::StoreImage: return 20;
    case IntentType::UpdateImage:
    case IntentType::DeleteImage: return 6;
    case IntentType::CreateFlavor:
    case IntentType::DeleteFlavor:
    case IntentType::CreateKeypair:
    case IntentType::DeleteKeypair: return 6;
    case IntentType::SetNodeEnabled: return 8;
    case IntentType::ConfirmLostNodes: return 4;
    case IntentType::SetQuota: return 5;
    case IntentType::CreateProject:
    case IntentType::UpdateProject:
    case IntentType::DeleteProject:
    case IntentType::CreateUser:
    case IntentType::UpdateUser:
    case IntentType::DeleteUser:
    case IntentType::CreateRole:
    case IntentType::DeleteRole:
    case IntentType::AssignRole:
    case IntentType::UnassignRole:
    case IntentType::RevokeToken: return 3;
    case IntentType::DeclareNodeDead: return 0;  // an operator's, who powers the host off first: see faults.cc
    case IntentType::AskTime: return 0;          // the api's own
    case IntentType::SealLog: return 0;          // the last of all: see world.cc
    case IntentType::NONE: break;
  }
  return 0;
}

// The shapes of one wish.
class Wish {
 public:
  Wish(Prng prng, const State& state, const std::array<Actor, 3>& actors) : prng_(prng), s_(state), actors_(actors) {}

  std::vector<Intent> draw(const Workload::Weights& weights) {
    const Actor& actor = actors_[prng_.chance(400) ? 0 : prng_.below(actors_.size())];
    IntentType type = any_type(weights);
    for (int i = 0; i < 5 && !has_object(type); ++i) type = any_type(weights);
    // Servers also come several at once.
    const auto times = type == IntentType::CreateServer && prng_.chance(100) ? prng_.between(2, 5) : 1;
    std::vector<Intent> intents;
    for (std::int64_t i = 0; i < times; ++i) {
      intent_ = {};
      intent_.user = actor.user;
      intent_.project = actor.project;
      shape(type);
      intents.push_back(std::move(intent_));
    }
    return intents;
  }

 private:
  IntentType any_type(const Workload::Weights& weights) {
    unsigned total = 0;
    for (const auto& [type, times] : weights) total += times;
    auto at = static_cast<unsigned>(prng_.below(total));
    for (const auto& [type, times] : weights) {
      if (at < times) return type;
      at -= times;
    }
    CHECK(false);
  }

  // Is there something for it to be about?
  bool has_object(IntentType type) const {
    switch (type) {
      case IntentType::CreateServer: return s_.images.size() && s_.nodes.size();
      case IntentType::DeleteServer:
      case IntentType::StartServer:
      case IntentType::StopServer:
      case IntentType::RebootServer:
      case IntentType::UpdateServer: return s_.servers.size();
      case IntentType::DeleteVolume:
      case IntentType::DetachVolume:
      case IntentType::UpdateVolume: return s_.volumes.size();
      case IntentType::AttachVolume: return s_.volumes.size() && s_.servers.size();
      case IntentType::CreateSubnet:
      case IntentType::CreatePort:
      case IntentType::UpdateNetwork:
      case IntentType::DeleteNetwork: return s_.networks.size();
      case IntentType::UpdateSubnet:
      case IntentType::DeleteSubnet: return s_.subnets.size();
      case IntentType::UpdatePort:
      case IntentType::DeletePort: return s_.ports.size();
      default: return true;
    }
  }

  AnyId fresh() { return {prng_.next(), prng_.next()}; }
  std::string name(const char* what, std::uint64_t of) { return what + std::to_string(prng_.below(of)); }
  template <class Id>
  Id made() {
    intent_.object = fresh();
    return intent_.object.as<Id>();
  }
  // One that is there; if none is, one that never was.
  template <class Row>
  typename Row::Key any(const Table<Row>& table) {
    if (!table.size() || prng_.chance(10)) return fresh().as<typename Row::Key>();
    std::vector<const Row*> all, own;
    table.each([&](const Row& row) {
      all.push_back(&row);
      if constexpr (requires { row.project; })
        if (row.project == intent_.project) own.push_back(&row);
    });
    const auto& from = own.empty() || prng_.chance(100) ? all : own;  // the others' now and then, too
    if constexpr (requires { Row::born; })  // what is being made just now
      if (prng_.chance(250)) return (*std::ranges::max_element(from, {}, &Row::born))->key();
    return from[prng_.below(from.size())]->key();
  }
  template <class Row>
  typename Row::Key on(const Table<Row>& table) {
    const auto id = any(table);
    intent_.object = id.template as<AnyId>();
    return id;
  }
  // Who asks for the end of it all needs a cloud in which it may.
  UserId other_user() {
    const UserId id = on(s_.users);
    return id == actors_[0].user ? actors_[1].user : id;
  }
  ProjectId others_project() {
    const ProjectId id = on(s_.projects);
    return id == actors_[0].project ? actors_[1].project : id;
  }
  template <class T>
  void set(T body) { intent_.set(std::move(body)); }

  void shape(IntentType type);
  void server(IntentType type);
  void volume(IntentType type);
  void network(IntentType type);
  void identity(IntentType type);
  void other(IntentType type);
  void create_server();

  Prng prng_;
  const State& s_;
  const std::array<Actor, 3>& actors_;
  Intent intent_;
};

void Wish::shape(IntentType type) {
  server(type);
  volume(type);
  network(type);
  identity(type);
  other(type);
  CHECK(intent_.type() == type);
}

void Wish::create_server() {
  CreateServer create{.id = made<ServerId>(), .name = "s", .flavor = prng_.chance(800) ? "42" : "4"};
  for (int i = 0; i < 4; ++i) {
    create.image = any(s_.images);
    const Image* image = s_.images.find(create.image);
    if (image && image->status == ImageStatus::active) break;
  }
  create.hostname = "s";
  const auto nics = prng_.below(3);
  for (std::uint64_t i = 0; i < nics; ++i) {
    if (prng_.chance(200)) create.nics.push_back({.port = any(s_.ports)});
    else if (s_.networks.size()) create.nics.push_back({.port = fresh().as<PortId>(), .network = any(s_.networks)});
  }
  if (prng_.chance(800)) create.metadata = {"HA_Enabled", "True"};
  set(std::move(create));
}

void Wish::server(IntentType type) {
  switch (type) {
    case IntentType::CreateServer: return create_server();
    case IntentType::DeleteServer: return set(DeleteServer{.id = on(s_.servers)});
    case IntentType::StopServer: return set(StopServer{.id = on(s_.servers)});
    case IntentType::StartServer: return set(StartServer{.id = on(s_.servers)});
    case IntentType::RebootServer: return set(RebootServer{.id = on(s_.servers), .hard = prng_.chance(500)});
    case IntentType::UpdateServer: return set(UpdateServer{.id = on(s_.servers), .name = "renamed"});
    default: return;
  }
}

void Wish::volume(IntentType type) {
  switch (type) {
    case IntentType::CreateVolume: {
      CreateVolume create{.id = made<VolumeId>(), .name = "v", .size_gib = 1 + prng_.below(8)};
      if (prng_.chance(300)) create.image = any(s_.images);
      return set(std::move(create));
    }
    case IntentType::DeleteVolume: return set(DeleteVolume{.id = on(s_.volumes)});
    case IntentType::AttachVolume: return set(AttachVolume{.id = on(s_.volumes), .server = any(s_.servers)});
    case IntentType::DetachVolume: {
      const Volume* row = s_.volumes.find(on(s_.volumes));
      return set(DetachVolume{.id = intent_.object.as<VolumeId>(), .server = row ? row->server : ServerId{}});
    }
    case IntentType::UpdateVolume: return set(UpdateVolume{.id = on(s_.volumes), .name = "renamed"});
    default: return;
  }
}

void Wish::network(IntentType type) {
  switch (type) {
    case IntentType::CreateNetwork: return set(CreateNetwork{.id = made<NetworkId>(), .name = "n", .shared = prng_.chance(300)});
    case IntentType::UpdateNetwork: return set(UpdateNetwork{.id = on(s_.networks), .name = "renamed"});
    case IntentType::DeleteNetwork: return set(DeleteNetwork{.id = on(s_.networks)});
    case IntentType::CreateSubnet: {
      const auto octet = static_cast<std::uint32_t>(prng_.below(4));
      return set(CreateSubnet{.id = made<SubnetId>(), .network = any(s_.networks), .name = "sub", .base = {10u << 24 | octet << 8},
                              .prefix = 28, .gateway = {10u << 24 | octet << 8 | 1}, .dhcp_port = fresh().as<PortId>()});
    }
    case IntentType::UpdateSubnet: return set(UpdateSubnet{.id = on(s_.subnets), .name = "renamed"});
    case IntentType::DeleteSubnet: return set(DeleteSubnet{.id = on(s_.subnets)});
    case IntentType::CreatePort: return set(CreatePort{.id = made<PortId>(), .network = any(s_.networks), .name = "p"});
    case IntentType::UpdatePort: return set(UpdatePort{.id = on(s_.ports), .name = "p", .admin_up = prng_.chance(500)});
    case IntentType::DeletePort: return set(DeletePort{.id = on(s_.ports)});
    default: return;
  }
}

void Wish::identity(IntentType type) {
  switch (type) {
    case IntentType::CreateProject: return set(CreateProject{.id = made<ProjectId>(), .name = name("project", 8)});
    case IntentType::UpdateProject: return set(UpdateProject{.id = others_project(), .name = name("project", 8), .enabled = prng_.chance(900)});
    case IntentType::DeleteProject: return set(DeleteProject{.id = others_project()});
    case IntentType::CreateUser: return set(CreateUser{.id = made<UserId>(), .name = name("user", 8), .password_hash = "x"});
    case IntentType::UpdateUser: return set(UpdateUser{.id = other_user(), .name = name("user", 8), .enabled = prng_.chance(900)});
    case IntentType::DeleteUser: return set(DeleteUser{.id = other_user()});
    case IntentType::CreateRole: return set(CreateRole{.id = made<RoleId>(), .name = name("role", 4)});
    case IntentType::DeleteRole: return set(DeleteRole{.id = on(s_.roles)});
    case IntentType::AssignRole: return set(AssignRole{.project = any(s_.projects), .user = any(s_.users), .role = any(s_.roles)});
    case IntentType::UnassignRole: return set(UnassignRole{.project = any(s_.projects), .user = other_user(), .role = any(s_.roles)});
    case IntentType::RevokeToken:
      return set(RevokeToken{.audit_id = fresh(), .expires_ms = static_cast<std::int64_t>(1'700'001'000'000 + prng_.below(600'000))});
    case IntentType::SetQuota: {
      const auto most = prng_.between(2, 12);
      return set(SetQuota{.project = on(s_.projects), .instances = most, .cores = -1, .ram_mib = -1, .volumes = most,
                          .gigabytes = 4 * most, .networks = -1, .subnets = -1, .ports = 3 * most, .key_pairs = 2});
    }
    default: return;
  }
}

void Wish::other(IntentType type) {
  switch (type) {
    case IntentType::CreateImage:
      return set(CreateImage{.id = made<ImageId>(), .name = "i", .disk_format = "qcow2", .container_format = "bare",
                             .visibility = prng_.chance(500) ? Visibility::community : Visibility::private_});
    case IntentType::StoreImage:
      on(s_.images);
      return set(StoreImage{.id = intent_.object.as<ImageId>(), .size = 1 << 20, .virtual_size = 64 << 20, .md5 = "m", .sha512 = "h" + intent_.object.hex()});
    case IntentType::UpdateImage: return set(UpdateImage{.id = on(s_.images), .name = "renamed", .disk_format = "qcow2", .container_format = "bare"});
    case IntentType::DeleteImage: return set(DeleteImage{.id = on(s_.images)});
    case IntentType::CreateFlavor: return set(CreateFlavor{.id = name("f", 8), .name = name("f", 8), .vcpus = 1, .ram_mib = 64, .disk_gib = 1});
    case IntentType::DeleteFlavor: return set(DeleteFlavor{.id = name("f", 8)});
    case IntentType::CreateKeypair: return set(CreateKeypair{.user = intent_.user, .name = name("k", 4), .public_key = "ssh-ed25519 x"});
    case IntentType::DeleteKeypair: return set(DeleteKeypair{.user = intent_.user, .name = name("k", 4)});
    case IntentType::SetNodeEnabled: return set(SetNodeEnabled{.id = on(s_.nodes), .enabled = prng_.chance(700)});
    case IntentType::ConfirmLostNodes: return set(ConfirmLostNodes{.ids = {on(s_.nodes)}});
    default: return;
  }
}

}  // namespace

Workload::Workload(Actor admin, RoleId member, Prng prng) : member_(member), prng_(prng) {
  const auto id = [this] { return AnyId{prng_.next(), prng_.next()}; };
  actors_[0] = admin;
  for (std::size_t i = 1; i < actors_.size(); ++i) actors_[i] = {id().as<UserId>(), id().as<ProjectId>()};
  const bool swarm = prng_.chance(500);
  constexpr std::array<unsigned, 5> times{0, 1, 2, 2, 8};
  for (const IntentType type : catalog) {
    const bool needed = type == IntentType::CreateServer || type == IntentType::CreateVolume;
    if (weight(type)) weights_[type] = weight(type) * (swarm && !needed ? times[prng_.below(times.size())] : 2);
  }
}

std::vector<Intent> Workload::opening() {
  std::vector<Intent> intents;
  const auto ask = [&](auto body, AnyId object) {
    Intent intent;
    intent.user = admin().user;
    intent.project = admin().project;
    intent.object = object;
    intent.set(std::move(body));
    intents.push_back(std::move(intent));
  };
  for (std::size_t i = 1; i < actors_.size(); ++i) {
    const auto& [user, project] = actors_[i];
    ask(CreateProject{.id = project, .name = "of" + std::to_string(i)}, project.as<AnyId>());
    ask(CreateUser{.id = user, .name = "member" + std::to_string(i), .password_hash = "x"}, user.as<AnyId>());
    ask(AssignRole{.project = project, .user = user, .role = member_}, {});
  }
  for (const auto& actor : actors_) {
    if (!prng_.chance(300)) continue;
    const auto most = prng_.between(2, 12);
    ask(SetQuota{.project = actor.project, .instances = most, .cores = -1, .ram_mib = -1, .volumes = most, .gigabytes = 4 * most,
                 .networks = -1, .subnets = -1, .ports = 3 * most, .key_pairs = 2}, actor.project.as<AnyId>());
  }
  for (int i = 0; i < 2; ++i) {
    const AnyId image{prng_.next(), prng_.next()};
    ask(CreateImage{.id = image.as<ImageId>(), .name = "i", .disk_format = "qcow2", .container_format = "bare", .visibility = Visibility::public_}, image);
    ask(StoreImage{.id = image.as<ImageId>(), .size = 1 << 20, .virtual_size = 64 << 20, .md5 = "m", .sha512 = "h" + image.hex()}, image);
  }
  return intents;
}

std::vector<Intent> Workload::draw(Prng prng, const State& state) const { return Wish(prng, state, actors_).draw(weights_); }

}  // namespace reprise::sim
