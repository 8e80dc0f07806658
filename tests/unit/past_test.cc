// diff and whatif on a whole cloud in this process: what they tell is what happened, and nothing changes by
// it.
#include <fmt/format.h>

#include <map>
#include <random>

#include "controlplane/cli/terminal.h"
#include "controlplane/story/routes.h"
#include "controlplane/story/status.h"
#include "controlplane/story/whatif.h"
#include "tests/unit/api_cloud.h"

using namespace reprise;
using namespace reprise::api;

namespace {

struct Past {
  explicit Past(int nodes = 1, std::int64_t history_ms = 0) : cloud(nodes, {.history_ms = history_ms}) {
    story::register_routes(*cloud.rig.api);
    cloud.add_network();
  }
  Seq head() const { return cloud.rig.projection->head().seq; }
  boost::json::value diff(Seq from, Seq to, Headers headers = {}) {
    const auto answer =
        cloud.ask("GET", fmt::format("/diff?from={}&to={}", from, to), "", std::move(headers));
    INFO(answer.body());
    REQUIRE(answer.status() == 200);
    texts = *cli::diff_text(answer.body(), false);
    return answer.json();
  }
  boost::json::value whatif(const std::string& query) {
    const auto answer = cloud.ask("GET", "/whatif?" + query);
    INFO(answer.body());
    REQUIRE(answer.status() == 200);
    texts = *cli::whatif_text(answer.body(), false);
    return answer.json();
  }
  ApiCloud cloud;
  std::string texts;  // of the last one, as a terminal has it
};

// The object of that kind; null: it is not among those that differ.
boost::json::value only(const boost::json::value& diff, const char* kind) {
  boost::json::value found;
  for (const auto& object : diff.at("objects").as_array()) {
    if (object.at("kind") != kind) continue;
    REQUIRE(found.is_null());
    found = object;
  }
  return found;
}

std::string field(const boost::json::value& object, const char* name) {
  for (const auto& field : object.at("fields").as_array()) {
    if (field.at("name") != name) continue;
    const auto text = [&](const char* end) {
      const auto* value = field.as_object().if_contains(end);
      return value ? boost::json::serialize(*value) : std::string("-");
    };
    return text("from") + " " + text("to");
  }
  return "";
}

// The types of the events that made it differ, and by whose intent each was, in order.
std::string causes(const boost::json::value& object) {
  std::string all;
  for (const auto& step : object.at("by").as_array()) {
    for (const auto& event : step.at("events").as_array())
      all += std::string(event.at("event").at("type").as_string()) + " ";
    const auto* intent = step.as_object().if_contains("intent");
    all += intent ? fmt::format("({}: {}) ", intent->at("user_name").as_string().c_str(),
                                intent->at("type").as_string().c_str())
                  : fmt::format("({}) ", step.at("cause").as_string().c_str());
  }
  return all;
}

const boost::json::value& node_called(const boost::json::value& whatif, const std::string& name) {
  for (const auto& node : whatif.at("nodes").as_array())
    if (node.at("name").as_string() == name) return node;
  FAIL("no node " << name);
  throw;
}

}  // namespace

