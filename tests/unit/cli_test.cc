// What commands stand on: openrc, URLs, words for a terminal out of any JSON.
#include <random>

#include "controlplane/cli/cloud_access.h"
#include "controlplane/cli/init.h"
#include "controlplane/cli/terminal.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace reprise::cli;

TEST_CASE("the openrc that init writes is read back, whatever the password is") {
  for (const std::string password :
       {"simple", "it's", "'", "a'b'c", "with space", "back\\slash", "$HOME `x` \"y\"", "ümläut"}) {
    const auto read = read_openrc(openrc_text(Config{}, password));
    REQUIRE(read);
    CHECK(read->password == password);
    CHECK(read->auth_url == "http://127.0.0.1:8700/identity/v3");
    CHECK(read->user == "admin");
  }
  CHECK_FALSE(read_openrc(""));
  CHECK_FALSE(read_openrc("export OS_AUTH_URL=http://x\n"));
}

TEST_CASE("URLs") {
  const auto url = parse_url("http://127.0.0.1:8700/identity/v3");
  REQUIRE(url);
  CHECK(url->host == "127.0.0.1");
  CHECK(url->port == "8700");
  CHECK(url->path == "/identity/v3");
  CHECK(parse_url("http://host")->path == "/");
  CHECK(parse_url("http://host")->port == "80");
  CHECK(parse_url("http://[::1]:9/x")->host == "::1");
  CHECK(parse_url("http://[::1]/x")->host == "::1");
  for (const char* bad : {"", "https://x", "x", "http://", "http://:80", "http://x:"})
    CHECK_FALSE(parse_url(bad));
}

TEST_CASE("nobody there is unreachable, and says so") {
  HttpAsk ask{.url = *parse_url("http://127.0.0.1:1/")};
  const auto answer = http_call(ask);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::unreachable);
  CHECK(answer.error().text.find("127.0.0.1:1") != std::string::npos);
}

TEST_CASE("words come out of any JSON: what is missing is left out, what is no JSON is an error") {
  for (const char* text : {"{}", "[]", "1", "null", "{\"cloud\":7,\"nodes\":{},\"unsettled\":[1]}",
                           "{\"steps\":[{}],\"event\":3}"}) {
    CHECK(status_text(text, true));
    CHECK(why_text(text, true));
    CHECK(event_text(text, true));
  }
  std::mt19937_64 random(7);
  const std::string tokens = "{}[]\":,0a1.-enulltrf \\\"";
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (auto n = random() % 60; n > 0; --n) text += tokens[random() % tokens.size()];
    (void)status_text(text, false);
    (void)why_text(text, false);
    (void)event_text(text, false);
  }
  CHECK_FALSE(status_text("", false));
}
