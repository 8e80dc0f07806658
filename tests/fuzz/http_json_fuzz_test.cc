// Random and mutated text at the JSON reader and at what takes targets apart.
#include <random>

#include "controlplane/api/http_message.h"
#include "controlplane/api/json.h"
#include "controlplane/api/ssh_key.h"
#include "controlplane/api/timestamp.h"
#include "controlplane/api/utf8.h"
#include "tests/unit/api_catch.h"

using namespace reprise;
using namespace reprise::api;

namespace {

std::string mutate(std::mt19937_64& random, std::string text) {
  constexpr std::string_view pieces[] = {"{",       "}",    "[",     "]", "\"",
                                         "\\u0000", "null", "1e999", "-", "\xff",
                                         ",",       ":",    "%",     "/", "9999999999999999999"};
  for (auto n = 1 + random() % 5; n > 0; --n) {
    const auto at = random() % (text.size() + 1);
    switch (random() % 3) {
      case 0:
        text.insert(at, pieces[random() % std::size(pieces)]);
        break;
      case 1:
        text.erase(at, random() % 8);
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(random());
        break;
    }
  }
  return text;
}

}  // namespace

TEST_CASE("json fuzz: any body is read or refused, and its mistakes stay short") {
  std::mt19937_64 random(1);
  int good = 0;
  for (int round = 0; round < 20'000; ++round) {
    const auto text =
        mutate(random, R"({"server":{"name":"x","ram":1,"l":[{"id":"a"}],"m":{"k":"v"},"b":true}})");
    auto document = JsonDocument::parse(text);
    if (!document) continue;
    Mistakes mistakes;
    Fields body(*document, mistakes);
    auto server = body.object("server");
    const auto name = server.string("name", 1, 5);
    CHECK(count_characters(name) <= 5);
    const auto ram = server.integer("ram", 1, 10);
    CHECK((ram >= 1 && ram <= 10));
    for (auto& one : server.objects("l", 3)) one.id("id"), one.done();
    server.string_map("m", 2, 3);
    server.boolean("b");
    server.done();
    body.done();
    good += mistakes.empty();
    CHECK(mistakes.text().size() < 16 * 300);
  }
  CHECK(good > 0);
}

TEST_CASE("target fuzz: what is accepted is decoded, valid and without dots") {
  std::mt19937_64 random(2);
  for (int round = 0; round < 20'000; ++round) {
    const auto target = mutate(random, "/at/5/compute/v2.1/servers/%41?name=a+b&limit=5%2B&%2e%2E");
    Request request;
    if (!request.set_target(target)) continue;
    for (const auto& segment : request.segments) {
      CHECK((!segment.empty() && segment != "." && segment != ".." && valid_utf8(segment)));
      CHECK(segment.find('\0') == std::string::npos);
    }
    for (const auto& [key, value] : request.query) CHECK((valid_utf8(key) && valid_utf8(value)));
    if (request.segments.size() > 1) (void)parse_moment(request.segments[1]);
    (void)parse_ssh_key(target);
  }
}
