#include "events/print.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours
#include "events/refusal.h"
#include "tests/unit/scribe.h"

namespace reprise {
namespace {

using namespace testing;

std::string name_of(AnyId id) { return id == AnyId{1, 1} ? "v1" : id == AnyId{1, 2} ? "host-1" : ""; }

TEST_CASE("events in words and as JSON") {
  struct Case {
    Event event;
    const char* words;
    const char* json;
  };
  const ServerId v1{1, 1};
  const NodeId host{1, 2};
  const Case cases[] = {
      {ServerPlaced{.id = v1, .node = host, .considered = 3, .deadline_ms = 9}, "ServerPlaced v1 node=host-1 considered=3 deadline_ms=9",
       R"({"type":"ServerPlaced","id":"00000000-0000-0001-0000-000000000001","node":"00000000-0000-0001-0000-000000000002","considered":3,"deadline_ms":9})"},
      {ServerReleased{.id = v1}, "ServerReleased v1 agent=compute",
       R"({"type":"ServerReleased","id":"00000000-0000-0001-0000-000000000001","agent":"compute"})"},
      {ServerStopped{.id = v1}, "ServerStopped v1", R"({"type":"ServerStopped","id":"00000000-0000-0001-0000-000000000001"})"},
      {ServerStopped{.id = v1, .cause = StopCause::guest}, "ServerStopped v1 cause=guest",
       R"({"type":"ServerStopped","id":"00000000-0000-0001-0000-000000000001","cause":"guest"})"},
      {ServerFailed{.id = v1, .reason = "no \"disk\" = gone\n"}, "ServerFailed v1 reason=\"no \\\"disk\\\" = gone\\n\"",
       R"({"type":"ServerFailed","id":"00000000-0000-0001-0000-000000000001","reason":"no \"disk\" = gone\n"})"},
      {UserCreated{.id = UserId{1, 1}, .name = "ann", .password_hash = "secret"},
       "UserCreated v1 name=ann password_hash=(6 bytes) enabled=true",
       R"j({"type":"UserCreated","id":"00000000-0000-0001-0000-000000000001","name":"ann","password_hash":"(6 bytes)","enabled":true})j"},
      {UserCreated{.name = "b", .enabled = false}, "UserCreated name=b", R"({"type":"UserCreated","name":"b"})"},
      {FlavorCreated{.id = "m1.tiny", .vcpus = 1, .is_public = false}, "FlavorCreated id=m1.tiny vcpus=1",
       R"({"type":"FlavorCreated","id":"m1.tiny","vcpus":1})"},
      {PortCreated{.id = PortId{1, 1}, .mac = {0x020000000001}, .fixed = {{SubnetId{1, 3}, {0x0a000005}}}, .admin_up = false},
       "PortCreated v1 mac=02:00:00:00:00:01 fixed=[(subnet=00000000-0000-0001-0000-000000000003 address=10.0.0.5)]",
       R"({"type":"PortCreated","id":"00000000-0000-0001-0000-000000000001","mac":"02:00:00:00:00:01",)"
       R"("fixed":[{"subnet":"00000000-0000-0001-0000-000000000003","address":"10.0.0.5"}]})"},
      {SubnetCreated{.prefix = 24, .dhcp = false, .pools = {{{1}, {2}}}, .dns = {{0x08080808}}},
       "SubnetCreated prefix=24 pools=[0.0.0.1-0.0.0.2] dns=[8.8.8.8]",
       R"({"type":"SubnetCreated","prefix":24,"pools":["0.0.0.1-0.0.0.2"],"dns":["8.8.8.8"]})"},
      {IntentTried{.position = {Topic::intents, 0, 0}}, "IntentTried position=intents/0@0",
       R"({"type":"IntentTried","position":"intents/0@0"})"},
      {IntentRefused{.refusal = static_cast<std::uint16_t>(Refusal::no_valid_host), .text = "none fits", .object = AnyId{1, 1},
                     .counts = {0, 2, 0, 0, 0, 1}, .nodes = {{host, 5}}},
       "IntentRefused refusal=no_valid_host text=\"none fits\" object=v1 counts=(node_lost=2 no_ram=1) nodes=[(node=host-1 reason=no_ram)]",
       R"({"type":"IntentRefused","refusal":"no_valid_host","text":"none fits","object":"00000000-0000-0001-0000-000000000001",)"
       R"("counts":{"node_lost":2,"no_ram":1},"nodes":[{"node":"00000000-0000-0001-0000-000000000002","reason":"no_ram"}]})"},
      {VolumeCreated{.id = VolumeId{1, 1}, .metadata = {"a", "b c"}}, "VolumeCreated v1 metadata=(a=\"b c\")",
       R"({"type":"VolumeCreated","id":"00000000-0000-0001-0000-000000000001","metadata":{"a":"b c"}})"},
      {ServerCreated{.id = v1, .user_data_sealed = std::vector<std::uint8_t>(300)}, "ServerCreated v1 user_data_sealed=(300 bytes)",
       R"j({"type":"ServerCreated","id":"00000000-0000-0001-0000-000000000001","user_data_sealed":"(300 bytes)"})j"},
  };
  for (const auto& c : cases) {
    CHECK(print_words(c.event, name_of) == c.words);
    CHECK(event_json(c.event) == c.json);
  }
}

TEST_CASE("what an event or an intent is about") {
  CHECK(subject(Event(ServerDeleted{.id = {1, 7}})) == AnyId{1, 7});
  CHECK(subject(Event(RoleAssigned{.project = {1, 7}, .user = {1, 8}})) == AnyId{1, 7});
  CHECK(subject(Event(IntentRefused{.object = {1, 9}})) == AnyId{1, 9});
  CHECK(subject(Event(FlavorCreated{.id = "x"})) == AnyId{});
  CHECK(subject(Event(TimePassed{.asked_ms = 4})) == AnyId{});
  CHECK(subject(Event(UserCreated{.name = "n", .default_project = {1, 5}})) ==
        AnyId{});  // its first field is none
  Intent intent = intent_of(1, 40'000, {});
  intent.set(DeleteServer{.id = {1, 7}});
  CHECK(subject(intent) == AnyId{1, 7});
  CHECK(print_words(intent) == "DeleteServer 00000000-0000-0001-0000-000000000007");
  intent.object = {1, 6};
  CHECK(subject(intent) == AnyId{1, 6});
  CHECK(
      intent_json(intent) ==
      R"({"type":"DeleteServer","intent":"00000000-0000-001e-0000-000000000001","request_id":"req-1",)"
      R"("user":"00000000-0000-0005-0000-000000000001","project":"00000000-0000-0004-0000-000000000001","sent_ms":10000,)"
      R"("expires_ms":40000,"client":"192.0.2.1","object":"00000000-0000-0001-0000-000000000006",)"
      R"("body":{"id":"00000000-0000-0001-0000-000000000007"}})");
}

TEST_CASE("JSON strings are valid whatever the bytes") {
  CHECK(json_quoted("a\"\\\x01\x1f/") == "\"a\\\"\\\\\\u0001\\u001f/\"");
  CHECK(json_quoted("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7") ==
        "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7\"");
  const char* bad = "\xef\xbf\xbd";
  for (const char* bytes : {"\xff", "\x80", "\xc3", "\xc0", "\xed"})
    CHECK(json_quoted(bytes) == std::string("\"") + bad + "\"");
  CHECK(json_quoted("\xed\xa0\x80") == std::string("\"") + bad + bad + bad + "\"");  // half a surrogate pair
}

}  // namespace
}  // namespace reprise
