// What hangs below a server's path and only shows what the server is: addresses, interfaces, metadata, tags.
#include <fmt/format.h>

#include "controlplane/api/compute.h"
#include "controlplane/api/server_json.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::compute;

// A read below a server that the actor may see.
Handle below(std::function<Plan(Ask&, const Server&)> handle) {
  return microversioned([handle = std::move(handle)](Ask& ask) -> Plan {
    const auto server = seen_server(ask);
    return server ? handle(ask, *server) : Plan(no_server(ask, ask.param(0)));
  });
}

const char* port_state(PortStatus status) {
  switch (status) {
    case PortStatus::active:
      return "ACTIVE";
    case PortStatus::build:
      return "BUILD";
    case PortStatus::down:
      return "DOWN";
  }
  return "?";
}

void write_interface(JsonWriter& json, const Port& port, unsigned minor) {
  json.begin_object().field("net_id", port.network.str()).field("port_id", port.id.str());
  json.field("mac_addr", port.mac.str()).field("port_state", port_state(port.status)).array("fixed_ips");
  for (const auto& fixed : port.fixed)
    json.begin_object()
        .field("ip_address", fixed.address.str())
        .field("subnet_id", fixed.subnet.str())
        .end_object();
  json.end_array();
  if (minor >= 70) json.key("tag").null();
  json.end_object();
}

Plan list_interfaces(Ask& ask, const Server& server) {
  const unsigned minor = microversion(ask);
  ServerWriter writer(ask, minor, true, {&server, 1});
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("interfaceAttachments");
  for (const auto& port : writer.ports(server.id)) write_interface(json, port, minor);
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

Plan show_interface(Ask& ask, const Server& server) {
  const auto id = ask.id<PortId>(1);
  const auto port = id ? ask.view().find<Port>(*id) : std::nullopt;
  if (!port || port->server != server.id)
    return ask.error(404, fmt::format("No interface attachment of instance {} with port {}.", server.id.str(),
                                      ask.param(1)));
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("interfaceAttachment");
  write_interface(json, *port, microversion(ask));
  json.end_object();
  return json_response(200, std::move(body));
}

Plan list_addresses(Ask& ask, const Server& server) {
  ServerWriter writer(ask, microversion(ask), true, {&server, 1});
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("addresses");
  writer.write_addresses(json, server, true);
  json.end_object();
  return json_response(200, std::move(body));
}

Plan show_addresses(Ask& ask, const Server& server) {
  ServerWriter writer(ask, microversion(ask), true, {&server, 1});
  std::string body;
  JsonWriter json(body);
  bool any = false;
  json.begin_object();
  for (const auto& port : writer.ports(server.id)) {
    const auto network = ask.view().find<Network>(port.network);
    if (!network || network->name != ask.param(1)) continue;
    if (!any) json.text_key(network->name).begin_array();
    any = true;
    for (const auto& fixed : port.fixed)
      json.begin_object().field("version", 4).field("addr", fixed.address.str()).end_object();
  }
  if (!any) return ask.error(404, "Network name not found");
  json.end_array().end_object();
  return json_response(200, std::move(body));
}

Plan list_metadata(Ask&, const Server& server) {
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("metadata");
  for (std::size_t i = 0; i + 1 < server.metadata.size(); i += 2)
    json.text_key(server.metadata[i]).value(server.metadata[i + 1]);
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

Plan show_metadata(Ask& ask, const Server& server) {
  for (std::size_t i = 0; i + 1 < server.metadata.size(); i += 2) {
    if (server.metadata[i] != ask.param(1)) continue;
    std::string body;
    JsonWriter json(body);
    json.begin_object()
        .object("meta")
        .text_key(server.metadata[i])
        .value(server.metadata[i + 1])
        .end_object()
        .end_object();
    return json_response(200, std::move(body));
  }
  return ask.error(404, "Metadata item was not found");
}

Handle constant(std::string_view body) {
  return below([body](Ask&, const Server&) -> Plan { return json_response(200, std::string(body)); });
}

void refuse(Api& api, Method method, std::string_view path, std::string_view what) {
  const auto handle = below([what](Ask& ask, const Server&) -> Plan { return not_implemented(ask, what); });
  if (method == Method::get) api.read(service, path, Need::reader, handle);
  else api.write(service, method, path, Need::member, handle);
}

}  // namespace

void register_server_parts(Api& api) {
  const auto read = [&](std::string_view path, Handle handle) {
    api.read(service, path, Need::reader, std::move(handle));
  };
  read("/v2.1/servers/{id}/os-interface", below(list_interfaces));
  read("/v2.1/servers/{id}/os-interface/{port}", below(show_interface));
  read("/v2.1/servers/{id}/ips", below(list_addresses));
  read("/v2.1/servers/{id}/ips/{network}", below(show_addresses));
  read("/v2.1/servers/{id}/metadata", below(list_metadata));
  read("/v2.1/servers/{id}/metadata/{key}", below(show_metadata));
  read("/v2.1/servers/{id}/tags", constant(R"({"tags":[]})"));
  read("/v2.1/servers/{id}/migrations", constant(R"({"migrations":[]})"));
  read("/v2.1/servers/{id}/os-security-groups", constant(R"({"security_groups":[]})"));
  read("/v2.1/servers/{id}/topology", constant(R"({"nodes":[],"pagesize_kb":null})"));

  constexpr std::string_view interfaces =
      "Interfaces of a server are those that it was created with; make the server with the ports that it "
      "needs";
  refuse(api, Method::post, "/v2.1/servers/{id}/os-interface", interfaces);
  refuse(api, Method::del, "/v2.1/servers/{id}/os-interface/{port}", interfaces);
  constexpr std::string_view metadata = "Metadata of a server is set when it is created and does not change";
  refuse(api, Method::post, "/v2.1/servers/{id}/metadata", metadata);
  refuse(api, Method::put, "/v2.1/servers/{id}/metadata", metadata);
  refuse(api, Method::put, "/v2.1/servers/{id}/metadata/{key}", metadata);
  refuse(api, Method::del, "/v2.1/servers/{id}/metadata/{key}", metadata);
  constexpr std::string_view tags = "Tags of servers are not kept here; use metadata";
  refuse(api, Method::put, "/v2.1/servers/{id}/tags", tags);
  refuse(api, Method::del, "/v2.1/servers/{id}/tags", tags);
  refuse(api, Method::put, "/v2.1/servers/{id}/tags/{tag}", tags);
  refuse(api, Method::del, "/v2.1/servers/{id}/tags/{tag}", tags);
  refuse(api, Method::get, "/v2.1/servers/{id}/diagnostics",
         "Diagnostics of servers are not collected here yet");
  refuse(api, Method::get, "/v2.1/servers/{id}/os-server-password",
         "No password is set inside guests; give a key_name or user_data");
  refuse(api, Method::post, "/v2.1/servers/{id}/remote-consoles",
         "Graphical consoles are not here yet; the serial console is: os-getConsoleOutput");
}

}  // namespace reprise::api
