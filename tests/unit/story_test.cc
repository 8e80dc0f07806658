// why and status on a whole cloud in this process: what they tell is what happened.
#include "controlplane/story/event_line.h"
#include "controlplane/story/routes.h"
#include "controlplane/story/status.h"
#include "controlplane/story/why.h"

#include <fmt/format.h>
#include <boost/json.hpp>

#include "controlplane/cli/terminal.h"
#include "tests/unit/api_cloud.h"

using namespace reprise;
using namespace reprise::api;

namespace {

Result<std::string> why(ApiCloud& cloud, const std::string& id, const std::string& kind = "") {
  const auto& backend = *cloud.rig.backend;
  const story::Source source{
      .view_at = [&](Seq seq) { return backend.view_at(seq); },
      .read_records = [&](Seq from, std::size_t max) { return backend.read_records(from, max); }};
  return story::why_json(backend.view(), source, id, kind);
}

boost::json::value parsed(const Result<std::string>& text) {
  REQUIRE(text.ok());
  return boost::json::parse(*text);
}

// The words of all events, a line each.
std::string words(const boost::json::value& story) {
  std::string all;
  for (const auto& step : story.at("steps").as_array())
    for (const auto& event : step.at("events").as_array())
      all += std::string(event.at("words").as_string()) + "\n";
  return all;
}

}  // namespace

TEST_CASE("why a server is as it is: who asked, what was weighed, what each agent reported") {
  ApiCloud cloud(3);
  cloud.add_network();
  const auto id = cloud.add_server("web");
  const auto story = parsed(why(cloud, id));
  CHECK(story.at("name").as_string() == "web");
  CHECK(story.at("kind").as_string() == "server");
  CHECK(story.at("now").as_string().starts_with("ACTIVE on "));
  const auto all = words(story);
  for (const char* event :
       {"ServerCreated", "PortCreated", "ServerPlaced", "ServerDiskReady", "PortReady", "ServerStarted"})
    CHECK(all.find(event) != std::string::npos);
  const auto& asked = story.at("steps").at(0);
  CHECK(asked.at("cause").as_string() == "intent");
  CHECK(asked.at("intent").at("user_name").as_string() == "admin");
  CHECK(asked.at("intent").at("request_id").as_string().starts_with("req-"));
  const auto& weighed = asked.at("weighed");
  REQUIRE(weighed.at("nodes").as_array().size() == 3);
  CHECK(weighed.at("nodes").at(0).at("chosen").as_bool());
  CHECK(weighed.at("ram_mib").as_int64() == 512);
  // the node that was weighed heaviest is the one that the log says
  CHECK(all.find(std::string(weighed.at("nodes").at(0).at("id").as_string())) != std::string::npos);
  bool reported = false;
  for (const auto& step : story.at("steps").as_array())
    reported = reported || step.at("cause").as_string() == "report";
  CHECK(reported);
}

TEST_CASE("why a server was refused: node by node, out of the log alone") {
  ApiCloud cloud(2);
  cloud.add_network();
  const auto big = cloud.add_flavor("huge", 1, 128 << 10, 1);  // the nodes have half of that
  REQUIRE(cloud.ask("PUT", "/compute/v2.1/os-quota-sets/" + cloud.rig.genesis.project.str(),
                    R"({"quota_set":{"ram":-1}})").status() == 200);
  const auto answer = cloud.ask(
      "POST", "/compute/v2.1/servers",
      fmt::format(R"({{"server":{{"name":"x","imageRef":"{}","flavorRef":"{}"}}}})",
                  cloud.add_image(), big));
  INFO(answer.body());
  CHECK(answer.status() >= 400);
  // the refusal is the last thing in the log that names an object of its own
  AnyId object;
  const Seq head = cloud.rig.backend->view().seq();
  for (Seq seq = 1; seq <= head; ++seq) {
    const auto records = cloud.rig.backend->read_records(seq, 1);
    REQUIRE(records.ok());
    const auto record = decode_record(records->front().bytes);
    REQUIRE(record.ok());
    for (const auto& decision : record->decisions)
      for (const auto& event : decision.events)
        if (event.is<IntentRefused>()) object = event.as<IntentRefused>().object;
  }
  REQUIRE(object);
  const auto story = parsed(why(cloud, object.str()));
  CHECK(story.at("now").as_string() == "gone, or never made");
  const auto& weighed = story.at("steps").at(0).at("weighed");
  REQUIRE(weighed.at("nodes").as_array().size() == 2);
  for (const auto& node : weighed.at("nodes").as_array()) {
    CHECK_FALSE(node.at("fits").as_bool());
    CHECK(node.at("verdict").as_string() == "not enough RAM free");
  }
  const auto text = cli::why_text(*why(cloud, object.str()), false);
  REQUIRE(text.ok());
  CHECK(text->find("not enough RAM free") != std::string::npos);
  CHECK(text->find('\033') == std::string::npos);  // no colour unless asked for
}

