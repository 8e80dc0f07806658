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
    else if (equals != std::string::npos)
      words.options.emplace_back(word.substr(0, equals), word.substr(equals + 1));
    else words.subject = word;
  }
  return words;
}

namespace {

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
    NicRequest nic{.port = id<PortId>(cast, w.subject + "-" + network),
                   .network = id<NetworkId>(cast, network)};
    if (at != std::string::npos) nic.address = address(text.substr(at + 1));
    all.push_back(nic);
  }
  return all;
}

struct Command {
  const char* intent;
  std::function<void(Intent&, const Words&, Cast&)> make;
};

// `make(words, cast)` gives the body of the intent.
template <class Make>
std::pair<const std::string, Command> command(const char* name, Make make) {
  Intent empty;
  empty.set(std::invoke_result_t<Make, const Words&, Cast&>{});
  return {name, {intent_name(empty.type()), [make](Intent& intent, const Words& words, Cast& cast) {
                   intent.set(make(words, cast));
                 }}};
}

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> all{
      command("ask-time", [](const Words&, Cast&) { return AskTime{.asked_ms = 1}; }),
      command("seal-log",
              [](const Words& w, Cast& c) {
                return SealLog{.to = id<LogId>(c, w.subject), .place = "elsewhere"};
              }),
      command("create-project",
              [](const Words& w, Cast& c) {
                return CreateProject{.id = id<ProjectId>(c, w.subject), .name = w.get("name", w.subject)};
              }),
      command("update-project",
              [](const Words& w, Cast& c) {
                return UpdateProject{.id = id<ProjectId>(c, w.subject),
                                     .name = w.get("name", w.subject),
                                     .enabled = w.flag("enabled", true)};
              }),
      command("delete-project",
              [](const Words& w, Cast& c) { return DeleteProject{.id = id<ProjectId>(c, w.subject)}; }),
      command("create-user",
              [](const Words& w, Cast& c) {
                return CreateUser{
                    .id = id<UserId>(c, w.subject),
                    .name = w.get("name", w.subject),
                    .password_hash = "x",
                    .default_project = id<ProjectId>(c, w.get("default"))};
              }),
      command("update-user",
              [](const Words& w, Cast& c) {
                return UpdateUser{.id = id<UserId>(c, w.subject),
                                  .name = w.get("name", w.subject),
                                  .enabled = w.flag("enabled", true)};
              }),
      command("delete-user",
              [](const Words& w, Cast& c) { return DeleteUser{.id = id<UserId>(c, w.subject)}; }),
      command("create-role",
              [](const Words& w, Cast& c) {
                return CreateRole{.id = id<RoleId>(c, w.subject), .name = w.get("name", w.subject)};
              }),
      command("delete-role",
              [](const Words& w, Cast& c) { return DeleteRole{.id = id<RoleId>(c, w.subject)}; }),
      command("assign-role",
              [](const Words& w, Cast& c) {
                return AssignRole{.project = id<ProjectId>(c, w.get("project")),
                                  .user = id<UserId>(c, w.get("user")),
                                  .role = id<RoleId>(c, w.subject)};
              }),
      command("unassign-role",
              [](const Words& w, Cast& c) {
                return UnassignRole{.project = id<ProjectId>(c, w.get("project")),
                                    .user = id<UserId>(c, w.get("user")),
                                    .role = id<RoleId>(c, w.subject)};
              }),
      command("revoke-token",
              [](const Words& w, Cast& c) {
                return RevokeToken{.audit_id = c.labels.id(w.subject),
                                   .expires_ms = w.number("expires", 4'000'000'000'000)};
              }),
      command("set-quota",
              [](const Words& w, Cast& c) {
                return SetQuota{.project = id<ProjectId>(c, w.subject),
                                .instances = w.number("instances", -1),
                                .cores = w.number("cores", -1),
                                .ram_mib = w.number("ram", -1),
                                .volumes = w.number("volumes", -1),
                                .gigabytes = w.number("gigabytes", -1),
                                .networks = w.number("networks", -1),
                                .subnets = w.number("subnets", -1),
                                .ports = w.number("ports", -1),
                                .key_pairs = w.number("key_pairs", -1)};
              }),
      command("create-flavor",
              [](const Words& w, Cast&) {
                return CreateFlavor{.id = w.subject,
                                    .name = w.get("name", w.subject),
                                    .vcpus = static_cast<std::uint32_t>(w.number("vcpus", 1)),
                                    .ram_mib = static_cast<std::uint64_t>(w.number("ram", 64)),
                                    .disk_gib = static_cast<std::uint64_t>(w.number("disk", 1))};
              }),
      command("delete-flavor", [](const Words& w, Cast&) { return DeleteFlavor{.id = w.subject}; }),
      command(
          "create-keypair",
          [](const Words& w, Cast& c) {
            return CreateKeypair{
                .user = c.user, .name = w.subject, .public_key = "ssh-ed25519 AAAA", .fingerprint = "aa:bb"};
          }),
      command("delete-keypair",
              [](const Words& w, Cast& c) { return DeleteKeypair{.user = c.user, .name = w.subject}; }),
      command("create-server",
              [](const Words& w, Cast& c) {
                return CreateServer{.id = id<ServerId>(c, w.subject),
                                    .name = w.subject,
                                    .flavor = w.get("flavor", "42"),
                                    .image = id<ImageId>(c, w.get("image")),
                                    .key_name = w.get("key"),
                                    .nics = nics(w, c),
                                    .metadata = w.get("ha").empty() ? std::vector<std::string>{} : std::vector<std::string>{"HA_Enabled", w.get("ha")},
                                    .zone = w.get("zone"),
                                    .host = w.get("host"),
                                    .hostname = w.subject};
              }),
      command("update-server",
              [](const Words& w, Cast& c) {
                return UpdateServer{.id = id<ServerId>(c, w.subject), .name = w.get("name")};
              }),
      command("delete-server",
              [](const Words& w, Cast& c) { return DeleteServer{.id = id<ServerId>(c, w.subject)}; }),
      command("start-server",
              [](const Words& w, Cast& c) { return StartServer{.id = id<ServerId>(c, w.subject)}; }),
      command("stop-server",
              [](const Words& w, Cast& c) { return StopServer{.id = id<ServerId>(c, w.subject)}; }),
      command("reboot-server",
              [](const Words& w, Cast& c) {
                return RebootServer{.id = id<ServerId>(c, w.subject), .hard = w.flag("hard")};
              }),
      command("create-image",
              [](const Words& w, Cast& c) {
                return CreateImage{.id = id<ImageId>(c, w.subject),
                                   .name = w.subject,
                                   .disk_format = "qcow2",
                                   .container_format = "bare",
                                   .protected_ = w.flag("protected"),
                                   .min_ram_mib = static_cast<std::uint64_t>(w.number("min_ram"))};
              }),
      command("store-image",
              [](const Words& w, Cast& c) {
                return StoreImage{.id = id<ImageId>(c, w.subject),
                                  .size = 1 << 20,
                                  .virtual_size = static_cast<std::uint64_t>(w.number("virtual_mib", 64))
                                                  << 20,
                                  .md5 = "m",
                                  .sha512 = "s"};
              }),
      command("update-image",
              [](const Words& w, Cast& c) {
                return UpdateImage{.id = id<ImageId>(c, w.subject),
                                   .name = w.get("name", w.subject),
                                   .protected_ = w.flag("protected"),
                                   .disk_format = "qcow2",
                                   .container_format = "bare"};
              }),
      command("delete-image",
              [](const Words& w, Cast& c) { return DeleteImage{.id = id<ImageId>(c, w.subject)}; }),
      command("create-volume",
              [](const Words& w, Cast& c) {
                return CreateVolume{.id = id<VolumeId>(c, w.subject),
                                    .name = w.subject,
                                    .size_gib = static_cast<std::uint64_t>(w.number("size", 1)),
                                    .image = id<ImageId>(c, w.get("image"))};
              }),
      command("update-volume",
              [](const Words& w, Cast& c) {
                return UpdateVolume{.id = id<VolumeId>(c, w.subject), .name = w.get("name")};
              }),
      command("delete-volume",
              [](const Words& w, Cast& c) { return DeleteVolume{.id = id<VolumeId>(c, w.subject)}; }),
      command("attach-volume",
              [](const Words& w, Cast& c) {
                return AttachVolume{.id = id<VolumeId>(c, w.subject),
                                    .server = id<ServerId>(c, w.get("server"))};
              }),
      command("detach-volume",
              [](const Words& w, Cast& c) {
                return DetachVolume{.id = id<VolumeId>(c, w.subject),
                                    .server = id<ServerId>(c, w.get("server"))};
              }),
      command("create-network",
              [](const Words& w, Cast& c) {
                return CreateNetwork{.id = id<NetworkId>(c, w.subject),
                                     .name = w.subject,
                                     .vlan = static_cast<std::uint16_t>(w.number("vlan"))};
              }),
      command("update-network",
              [](const Words& w, Cast& c) {
                return UpdateNetwork{.id = id<NetworkId>(c, w.subject),
                                     .name = w.get("name", w.subject),
                                     .admin_up = w.flag("up", true)};
              }),
      command("delete-network",
              [](const Words& w, Cast& c) { return DeleteNetwork{.id = id<NetworkId>(c, w.subject)}; }),
      command("create-subnet",
              [](const Words& w, Cast& c) {
                return CreateSubnet{.id = id<SubnetId>(c, w.subject),
                                    .network = id<NetworkId>(c, w.get("network")),
                                    .name = w.subject,
                                    .base = address(w.get("base")),
                                    .prefix = static_cast<std::uint8_t>(w.number("prefix", 24)),
                                    .gateway = address(w.get("gateway")),
                                    .dhcp = w.flag("dhcp", true),
                                    .dhcp_port = id<PortId>(c, w.get("network") + "-dhcp")};
              }),
      command("update-subnet",
              [](const Words& w, Cast& c) {
                return UpdateSubnet{.id = id<SubnetId>(c, w.subject), .name = w.get("name")};
              }),
      command("delete-subnet",
              [](const Words& w, Cast& c) { return DeleteSubnet{.id = id<SubnetId>(c, w.subject)}; }),
      command("create-port",
              [](const Words& w, Cast& c) {
                CreatePort port{.id = id<PortId>(c, w.subject),
                                .network = id<NetworkId>(c, w.get("network")),
                                .name = w.subject};
                if (const auto ip = address(w.get("address"))) port.fixed.push_back({{}, ip});
                return port;
              }),
      command("update-port",
              [](const Words& w, Cast& c) {
                return UpdatePort{.id = id<PortId>(c, w.subject),
                                  .name = w.get("name", w.subject),
                                  .admin_up = w.flag("up", true)};
              }),
      command("delete-port",
              [](const Words& w, Cast& c) { return DeletePort{.id = id<PortId>(c, w.subject)}; }),
      command("declare-node-dead",
              [](const Words& w, Cast& c) { return DeclareNodeDead{.id = id<NodeId>(c, w.subject)}; }),
      command("set-node",
              [](const Words& w, Cast& c) {
                return SetNodeEnabled{.id = id<NodeId>(c, w.subject),
                                      .enabled = w.flag("enabled", true),
                                      .reason = w.get("reason")};
              }),
      command("confirm-lost",
              [](const Words& w, Cast& c) {
                ConfirmLostNodes lost;
                for (const auto& node : w.all("node")) lost.ids.push_back(id<NodeId>(c, node));
                return lost;
              }),
  };
  return all;
}

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