TEST_CASE("diff: what was made, changed and deleted, from what to what, and by whose intent") {
  Past past;
  const auto before = past.head();
  const auto id = past.cloud.add_server("web");
  const auto made = past.head();
  REQUIRE(past.cloud.ask("PUT", "/compute/v2.1/servers/" + id, R"({"server":{"name":"shop"}})").status() ==
          200);
  REQUIRE(past.cloud.ask("POST", "/compute/v2.1/servers/" + id + "/action", R"({"os-stop":null})").status() ==
          202);
  past.cloud.until("/compute/v2.1/servers/" + id, "server.status", "SHUTOFF");
  const auto stopped = past.head();
  REQUIRE(past.cloud.ask("DELETE", "/compute/v2.1/servers/" + id).status() == 204);
  past.cloud.until_status("/compute/v2.1/servers/" + id, 404);
  const auto gone = past.head();

  const auto first = past.diff(before, made);
  const auto server = only(first, "server");
  REQUIRE(server.is_object());
  CHECK(server.at("change") == "made");
  CHECK(server.at("id").as_string() == id);
  CHECK(field(server, "status") == R"(- "ACTIVE")");
  CHECK(field(server, "host") == R"(- "node-1")");
  CHECK(field(server, "fault").empty());  // there is none to tell of
  CHECK(causes(server).starts_with("ServerCreated PortCreated ServerPlaced (admin: CreateServer) "));
  CHECK(causes(server).find("ServerStarted (report)") != std::string::npos);
  CHECK(only(first, "port").at("change") == "made");
  CHECK(only(first, "node").is_null());  // what only the machinery counts is no change
  CHECK(past.texts.find("+ server web " + id) != std::string::npos);

  const auto second = past.diff(made, stopped);
  const auto changed = only(second, "server");
  CHECK(changed.at("change") == "changed");
  CHECK(field(changed, "name") == R"("web" "shop")");
  CHECK(field(changed, "status") == R"("ACTIVE" "SHUTOFF")");
  CHECK(field(changed, "flavor").empty());
  CHECK(
      causes(changed).starts_with("ServerUpdated (admin: UpdateServer) ServerStopping (admin: StopServer) "));
  CHECK(changed.at("by").at(0).at("intent").at("request_id").as_string().starts_with("req-"));
  CHECK(past.texts.find("status             ACTIVE → SHUTOFF") != std::string::npos);

  const auto third = past.diff(stopped, gone);
  CHECK(only(third, "server").at("change") == "deleted");
  CHECK(field(only(third, "server"), "name") == R"("shop" -)");
  CHECK(causes(only(third, "server")).find("ServerDeleting (admin: DeleteServer)") != std::string::npos);
  CHECK(only(third, "port").at("change") == "deleted");

  // what came and went in between is in neither state
  CHECK(only(past.diff(before, gone), "server").is_null());
  CHECK(past.diff(gone, gone).at("objects_in_all") == 0);
  CHECK(past.texts.find("nothing differs") != std::string::npos);
  CHECK(past.head() == gone);  // and nobody changed anything by asking
}

TEST_CASE("diff: what has no trail of its own, what another's event takes along, and no secret") {
  Past past;
  const auto before = past.head();
  const auto token = past.cloud.rig.add_project("lab");
  const auto user = past.cloud.ask("GET", "/identity/v3/users?name=lab").text("users.0.id");
  REQUIRE(
      past.cloud
          .ask(
              "POST", "/compute/v2.1/os-keypairs",
              R"({"keypair":{"name":"k","public_key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqN5+8uTBlN8yYzDwhzMo0lFbmg6mfkV3r0pHqzyFvA x"}})",
              {{"X-Auth-Token", token}})
          .status() < 300);
  past.cloud.add_flavor("odd");
  past.cloud.rig.add_project("passing");
  const auto quota = "/compute/v2.1/os-quota-sets/" + past.cloud.project("lab");
  REQUIRE(past.cloud.ask("PUT", quota, R"({"quota_set":{"ram":1000}})").status() == 200);
  const auto made = past.head();
  REQUIRE(past.cloud.ask("PUT", quota, R"({"quota_set":{"ram":2000}})").status() == 200);
  REQUIRE(past.cloud.ask("PATCH", "/identity/v3/users/" + user, R"({"user":{"password":"another secret"}})")
              .status() == 200);
  const auto changed = past.head();
  REQUIRE(past.cloud.ask("DELETE", "/identity/v3/projects/" + past.cloud.project("passing")).status() == 204);

  const auto first = past.diff(before, made);
  CHECK(causes(only(first, "flavor")) == "FlavorCreated (admin: CreateFlavor) ");
  CHECK(causes(only(first, "keypair")).starts_with("KeypairCreated (lab: CreateKeypair)"));
  CHECK(past.texts.find("+ role assignment lab as member in lab") != std::string::npos);
  CHECK(past.texts.find("asked AssignRole") != std::string::npos);

  CHECK(causes(only(first, "quota")) == "QuotaSet (admin: SetQuota) ");

  const auto second = past.diff(made, changed);
  CHECK(only(second, "quota").at("fields").as_array().size() == 1);
  CHECK(field(only(second, "quota"), "ram") == "1000 2000");
  REQUIRE(only(second, "user").at("fields").as_array().size() == 1);
  CHECK(only(second, "user").at("fields").at(0) ==
        boost::json::parse(R"({"name":"password","secret":true})"));
  for (const auto& text : {boost::json::serialize(first), boost::json::serialize(second), past.texts})
    CHECK(text.find("argon2") == std::string::npos);

  const auto third = past.diff(changed, past.head());
  CHECK(causes(only(third, "role assignment")) == "ProjectDeleted (admin: DeleteProject) ");
}