TEST_CASE("what was deleted can still be explained, and what never was is said") {
  ApiCloud cloud(1);
  cloud.add_network();
  const auto id = cloud.add_server("gone");
  CHECK(cloud.ask("DELETE", "/compute/v2.1/servers/" + id).status() == 204);
  cloud.until_status("/compute/v2.1/servers/" + id, 404);
  CHECK(words(parsed(why(cloud, id))).find("ServerDeleted") != std::string::npos);
  const auto never = why(cloud, "00000000-0000-4000-8000-000000000001");
  REQUIRE_FALSE(never.ok());
  CHECK(never.error().code == Errc::not_found);
}

TEST_CASE("why takes a name that one object has; of several it says which they are") {
  ApiCloud cloud(1);
  cloud.add_network();
  const auto id = cloud.add_server("one");
  CHECK(parsed(why(cloud, "one")).at("id") == boost::json::value(id));
  cloud.add_server("two");
  const auto second = cloud.add_server("two");
  const auto several = why(cloud, "two");
  REQUIRE_FALSE(several.ok());
  CHECK(several.error().code == Errc::invalid);
  CHECK(several.error().text.find("server " + second) != std::string::npos);
  CHECK(why(cloud, "none").error().code == Errc::not_found);
  story::register_routes(*cloud.rig.api);
  CHECK(cloud.ask("GET", "/why/one").status() == 200);
  CHECK(cloud.ask("GET", "/why/two").status() == 400);
  CHECK(cloud.ask("GET", "/why/none").status() == 404);
}

// As ops/up leaves it: server, network, subnet and key are called alike.
TEST_CASE("why: a name that many kinds have means the server, or the kind that stands before it") {
  ApiCloud cloud(1);
  const auto network = cloud.add_network("same");
  REQUIRE(cloud.ask("POST", "/network/v2.0/subnets",
                    fmt::format(R"({{"subnet":{{"network_id":"{}","cidr":"10.1.0.0/24","ip_version":4,"name":"same"}}}})",
                                network)).status() == 201);
  const auto without_server = why(cloud, "same");
  CHECK(without_server.error().code == Errc::invalid);
  CHECK(without_server.error().text.find("the kind before the name") != std::string::npos);
  const auto id = cloud.add_server("same");
  CHECK(parsed(why(cloud, "same")).at("id") == boost::json::value(id));
  CHECK(parsed(why(cloud, "same", "server")).at("id") == boost::json::value(id));
  CHECK(parsed(why(cloud, "same", "network")).at("id") == boost::json::value(network));
  for (const char* kind : {"server", "port", "volume", "image", "network", "subnet", "node", "user", "project", "role"}) {
    INFO(kind);
    const auto told = why(cloud, "same", kind);
    if (told) CHECK(parsed(told).at("kind") == boost::json::value(kind));
    else CHECK(told.error().code == Errc::not_found);  // the kind is one, and none of it is called so
  }
  const auto no_kind = why(cloud, "same", "thing");
  CHECK(no_kind.error().code == Errc::invalid);
  CHECK(no_kind.error().text.find("server, port, volume") != std::string::npos);
  cloud.add_server("same");
  CHECK(why(cloud, "same").error().text.starts_with("4 are called 'same'"));
  story::register_routes(*cloud.rig.api);
  CHECK(cloud.ask("GET", "/why/same?kind=subnet").text("kind") == "subnet");
}

TEST_CASE("status: head and digest are the state's own, and what waits says for whom") {
  ApiCloud cloud(1);
  cloud.add_network();
  cloud.add_server("web");
  const View now = cloud.rig.backend->view();
  const auto settled = parsed(story::status_json(now, nullptr));
  CHECK(settled.at("head").at("seq").as_int64() == static_cast<std::int64_t>(now.seq()));
  CHECK(settled.at("head").at("digest").as_string() == now.line().digest.hex());
  CHECK(settled.at("unsettled_in_all").as_int64() == 0);
  CHECK(settled.at("counts").at("servers").as_int64() == 1);
  // nobody reports any more: a new server waits, and it is said for whom
  cloud.rig.stop_controller();
  const auto text = cli::status_text(story::status_json(now, nullptr), false);
  REQUIRE(text.ok());
  CHECK(text->find("everything is settled") != std::string::npos);
}

TEST_CASE("offline event lines are those of GET /events") {
  ApiCloud cloud(1);
  cloud.add_network();
  cloud.add_server("web");
  std::string lines;
  const Seq head = cloud.rig.backend->view().seq();
  for (Seq seq = 1; seq <= head; ++seq) {
    const auto records = cloud.rig.backend->read_records(seq, 1);
    REQUIRE(records.ok());
    lines += story::event_lines(*decode_record(records->front().bytes));
  }
  // every line is JSON, numbered without a gap within its record
  std::int64_t last_seq = 0, last_index = -1;
  std::size_t count = 0;
  for (std::size_t at = 0; at < lines.size(); ++count) {
    const auto end = lines.find('\n', at);
    const auto line = boost::json::parse(lines.substr(at, end - at));
    const auto seq = line.at("seq").as_int64(), index = line.at("index").as_int64();
    if (seq != last_seq ? index != 0 : index != last_index + 1) FAIL("gap at " << seq << "." << index);
    last_seq = seq, last_index = index;
    const auto text = cli::event_text(lines.substr(at, end - at), false);
    REQUIRE(text.ok());
    CHECK(text->find(std::string(line.at("event").at("type").as_string())) != std::string::npos);
    at = end + 1;
  }
  CHECK(count > 20);
}
