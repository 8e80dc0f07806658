#include "controlplane/api/server_create.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>

namespace reprise::api {
namespace {

constexpr std::size_t admin_pass_chars_max = 255;

constexpr std::size_t nics_max = 16;
constexpr std::size_t hostname_chars_max = 63;
constexpr std::size_t metadata_chars_max = 255;

bool empty_value(const Fields& fields, std::string_view key) {
  const auto kind = fields.kind(key);
  return kind == JsonKind::absent || kind == JsonKind::null;
}

// An element that nothing here can honour: it may be there, but empty.
void refuse_unless_empty(Fields& fields, std::string_view key, std::string_view why) {
  switch (fields.kind(key)) {
    case JsonKind::array:
      if (fields.objects(key, SIZE_MAX).empty()) return;
      break;
    case JsonKind::object:
      if (fields.object(key).keys().empty()) return;
      break;
    case JsonKind::string:
      if (fields.optional_text(key, 0, SIZE_MAX).value_or("").empty()) return;
      break;
    case JsonKind::boolean:
      if (!fields.boolean(key)) return;
      break;
    case JsonKind::number:
      break;
    case JsonKind::absent:
    case JsonKind::null:
      fields.ignore(key);
      return;
  }
  fields.fail(key, why);
}

// Old clients send a URL that ends with the id.
std::string_view last_segment(std::string_view text) {
  const auto slash = text.rfind('/');
  return slash == text.npos ? text : text.substr(slash + 1);
}

}  // namespace

std::string encode_base64(std::string_view bytes) {
  constexpr int variant = sodium_base64_VARIANT_ORIGINAL;
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), variant), '\0');
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), variant);
  text.pop_back();  // its terminator
  return text;
}

std::optional<std::string> read_server_name(Fields& server, bool required) {
  auto name =
      required ? std::optional(server.string("name", 1, 255)) : server.optional_string("name", 1, 255);
  if (name && !name->empty() && name->find_first_not_of(' ') == std::string::npos)
    server.fail("name", "must not be spaces alone");
  return name;
}

void refuse_access_addresses(Fields& server) {
  for (const auto key : {"accessIPv4", "accessIPv6"})
    refuse_unless_empty(server, key,
                        "is not kept here: leave it out; a server's addresses are those of its ports");
}

std::string hostname_of(std::string_view name, ServerId id) {
  std::string host;
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '.') host.push_back('-');
    else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-') host.push_back(c);
    else if (c >= 'A' && c <= 'Z') host.push_back(static_cast<char>(c + 32));
  }
  host.erase(0, std::min(host.size(), host.find_first_not_of('-')));
  if (host.size() > hostname_chars_max) host.resize(hostname_chars_max);
  while (!host.empty() && host.back() == '-') host.pop_back();
  return host.empty() ? "server-" + id.str() : host;
}

CreateServer ServerRequest::read() {
  auto body = ask_.body();
  auto server = body.object("server");
  CreateServer intent{.id = ask_.new_id<ServerId>()};
  if (!ask_.mistakes().empty()) return intent;  // there is nothing to read
  intent.name = read_server_name(server, true).value_or("");
  intent.hostname = hostname_of(intent.name, intent.id);
  if (server.kind("flavorRef") == JsonKind::number)
    intent.flavor = std::to_string(server.integer("flavorRef", 0, INT64_MAX));
  else intent.flavor = last_segment(server.string("flavorRef", 1, 1024));
  const auto image = server.optional_string("imageRef", 0, 1024).value_or("");
  const auto image_id = ImageId::parse(last_segment(image));
  if (image.empty())
    server.fail("imageRef", "is required: servers boot from an image here, not from a volume");
  else if (!image_id) server.fail("imageRef", "is not a UUID");
  intent.image = image_id.value_or(ImageId{});
  intent.key_name = server.optional_string("key_name", 0, 255).value_or("");
  intent.zone = server.optional_string("availability_zone", 0, 255).value_or("");
  // Without a metadata service the config drive is how a guest learns who it is (nova's force_config_drive).
  if (!empty_value(server, "config_drive")) server.boolean("config_drive");
  else server.ignore("config_drive");
  intent.config_drive = true;
  read_networks(server, intent);
  read_user_data(server);
  admin_pass_ = server.optional_text("adminPass", 0, admin_pass_chars_max).value_or("");
  read_metadata(server, intent);
  read_counts(server);
  read_later_fields(server, intent);
  refuse_what_is_not_made(server);
  server.done();
  for (const auto hints : {"os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"})
    refuse_unless_empty(body, hints, "scheduler hints are not known here: leave them out");
  body.done();
  return intent;
}