TEST_CASE("diff: each project sees its own, and what it must not know of that is left out") {
  Past past;
  const auto before = past.head();
  const auto lab = past.cloud.rig.add_project("lab");
  const auto other = past.cloud.rig.add_project("other");
  const Headers as_lab{{"X-Auth-Token", lab}}, as_other{{"X-Auth-Token", other}};
  past.cloud.add_network("theirs", "10.5.0.0/24", as_lab);
  past.cloud.add_server("mine", as_lab);
  const auto after = past.head();
  const auto seen = past.diff(before, after, as_lab);
  CHECK(only(seen, "server").at("name") == "mine");
  CHECK(field(only(seen, "server"), "host").empty());
  CHECK(only(seen, "user").is_null());
  CHECK(only(seen, "project").is_null());
  CHECK(
      causes(only(seen, "server")).starts_with("ServerCreated PortCreated ServerPlaced (lab: CreateServer)"));
  for (const auto& object : seen.at("objects").as_array())
    CHECK(object.at("project").as_string() == ProjectId::parse(past.cloud.project("lab"))->hex());
  CHECK(past.texts.find("node-1") == std::string::npos);
  CHECK(past.diff(before, after, as_other).at("objects_in_all") == 0);
  CHECK(past.cloud.ask("GET", "/whatif?vcpus=1", "", as_lab).status() == 403);
}

TEST_CASE("diff: moments that are none are refused in words") {
  Past past;
  const auto status = [&](const std::string& query) {
    return past.cloud.ask("GET", "/diff" + query).status();
  };
  CHECK(status("") == 400);
  CHECK(status("?from=yesterday") == 400);
  CHECK(status("?from=1&to=99999") == 404);
  CHECK(status("?from=1999-01-01T00:00:00Z") == 404);
  CHECK(status(fmt::format("?from={}&to=1", past.head())) == 400);
  CHECK(status("?from=1") == 200);
  // in the past the newest is that moment's
  CHECK(past.cloud.ask("GET", "/at/2/diff?from=1").json().at("to").at("seq") == 2);
  CHECK(past.cloud.ask("GET", "/at/2/diff?from=3").status() == 404);
}

TEST_CASE("whatif: a refused server, and what would have made it fit") {
  Past past(2);
  const auto big = past.cloud.add_flavor("huge", 1, 100 << 10, 1);  // a node has 64 GiB
  REQUIRE(past.cloud
              .ask("PUT", "/compute/v2.1/os-quota-sets/" + past.cloud.rig.genesis.project.str(),
                   R"({"quota_set":{"ram":-1}})")
              .status() == 200);
  const auto refused =
      past.cloud.ask("POST", "/compute/v2.1/servers",
                     fmt::format(R"({{"server":{{"name":"x","imageRef":"{}","flavorRef":"{}"}}}})",
                                 past.cloud.add_image(), big));
  REQUIRE(refused.status() >= 400);
  const auto head = past.head();
  const auto record = decode_record(past.cloud.rig.backend->read_records(head, 1)->front().bytes);
  REQUIRE(record.ok());
  const auto object = record->decisions.back().events.back().as<IntentRefused>().object.str();

  const auto again = past.whatif("object=" + object);
  CHECK(again.at("decided").at("seq").to_number<Seq>() == head);
  CHECK(again.at("decided").at("node") == "");
  CHECK(again.at("placed") == 0);
  CHECK(again.at("fits") == 0);
  CHECK(node_called(again, "node-1").at("verdict") == "not enough RAM free");
  CHECK(node_called(again, "node-1").at("free").at("ram_mib") == 64 << 10);
  CHECK(past.texts.find("no node fits") != std::string::npos);
  CHECK_FALSE(cli::all_placed(boost::json::serialize(again)));

  CHECK(past.whatif("object=" + object + "&ram_times=2").at("fits") == 2);
  CHECK(past.texts.find("every node offers 2 times its RAM") != std::string::npos);
  CHECK(past.whatif("object=" + object + "&flavor=m1.tiny").at("fits") == 2);
  CHECK(past.whatif("object=" + object + "&ram=1024").at("fits") == 2);
  CHECK(past.head() == head);
}

