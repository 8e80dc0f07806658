#include "tests/scripts/commands.h"

#include <functional>

#include "events/check.h"

namespace reprise::script {

AnyId Labels::id(const std::string& label) {
  const auto at = ids_.find(label);
  if (at != ids_.end()) return at->second;
  const AnyId id{0x5c00000000000000u, next_++};
  name(id, label);
  return id;
}
std::string Labels::label(AnyId id) const {
  const auto at = labels_.find(id);
  return at == labels_.end() ? std::string{} : at->second;
}
void Labels::name(AnyId id, const std::string& label) {
  ids_[label] = id;
  labels_[id] = label;
}

std::string Words::get(const std::string& name, const std::string& otherwise) const {
  for (const auto& [key, value] : options)
    if (key == name) return value;
  return otherwise;
}
std::int64_t Words::number(const std::string& name, std::int64_t otherwise) const {
  const std::string text = get(name);
  return text.empty() ? otherwise : std::stoll(text);
}
bool Words::flag(const std::string& name, bool otherwise) const {
  const std::string text = get(name);
  return text.empty() ? otherwise : text == "yes";
}
std::vector<std::string> Words::all(const std::string& name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : options)
    if (key == name) values.push_back(value);
  return values;
}

Words split(const std::string& line) {
  Words words;
  std::size_t at = 0;
  for (int i = 0; at < line.size(); ++i) {
    const auto end = std::min(line.find(' ', at), line.size());
    const std::string word = line.substr(at, end - at);
    at = end + 1;
    const auto equals = word.find('=');
    if (i == 0) words.command = word;
    else if (equals != std::string::npos) words.options.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    else words.subject = word;
  }
  return words;
}