void ServerRequest::read_networks(Fields& server, CreateServer& intent) {
  const auto kind = server.kind("networks");
  if (kind == JsonKind::string && minor_ >= 37) {
    networks_ = server.word("networks", {"auto", "none"}) == "none" ? Networks::none : Networks::automatic;
    return;
  }
  if (kind == JsonKind::absent || kind == JsonKind::null) {
    server.ignore("networks");
    if (minor_ >= 37)
      server.fail("networks",
                  "is required and missing: give \"auto\", \"none\" or a list of networks and ports");
    return;
  }
  auto nics = server.objects("networks", nics_max);
  if (!nics.empty()) networks_ = Networks::listed;
  for (auto& nic : nics) read_nic(nic, intent);
}

void ServerRequest::read_nic(Fields& nic, CreateServer& intent) {
  const auto network = nic.optional_id("uuid");
  const auto port = nic.optional_id("port");
  const auto address = nic.optional_string("fixed_ip", 0, 64).value_or("");
  if (minor_ >= 32) refuse_unless_empty(nic, "tag", "device tags are not kept here: leave it out");
  nic.done();
  NicRequest request;
  if (port) {
    // Nova takes the port when both are given.
    request.port = port->as<PortId>();
    if (!address.empty()) nic.fail("fixed_ip", "a port has its addresses already: change those of the port");
  } else if (network) {
    request.network = network->as<NetworkId>();
    request.port = ask_.new_id<PortId>();
    if (const auto wished = Ipv4::parse(address); wished && *wished) request.address = *wished;
    else if (!address.empty()) nic.fail("fixed_ip", "is not a host's IPv4 address");
  } else {
    nic.fail("uuid", "is required when no port is given");
  }
  intent.nics.push_back(request);
}

void ServerRequest::read_user_data(Fields& server) {
  const auto text = server.optional_text("user_data", 0, user_data_base64_max);
  if (!text) return;
  user_data_.resize(text->size());
  std::size_t size = 0;
  const char* end = nullptr;
  const bool good =
      sodium_base642bin(reinterpret_cast<unsigned char*>(user_data_.data()), user_data_.size(), text->data(),
                        text->size(), " \r\n\t", &size, &end, sodium_base64_VARIANT_ORIGINAL) == 0;
  user_data_.resize(good ? size : 0);
  if (!good || end != text->data() + text->size())
    server.fail("user_data", "must be base64 (RFC 4648, with its padding)");
}

void ServerRequest::read_metadata(Fields& server, CreateServer& intent) {
  for (auto& [key, value] : server.string_map("metadata", metadata_items_max, metadata_chars_max)) {
    intent.metadata.push_back(std::move(key));
    intent.metadata.push_back(std::move(value));
  }
}

void ServerRequest::read_counts(Fields& server) {
  for (const auto key : {"min_count", "max_count"})
    if (server.optional_integer(key, 1, INT64_MAX).value_or(1) != 1)
      server.fail(
          key,
          "one server is made per request: it must be 1; send the request as often as servers are wanted");
  refuse_unless_empty(server, "return_reservation_id", "one server is made per request: leave it out");
}

void ServerRequest::read_later_fields(Fields& server, CreateServer& intent) {
  if (minor_ >= 19) intent.description = server.optional_text("description", 0, 255).value_or("");
  if (minor_ >= 52 && !server.strings("tags", SIZE_MAX, 0, SIZE_MAX).empty())
    server.fail("tags", "tags of servers are not kept here: use metadata");
  if (minor_ >= 63 && !server.strings("trusted_image_certificates", SIZE_MAX, 0, SIZE_MAX).empty())
    server.fail("trusted_image_certificates", "signed images are not checked here: leave it out");
  if (minor_ < 74) return;
  const auto host = server.optional_string("host", 1, 255).value_or("");
  const auto node = server.optional_string("hypervisor_hostname", 1, 255).value_or("");
  if (!host.empty() && !node.empty() && host != node)
    server.fail("hypervisor_hostname", "must be the same as host: a node is both here");
  intent.host = host.empty() ? node : host;
}