TEST_CASE("whatif: a placed server again, without its node, elsewhere in time, and many of a kind") {
  Past past(3);
  REQUIRE(past.cloud.ask("POST", "/identity/v3/projects", R"({"project":{"name":"web"}})").status() == 201);
  const auto id = past.cloud.add_server("web");
  const auto placed = past.head();
  const auto now = past.whatif("object=" + id);
  for (const char* called : {"object=web", "object=web&kind=server"})  // a project has no place
    CHECK(past.whatif(called).at("object") == boost::json::value(id));
  const auto chosen = std::string(now.at("decided").at("name").as_string());
  CHECK(node_called(now, chosen).at("chosen").as_bool());  // the same state, the same function, the same node
  CHECK(node_called(now, chosen).at("decided").as_bool());
  CHECK(past.texts.find("<- chosen, as it was") != std::string::npos);

  const auto without = past.whatif("object=" + id + "&without=" + chosen);
  CHECK(node_called(without, chosen).at("verdict") == "left out here");
  CHECK_FALSE(node_called(without, chosen).at("chosen").as_bool());
  CHECK(without.at("placed") == 1);
  CHECK(without.at("changes").at(0).as_string() == "without " + chosen);

  // now, as if it were not there: it does not stand in its own way
  const auto later = past.whatif("object=" + id + "&at=now&host=" + chosen);
  CHECK(later.at("seq").to_number<Seq>() == placed);
  CHECK(node_called(later, chosen).at("free").at("ram_mib") == 64 << 10);
  CHECK(node_called(past.whatif("vcpus=1&at=now"), chosen).at("free").at("ram_mib") == (64 << 10) - 512);

  const auto many = past.whatif("ram=1536&count=1000");  // 64 GiB on each node, less the 512 MiB on one
  CHECK(many.at("placed") == 3 * 42);
  CHECK(past.texts.find("126 of 1000 find a node") != std::string::npos);
  CHECK(node_called(past.whatif("vcpus=1&with=" + chosen + "&host=" + chosen), chosen).at("fits").as_bool());
  CHECK(past.head() == placed);

  // what is gone is still known by its name
  REQUIRE(past.cloud.ask("DELETE", "/compute/v2.1/servers/" + id).status() == 204);
  past.cloud.until_status("/compute/v2.1/servers/" + id, 404);
  CHECK(past.whatif("object=" + id).at("name") == "web");

  for (const char* bad : {"", "vcpus=x", "object=web&kind=network", "object=web&kind=x", "vcpus=-1", "vcpus=1&count=0", "vcpus=1&ram_times=-1",
                          "vcpus=1&without=nowhere", "flavor=nothing", "vcpus=1&at=yesterday"})
    CHECK(past.cloud.ask("GET", std::string("/whatif?") + bad).status() == 400);
  CHECK(past.cloud.ask("GET", "/whatif?object=web").status() == 404);
  CHECK(past.cloud.ask("GET", "/whatif?object=00000000-0000-4000-8000-000000000001").status() == 404);
}