namespace {

using Make = std::function<void(Intent&, const Words&, Cast&)>;

template <class Id>
Id id(Cast& cast, const std::string& label) {
  return label.empty() ? Id{} : cast.labels.id(label).as<Id>();
}
Ipv4 address(const std::string& text) { return text.empty() ? Ipv4{} : Ipv4::parse(text).value_or(Ipv4{}); }

std::vector<NicRequest> nics(const Words& w, Cast& cast) {
  std::vector<NicRequest> all;
  for (const auto& port : w.all("port")) all.push_back({.port = id<PortId>(cast, port)});
  for (const auto& text : w.all("nic")) {
    const auto at = text.find('@');
    const std::string network = text.substr(0, at);
    NicRequest nic{.port = id<PortId>(cast, w.subject + "-" + network), .network = id<NetworkId>(cast, network)};
    if (at != std::string::npos) nic.address = address(text.substr(at + 1));
    all.push_back(nic);
  }
  return all;
}

struct Command {
  const char* intent;
  Make make;
};

// clang-format off
const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> all = {
    {"ask-time", {"AskTime", [](Intent& i, const Words&, Cast&) { i.set(AskTime{.asked_ms = 1}); }}},
    {"seal-log", {"SealLog", [](Intent& i, const Words& w, Cast& c) { i.set(SealLog{.to = id<LogId>(c, w.subject), .place = "elsewhere"}); }}},
    {"create-project", {"CreateProject", [](Intent& i, const Words& w, Cast& c) { i.set(CreateProject{.id = id<ProjectId>(c, w.subject), .name = w.get("name", w.subject)}); }}},
    {"update-project", {"UpdateProject", [](Intent& i, const Words& w, Cast& c) { i.set(UpdateProject{.id = id<ProjectId>(c, w.subject), .name = w.get("name", w.subject), .enabled = w.flag("enabled", true)}); }}},
    {"delete-project", {"DeleteProject", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteProject{.id = id<ProjectId>(c, w.subject)}); }}},
    {"create-user", {"CreateUser", [](Intent& i, const Words& w, Cast& c) { i.set(CreateUser{.id = id<UserId>(c, w.subject), .name = w.get("name", w.subject), .password_hash = "x"}); }}},
    {"update-user", {"UpdateUser", [](Intent& i, const Words& w, Cast& c) { i.set(UpdateUser{.id = id<UserId>(c, w.subject), .name = w.get("name", w.subject), .enabled = w.flag("enabled", true)}); }}},
    {"delete-user", {"DeleteUser", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteUser{.id = id<UserId>(c, w.subject)}); }}},
    {"create-role", {"CreateRole", [](Intent& i, const Words& w, Cast& c) { i.set(CreateRole{.id = id<RoleId>(c, w.subject), .name = w.get("name", w.subject)}); }}},
    {"delete-role", {"DeleteRole", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteRole{.id = id<RoleId>(c, w.subject)}); }}},
    {"assign-role", {"AssignRole", [](Intent& i, const Words& w, Cast& c) { i.set(AssignRole{.project = id<ProjectId>(c, w.get("project")), .user = id<UserId>(c, w.get("user")), .role = id<RoleId>(c, w.subject)}); }}},
    {"unassign-role", {"UnassignRole", [](Intent& i, const Words& w, Cast& c) { i.set(UnassignRole{.project = id<ProjectId>(c, w.get("project")), .user = id<UserId>(c, w.get("user")), .role = id<RoleId>(c, w.subject)}); }}},
    {"revoke-token", {"RevokeToken", [](Intent& i, const Words& w, Cast& c) { i.set(RevokeToken{.audit_id = c.labels.id(w.subject), .expires_ms = w.number("expires", 4'000'000'000'000)}); }}},
    {"set-quota", {"SetQuota", [](Intent& i, const Words& w, Cast& c) { i.set(SetQuota{.project = id<ProjectId>(c, w.subject), .instances = w.number("instances", -1), .cores = w.number("cores", -1), .ram_mib = w.number("ram", -1), .volumes = w.number("volumes", -1), .gigabytes = w.number("gigabytes", -1), .networks = w.number("networks", -1), .subnets = w.number("subnets", -1), .ports = w.number("ports", -1), .key_pairs = w.number("key_pairs", -1)}); }}},
    {"create-flavor", {"CreateFlavor", [](Intent& i, const Words& w, Cast&) { i.set(CreateFlavor{.id = w.subject, .name = w.get("name", w.subject), .vcpus = static_cast<std::uint32_t>(w.number("vcpus", 1)), .ram_mib = static_cast<std::uint64_t>(w.number("ram", 64)), .disk_gib = static_cast<std::uint64_t>(w.number("disk", 1))}); }}},
    {"delete-flavor", {"DeleteFlavor", [](Intent& i, const Words& w, Cast&) { i.set(DeleteFlavor{.id = w.subject}); }}},
    {"create-keypair", {"CreateKeypair", [](Intent& i, const Words& w, Cast& c) { i.set(CreateKeypair{.user = c.user, .name = w.subject, .public_key = "ssh-ed25519 AAAA", .fingerprint = "aa:bb"}); }}},
    {"delete-keypair", {"DeleteKeypair", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteKeypair{.user = c.user, .name = w.subject}); }}},
    {"create-server", {"CreateServer", [](Intent& i, const Words& w, Cast& c) { i.set(CreateServer{.id = id<ServerId>(c, w.subject), .name = w.subject, .flavor = w.get("flavor", "42"), .image = id<ImageId>(c, w.get("image")), .key_name = w.get("key"), .nics = nics(w, c), .zone = w.get("zone"), .host = w.get("host"), .hostname = w.subject}); }}},
    {"update-server", {"UpdateServer", [](Intent& i, const Words& w, Cast& c) { i.set(UpdateServer{.id = id<ServerId>(c, w.subject), .name = w.get("name")}); }}},
    {"delete-server", {"DeleteServer", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteServer{.id = id<ServerId>(c, w.subject)}); }}},
    {"start-server", {"StartServer", [](Intent& i, const Words& w, Cast& c) { i.set(StartServer{.id = id<ServerId>(c, w.subject)}); }}},
    {"stop-server", {"StopServer", [](Intent& i, const Words& w, Cast& c) { i.set(StopServer{.id = id<ServerId>(c, w.subject)}); }}},
    {"reboot-server", {"RebootServer", [](Intent& i, const Words& w, Cast& c) { i.set(RebootServer{.id = id<ServerId>(c, w.subject), .hard = w.flag("hard")}); }}},
    {"create-image", {"CreateImage", [](Intent& i, const Words& w, Cast& c) { i.set(CreateImage{.id = id<ImageId>(c, w.subject), .name = w.subject, .disk_format = "qcow2", .container_format = "bare", .protected_ = w.flag("protected"), .min_ram_mib = static_cast<std::uint64_t>(w.number("min_ram"))}); }}},
    {"store-image", {"StoreImage", [](Intent& i, const Words& w, Cast& c) { i.set(StoreImage{.id = id<ImageId>(c, w.subject), .size = 1 << 20, .virtual_size = static_cast<std::uint64_t>(w.number("virtual_mib", 64)) << 20, .md5 = "m", .sha512 = "s"}); }}},
    {"update-image", {"UpdateImage", [](Intent& i, const Words& w, Cast& c) { i.set(UpdateImage{.id = id<ImageId>(c, w.subject), .name = w.get("name", w.subject), .protected_ = w.flag("protected"), .disk_format = "qcow2", .container_format = "bare"}); }}},
    {"delete-image", {"DeleteImage", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteImage{.id = id<ImageId>(c, w.subject)}); }}},
    {"create-volume", {"CreateVolume", [](Intent& i, const Words& w, Cast& c) { i.set(CreateVolume{.id = id<VolumeId>(c, w.subject), .name = w.subject, .size_gib = static_cast<std::uint64_t>(w.number("size", 1)), .image = id<ImageId>(c, w.get("image"))}); }}},
    {"update-volume", {"UpdateVolume", [](Intent& i, const Words& w, Cast& c) { i.set(UpdateVolume{.id = id<VolumeId>(c, w.subject), .name = w.get("name")}); }}},
    {"delete-volume", {"DeleteVolume", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteVolume{.id = id<VolumeId>(c, w.subject)}); }}},
    {"attach-volume", {"AttachVolume", [](Intent& i, const Words& w, Cast& c) { i.set(AttachVolume{.id = id<VolumeId>(c, w.subject), .server = id<ServerId>(c, w.get("server"))}); }}},
    {"detach-volume", {"DetachVolume", [](Intent& i, const Words& w, Cast& c) { i.set(DetachVolume{.id = id<VolumeId>(c, w.subject), .server = id<ServerId>(c, w.get("server"))}); }}},
    {"create-network", {"CreateNetwork", [](Intent& i, const Words& w, Cast& c) { i.set(CreateNetwork{.id = id<NetworkId>(c, w.subject), .name = w.subject, .vlan = static_cast<std::uint16_t>(w.number("vlan"))}); }}},
    {"update-network", {"UpdateNetwork", [](Intent& i, const Words& w, Cast& c) { i.set(UpdateNetwork{.id = id<NetworkId>(c, w.subject), .name = w.get("name", w.subject), .admin_up = w.flag("up", true)}); }}},
    {"delete-network", {"DeleteNetwork", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteNetwork{.id = id<NetworkId>(c, w.subject)}); }}},
    {"create-subnet", {"CreateSubnet", [](Intent& i, const Words& w, Cast& c) { i.set(CreateSubnet{.id = id<SubnetId>(c, w.subject), .network = id<NetworkId>(c, w.get("network")), .name = w.subject, .base = address(w.get("base")), .prefix = static_cast<std::uint8_t>(w.number("prefix", 24)), .gateway = address(w.get("gateway")), .dhcp = w.flag("dhcp", true), .dhcp_port = id<PortId>(c, w.get("network") + "-dhcp")}); }}},
    {"update-subnet", {"UpdateSubnet", [](Intent& i, const Words& w, Cast& c) { i.set(UpdateSubnet{.id = id<SubnetId>(c, w.subject), .name = w.get("name")}); }}},
    {"delete-subnet", {"DeleteSubnet", [](Intent& i, const Words& w, Cast& c) { i.set(DeleteSubnet{.id = id<SubnetId>(c, w.subject)}); }}},
    {"create-port", {"CreatePort", [](Intent& i, const Words& w, Cast& c) {
      CreatePort port{.id = id<PortId>(c, w.subject), .network = id<NetworkId>(c, w.get("network")), .name = w.subject};
      if (const auto ip = address(w.get("address"))) port.fixed.push_back({{}, ip});
      i.set(std::move(port)); }}},
    {"update-port", {"UpdatePort", [](Intent& i, const Words& w, Cast& c) { i.set(UpdatePort{.id = id<PortId>(c, w.subject), .name = w.get("name", w.subject), .admin_up = w.flag("up", true)}); }}},
    {"delete-port", {"DeletePort", [](Intent& i, const Words& w, Cast& c) { i.set(DeletePort{.id = id<PortId>(c, w.subject)}); }}},
    {"declare-node-dead", {"DeclareNodeDead", [](Intent& i, const Words& w, Cast& c) { i.set(DeclareNodeDead{.id = id<NodeId>(c, w.subject)}); }}},
    {"set-node", {"SetNodeEnabled", [](Intent& i, const Words& w, Cast& c) { i.set(SetNodeEnabled{.id = id<NodeId>(c, w.subject), .enabled = w.flag("enabled", true), .reason = w.get("reason")}); }}},
    {"confirm-lost", {"ConfirmLostNodes", [](Intent& i, const Words& w, Cast& c) { ConfirmLostNodes lost; for (const auto& node : w.all("node")) lost.ids.push_back(id<NodeId>(c, node)); i.set(std::move(lost)); }}},
  };
  return all;
}
// clang-format on

}  // namespace

std::optional<Intent> intent_of(const Words& words, Cast& cast) {
  const auto at = commands().find(words.command);
  if (at == commands().end()) return std::nullopt;
  Intent intent;
  intent.user = cast.user;
  intent.project = cast.project;
  const std::string as = words.get("as");
  if (!as.empty()) intent.user = cast.labels.id(as).as<UserId>();
  const std::string in = words.get("in");
  if (!in.empty()) intent.project = cast.labels.id(in).as<ProjectId>();
  intent.key = words.get("key_of_client");
  at->second.make(intent, words, cast);
  return intent;
}

std::map<std::string, std::string> command_intents() {
  std::map<std::string, std::string> all;
  for (const auto& [name, command] : commands()) all[name] = command.intent;
  return all;
}

}  // namespace reprise::script
