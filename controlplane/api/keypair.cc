#include <fmt/format.h>

#include <algorithm>

#include "controlplane/api/compute.h"
#include "controlplane/api/ssh_key.h"
#include "controlplane/api/timestamp.h"

namespace reprise::api {
namespace {

constexpr std::size_t keypairs_a_page_max = 1000;
constexpr std::size_t public_key_chars_max = 16 * 1024;

Response no_keypair(const Ask& ask, std::string_view name, UserId user) {
  return ask.error(404, fmt::format("Keypair {} not found for user {}", name, user.hex()));
}

// An admin may name another user (microversion 2.10).
UserId owner(Ask& ask) {
  const auto text = ask.query("user_id");
  if (!text || microversion(ask) < 10) return ask.actor().user;
  const auto user = UserId::parse(*text);
  if (!user) ask.mistakes().add("user_id", "is not a user's id");
  return user.value_or(UserId{});
}

bool foreign(Ask& ask, UserId user) { return user != ask.actor().user && !ask.actor().rights.admin; }

Response foreign_refused(const Ask& ask) {
  return ask.error(403,
                   "Policy doesn't allow it: key pairs of another user are an admin's to see and to change.");
}

void write_basics(JsonWriter& json, const Keypair& row, unsigned minor) {
  json.field("name", row.id.name).field("public_key", row.public_key).field("fingerprint", row.fingerprint);
  if (minor >= 2) json.field("type", "ssh");
}

Plan list(Ask& ask) {
  const auto user = owner(ask);
  auto page = ask.page(keypairs_a_page_max);
  if (auto bad = ask.bad()) return std::move(*bad);
  if (foreign(ask, user)) return foreign_refused(ask);
  const unsigned minor = microversion(ask);
  if (minor < 35) page = {.limit = keypairs_a_page_max};
  std::vector<Keypair> rows;
  ask.view().each<Keypair>(
      [&](const Keypair& row) {
        if (row.id.user == user) rows.push_back(row);
        return row.id.user <= user;
      },
      KeypairKey{user, {}});
  bool more = false;
  if (!cut_to_page(rows, page, more, [](const Keypair& row) { return row.id.name; }))
    return ask.error(400, fmt::format("marker [{}] not found", page.marker));
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("keypairs");
  for (const auto& row : rows) {
    json.begin_object().object("keypair");
    write_basics(json, row, minor);
    json.end_object().end_object();
  }
  json.end_array();
  if (more && minor >= 35) {
    json.array("keypairs_links");
    write_link(json, "next", ask.next_url(rows.back().id.name));
    json.end_array();
  }
  json.end_object();
  return json_response(200, std::move(body));
}

Plan show(Ask& ask) {
  const auto user = owner(ask);
  if (auto bad = ask.bad()) return std::move(*bad);
  if (foreign(ask, user)) return foreign_refused(ask);
  const auto row = ask.view().find<Keypair>({user, ask.param(0)});
  if (!row) return no_keypair(ask, ask.param(0), user);
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("keypair");
  write_basics(json, *row, microversion(ask));
  json.field("user_id", row->id.user.hex()).field("id", row->born.seq).field("deleted", false);
  json.field("created_at", time_micros(static_cast<std::uint64_t>(row->created_ms)));
  json.key("deleted_at").null().key("updated_at").null().end_object().end_object();
  return json_response(200, std::move(body));
}

// Printed once, and kept nowhere: not the private part, not in the log.
Plan made(Ask& ask, const KeypairKey& id, const std::string& private_pem) {
  const auto row = ask.view().find<Keypair>(id);
  if (!row) return no_keypair(ask, id.name, id.user);
  const unsigned minor = microversion(ask);
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("keypair");
  write_basics(json, *row, minor);
  json.field("user_id", id.user.hex());
  if (!private_pem.empty() && !ask.replayed()) json.field("private_key", private_pem);
  json.end_object().end_object();
  return json_response(minor >= 2 ? 201 : 200, std::move(body));
}

Change keep(CreateKeypair intent, const SshPublicKey& key, std::string line, std::string private_pem) {
  intent.public_key = std::move(line);
  intent.fingerprint = key.fingerprint;
  KeypairKey id{intent.user, intent.name};
  return {std::move(intent), [id = std::move(id), private_pem = std::move(private_pem)](Ask& ask) -> Plan {
            return made(ask, id, private_pem);
          }};
}

// On a worker: making one takes some 100 ms of CPU.
Plan generate(Api& api, CreateKeypair intent) {
  return on_worker(api, [intent = std::move(intent)](Ask& ask) -> Plan {
    auto pair = generate_ssh_key("Generated-by-Reprise");
    const auto key = pair ? parse_ssh_key(pair->public_line) : Result<SshPublicKey>(pair.error());
    if (!key) return ask.error(500, "No key pair could be made: " + key.error().text);
    return keep(intent, *key, std::move(pair->public_line), std::move(pair->private_pem));
  });
}

bool good_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ' ||
           c == '-' || c == '_' || c == '.' || c == '@';
  });
}

Plan create(Api& api, Ask& ask) {
  const unsigned minor = microversion(ask);
  auto body = ask.body();
  auto keypair = body.object("keypair");
  CreateKeypair intent{.user = ask.actor().user, .name = keypair.string("name", 1, 255)};
  if (!good_name(intent.name))
    keypair.fail(
        "name",
        "Keypair name contains unsafe characters: letters, digits, space, '-', '_', '.' and '@' are allowed");
  auto line = keypair.optional_text("public_key", 0, public_key_chars_max);
  if (minor >= 2 && keypair.optional_word("type", {"ssh", "x509"}) == "x509")
    keypair.fail("type", "x509 certificates are for guests that are not run here: use ssh");
  if (minor >= 10)
    if (const auto user = keypair.optional_id("user_id")) intent.user = user->as<UserId>();
  keypair.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  if (foreign(ask, intent.user)) return foreign_refused(ask);
  if (!line) {
    // Before a core is kept busy for it; two at once are for decide().
    if (ask.view().contains<Keypair>(KeypairKey{intent.user, intent.name}))
      return ask.error(409, fmt::format("Key pair '{}' already exists.", intent.name));
    return generate(api, std::move(intent));
  }
  const auto key = parse_ssh_key(*line);  // it is kept as it was given, its line end too
  if (!key) return ask.error(400, "keypair.public_key: " + key.error().text);
  return keep(std::move(intent), *key, std::move(*line), {});
}

Plan remove(Ask& ask) {
  const auto user = owner(ask);
  if (auto bad = ask.bad()) return std::move(*bad);
  if (foreign(ask, user)) return foreign_refused(ask);
  return Change(DeleteKeypair{.user = user, .name = ask.param(0)},
                [](Ask& ask) -> Plan { return Response(microversion(ask) >= 2 ? 204 : 202); });
}

}  // namespace

void register_keypairs(Api& api) {
  constexpr auto service = Service::compute;
  api.read(service, "/v2.1/os-keypairs", Need::reader, microversioned(list));
  api.read(service, "/v2.1/os-keypairs/{name}", Need::reader, microversioned(show));
  api.write(service, Method::post, "/v2.1/os-keypairs", Need::member,
            microversioned([&api](Ask& ask) { return create(api, ask); }));
  api.write(service, Method::del, "/v2.1/os-keypairs/{name}", Need::member, microversioned(remove));
}

}  // namespace reprise::api