TEST_CASE("a past that was cut: 410 and from when on, and what still tells of it") {
  Past past(2, 200);
  const auto lab = past.cloud.rig.add_project("lab");
  const Headers as_lab{{"X-Auth-Token", lab}};
  past.cloud.add_network("theirs", "10.6.0.0/24", as_lab);
  const auto id = past.cloud.add_server("old");
  const auto born = past.head();
  const auto first = [&] { return past.cloud.rig.projection->view().history_from(); };
  for (int i = 0; first() <= born; ++i) {
    REQUIRE(i < 100'000);
    const auto renamed = fmt::format(R"({{"server":{{"name":"old-{}"}}}})", i);
    REQUIRE(past.cloud.ask("PUT", "/compute/v2.1/servers/" + id, renamed).status() == 200);
  }
  const auto from = past.cloud.ask("GET", "/at").json().at("from");
  const auto cut = from.at("seq").to_number<Seq>();
  CHECK(cut > born);
  CHECK(from.at("at").as_string().starts_with("20"));

  const auto gone = past.cloud.ask("GET", "/at/2/compute/v2.1/servers");
  CHECK(gone.status() == 410);
  CHECK(gone.body().find("was cut here") != std::string::npos);
  CHECK(
      past.cloud.ask("GET", "/at/2/network/v2.0/networks").text("NeutronError.message").find("before seq ") !=
      std::string::npos);
  CHECK(past.cloud.ask("GET", "/diff?from=2").status() == 410);
  CHECK(past.cloud.ask("GET", "/diff?from=" + std::to_string(first())).status() == 200);
  CHECK(past.cloud.ask("GET", "/at/" + std::to_string(first()) + "/compute/v2.1/servers/" + id).status() ==
        200);

  const auto& backend = *past.cloud.rig.backend;
  const View now = backend.view();
  const auto status = cli::status_text(story::status_json(now, nullptr), false);
  CHECK(status->find(fmt::format("past    can be read from seq {} of 20", now.history_from())) !=
        std::string::npos);
  // the log still tells how it came to be, though not what placement weighed
  const story::Source source{
      .view_at = [&](Seq seq) { return backend.view_at(seq); },
      .read_records = [&](Seq at, std::size_t max) { return backend.read_records(at, max); }};
  const auto why = story::why_json(now, source, id);
  REQUIRE(why.ok());
  CHECK(why->find("ServerPlaced") != std::string::npos);
  CHECK(why->find("\"weighed\"") == std::string::npos);
  // what it asked for can be placed now, in another state than it was
  CHECK(past.whatif("object=" + id + "&at=now").at("request").at("ram_mib") == 512);
  CHECK(past.cloud.ask("GET", "/whatif?object=" + id).status() == 410);
  // and whose what was is known for what is still there
  std::string lines;
  const auto stream = past.cloud.ask("GET", "/events?follow=false", "", as_lab);
  for (bool end = false; !end;) {
    std::promise<std::pair<std::string, bool>> piece;
    stream.response.lines->next([&](std::string more, bool last) {
      piece.set_value({std::move(more), last});
    });
    auto answer = piece.get_future();
    REQUIRE(answer.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
    const auto [more, last] = answer.get();
    lines += more, end = last;
  }
  CHECK(lines.find(R"("name":"theirs")") != std::string::npos);
  CHECK(lines.find(id) == std::string::npos);
}

TEST_CASE("any question about the past is answered, or refused in words") {
  Past past(2);
  const auto id = past.cloud.add_server("web");
  const std::vector<std::string> keys = {"from",        "to",        "object",     "at",   "flavor",  "vcpus",
                                         "ram",         "disk",      "zone",       "host", "without", "with",
                                         "vcpus_times", "ram_times", "disk_times", "count"};
  const std::vector<std::string> values = {"1",
                                           "0",
                                           "-1",
                                           "3",
                                           "99999",
                                           "now",
                                           id,
                                           "node-1",
                                           "m1.tiny",
                                           "nova",
                                           "1e300",
                                           "nan",
                                           "inf",
                                           "0.5",

                                           "",
                                           "2999-01-01T00:00:00Z",
                                           "1999-01-01",
                                           "9223372036854775807",
                                           "18446744073709551616",
                                           "2147483647",
                                           "10000"};
  std::mt19937_64 random(11);
  const auto any = [&](const auto& list) { return list[random() % list.size()]; };
  const Seq head = past.head();
  std::map<int, int> statuses;
  for (int round = 0; round < 400; ++round) {
    std::string target = round % 2 ? "/diff?" : "/whatif?";
    for (auto n = random() % 5; n > 0; --n) target += any(keys) + "=" + any(values) + "&";
    const auto answer = past.cloud.ask("GET", target);
    INFO(target << " " << answer.body());
    const int status = answer.status();
    CHECK((status == 200 || status == 400 || status == 404));
    CHECK(answer.json().is_object());
    ++statuses[status];
  }
  CHECK(statuses.size() == 3);
  CHECK(past.head() == head);
}