void ServerRequest::refuse_what_is_not_made(Fields& server) {
  for (const auto key : {"block_device_mapping", "block_device_mapping_v2"})
    refuse_unless_empty(
        server, key,
        "servers boot from their image onto a disk of their own: give imageRef alone, and attach "
        "volumes when the server is there (os-volume_attachments)");
  if (minor_ < 57) refuse_unless_empty(server, "personality", "files are not put into guests: use user_data");
  refuse_access_addresses(server);
  server.optional_word("OS-DCF:diskConfig", {"MANUAL", "AUTO"});
  if (server.kind("security_groups") != JsonKind::absent)
    for (auto& group : server.objects("security_groups", 64)) {
      if (group.optional_string("name", 1, 255).value_or("default") != "default")
        group.fail(
            "name",
            "security groups are not kept here yet: every port passes its own addresses alone; leave it out");
      group.done();
    }
}

std::optional<Response> ServerRequest::choose_networks(CreateServer& intent) {
  if (networks_ == Networks::listed || networks_ == Networks::none) return std::nullopt;
  const auto project = ask_.actor().project;
  std::vector<NetworkId> usable;
  ask_.view().each_by<Network>(Network::by_project, encode_key(project),
                               [&](const Network& row) { usable.push_back(row.id); });
  ask_.view().each_by<Network>(Network::by_shared, {}, [&](const Network& row) {
    if (row.project != project) usable.push_back(row.id);
  });
  if (usable.size() > 1)
    return ask_.error(409, "Multiple possible networks found, use a Network ID to be more specific.");
  if (usable.empty()) {
    if (networks_ == Networks::absent) return std::nullopt;
    return ask_.error(
        400, fmt::format("Unable to automatically allocate a network for project {}: make one, or ask for no "
                         "network with \"none\".",
                         project.hex()));
  }
  intent.nics.push_back({.port = ask_.new_id<PortId>(), .network = usable.front()});
  return std::nullopt;
}

std::optional<Response> ServerRequest::choose_place(CreateServer& intent) {
  std::string zone = intent.zone;
  if (const auto colon = zone.find(':'); colon != std::string::npos) {
    if (!ask_.actor().rights.admin)
      return ask_.error(
          403,
          "Policy doesn't allow os_compute_api:servers:create:forced_host to be performed: the host of a "
          "server is an admin's to choose; give the zone alone.");
    auto host = zone.substr(colon + 1);
    zone.resize(colon);
    // ZONE:HOST:NODE; a host is one node here.
    const auto second = host.find(':');
    const auto node = second == std::string::npos ? std::string() : host.substr(second + 1);
    host.resize(std::min(host.size(), second));
    if (!host.empty() && !node.empty() && host != node)
      return ask_.error(
          400,
          fmt::format("availability_zone: host {} and node {} differ; a node is both here.", host, node));
    intent.host = host.empty() ? node : host;
  }
  if (!intent.host.empty() && !ask_.actor().rights.admin)
    return ask_.error(
        403,
        "Policy doesn't allow compute:servers:create:requested_destination to be performed: the host of a "
        "server is an admin's to choose.");
  bool known = zone.empty(), host_known = intent.host.empty();
  if (!known || !host_known)
    ask_.view().each<Node>([&](const Node& row) {
      known = known || row.zone == zone;
      host_known = host_known || row.name == intent.host;
    });
  if (!known)
    return ask_.error(
        400, fmt::format("The requested availability zone is not available: no node is in zone {}.", zone));
  if (!host_known) return ask_.error(400, fmt::format("Compute host {} could not be found.", intent.host));
  intent.zone = std::move(zone);
  return std::nullopt;
}

}  // namespace reprise::api
