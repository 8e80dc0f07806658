#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>

#include "controlplane/api/compute.h"
#include "controlplane/api/server_create.h"
#include "controlplane/api/server_json.h"
#include "events/named.h"

namespace reprise::api {
namespace {

// The whole server, as show prints it.
Plan print(Api& api, Ask& ask, const std::optional<Server>& server, int status) {
  if (!server) return no_server(ask, ask.param(0));
  const unsigned minor = microversion(ask);
  ServerWriter writer(ask, minor, true, {&*server, 1});
  if (minor >= 3 && ask.actor().rights.admin && !server->user_data_sealed.empty()) {
    const std::string_view sealed(reinterpret_cast<const char*>(server->user_data_sealed.data()),
                                  server->user_data_sealed.size());
    // Nothing when the project's key was destroyed: then nobody can read it any more.
    if (const auto plain = api.keyring().unseal(server->project, user_data_purpose, sealed))
      writer.show_user_data(encode_base64(*plain));
  }
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("server");
  writer.write(json, *server, false);
  json.end_object();
  return json_response(status, std::move(body));
}

Plan show(Api& api, Ask& ask) {
  return print(api, ask, seen_server(ask), 200);
}

Plan created(Ask& ask, ServerId id, const std::string& admin_pass) {
  const auto self = ask.url("/compute/v2.1/servers/" + id.str());
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("server").field("id", id.str()).array("links");
  write_link(json, "self", self);
  write_link(json, "bookmark", ask.url("/compute/servers/" + id.str()));
  json.end_array().field("OS-DCF:diskConfig", "MANUAL");
  if (!admin_pass.empty()) json.field("adminPass", admin_pass);
  json.end_object().end_object();
  auto response = json_response(202, std::move(body));
  response.header("Location", self);
  return response;
}

Plan create(Api& api, Ask& ask) {
  ServerRequest request(ask, microversion(ask));
  auto intent = request.read();
  if (auto bad = ask.bad()) return std::move(*bad);
  if (auto refused = request.choose_networks(intent)) return std::move(*refused);
  if (auto refused = request.choose_place(intent)) return std::move(*refused);
  for (const auto& [plain, into] : {std::pair(&request.user_data(), &intent.user_data_sealed),
                                    std::pair(&request.admin_pass(), &intent.admin_pass_sealed)}) {
    if (plain->empty()) continue;
    const auto project = ask.actor().project;
    const auto keyed = api.keyring().add_project(project);
    const auto sealed = keyed ? api.keyring().seal(project, user_data_purpose, *plain) : Result<std::string>(keyed.error());
    if (!sealed) return ask.error(500, "The guest's secrets could not be sealed, so nothing was done: " + sealed.error().text);
    into->assign(sealed->begin(), sealed->end());
  }
  const auto id = intent.id;
  Change change(std::move(intent), id, [id, admin_pass = request.admin_pass()](Ask& ask) { return created(ask, id, admin_pass); });
  // What the body names and is not there is a mistake in the body: not the server is missing.
  change.refused = [](Ask& ask, const IntentRefused& event) -> std::optional<Response> {
    switch (static_cast<Refusal>(event.refusal)) {
      case Refusal::no_such_flavor:
      case Refusal::no_such_image:
      case Refusal::no_such_keypair:
      case Refusal::no_such_network:
      case Refusal::no_such_subnet:
      case Refusal::no_such_port:
        return ask.error(400, event.text);
      default:
        return std::nullopt;
    }
  };
  return change;
}

Plan update(Api& api, Ask& ask) {
  const auto server = seen_server(ask);
  if (!server) return no_server(ask, ask.param(0));
  auto body = ask.body();
  auto fields = body.object("server");
  using Named = wire::UpdateServerNamed;
  UpdateServer intent{.id = server->id, .named = 0};
  name_if(intent, Named::VT_NAME, intent.name, read_server_name(fields, false));
  if (microversion(ask) >= 19 && fields.kind("description") != JsonKind::absent)
    name(intent, Named::VT_DESCRIPTION, intent.description, fields.optional_text("description", 0, 255).value_or(""));
  fields.ignore("OS-DCF:diskConfig");
  refuse_access_addresses(fields);
  fields.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto id = intent.id;
  return Change(std::move(intent), id, [&api, id](Ask& ask) { return print(api, ask, ask.view().find<Server>(id), 200); });
}

Plan remove(Ask& ask) {
  const auto id = ask.id<ServerId>(0);
  if (!id) return no_server(ask, ask.param(0));
  return Change(DeleteServer{.id = *id}, *id, [](Ask&) -> Plan { return Response(204); });
}

}  // namespace

std::optional<Server> seen_server(Ask& ask) {
  const auto id = ask.id<ServerId>(0);
  auto server = id ? ask.view().find<Server>(*id) : std::nullopt;
  if (server && !ask.sees(server->project)) return std::nullopt;
  return server;
}

Response no_server(const Ask& ask, std::string_view id) {
  return ask.error(404, fmt::format("Instance {} could not be found.", id));
}

void register_servers(Api& api) {
  constexpr auto service = Service::compute;
  api.read(service, "/v2.1/servers/{id}", Need::reader,
           microversioned([&api](Ask& ask) { return show(api, ask); }));
  api.write(service, Method::post, "/v2.1/servers", Need::member,
            microversioned([&api](Ask& ask) { return create(api, ask); }));
  api.write(service, Method::put, "/v2.1/servers/{id}", Need::member,
            microversioned([&api](Ask& ask) { return update(api, ask); }));
  api.write(service, Method::del, "/v2.1/servers/{id}", Need::member, microversioned(remove));
}

}  // namespace reprise::api
