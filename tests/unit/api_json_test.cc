#include "controlplane/api/errors.h"
#include "controlplane/api/json.h"
#include "controlplane/api/json_writer.h"

#include <boost/json/value.hpp>
#include <functional>

#include "tests/unit/api_catch.h"

using namespace reprise;
using namespace reprise::api;

namespace {

JsonDocument parsed(std::string_view text) {
  auto document = JsonDocument::parse(text);
  REQUIRE(document.ok());
  return std::move(*document);
}

std::string written(const std::function<void(JsonWriter&)>& write) {
  std::string out;
  JsonWriter json(out);
  write(json);
  return out;
}

}  // namespace

TEST_CASE("json: what is well-formed is read") {
  const auto document =
      parsed(R"({"server": {"name": "é", "ram": "512", "disk": 10, "public": "True", "flag": 0,
    "id": "2b0f0c1e-2b3c-4d5e-8f90-0123456789ab", "metadata": {"a": "1", "b": ""}, "nothing": null, "kind": "b",
    "list": [{"x": 1}, {"x": 2}], "names": ["p", "q"], "text": "a\nb", "old": 1}})");
  Mistakes mistakes;
  Fields body(document, mistakes);
  auto server = body.object("server");
  CHECK(server.string("name", 1, 1) == "é");
  CHECK(server.integer("ram", 1, 1024) == 512);
  CHECK(server.optional_integer("disk", 0, 10) == 10);
  CHECK(server.boolean("public"));
  CHECK_FALSE(server.optional_boolean("flag").value());
  CHECK(server.id("id").str() == "2b0f0c1e-2b3c-4d5e-8f90-0123456789ab");
  CHECK(server.string_map("metadata", 10, 255).size() == 2);
  CHECK_FALSE(server.optional_string("nothing", 1, 10).has_value());
  CHECK(server.word("kind", {"a", "b"}) == "b");
  CHECK(server.optional_word("other_kind", {"a", "b"}) == "a");
  auto list = server.objects("list", 2);
  REQUIRE(list.size() == 2);
  CHECK(list[1].integer("x", 0, 9) == 2);
  list[0].ignore("x");
  CHECK(server.strings("names", 2, 1, 1) == std::vector<std::string>{"p", "q"});
  CHECK(server.text("text", 1, 10) == "a\nb");
  CHECK(server.kind("list") == JsonKind::array);
  CHECK(server.kind("nope") == JsonKind::absent);
  server.ignore("old");
  server.done();
  list[0].done();
  body.done();
  CHECK(mistakes.text().empty());
}

TEST_CASE("json: every mistake is told with its path, in one go") {
  const auto document =
      parsed(R"({"server": {"name": "", "ram": 0, "disk": 1.5, "public": "maybe", "id": "xyz",
    "metadata": {"a": 1, "": "x"}, "kind": "c", "list": [1], "names": "p", "text": "a\u0000b", "line": "a\nb", "colour": 1},
    "extra": {}})");
  Mistakes mistakes;
  Fields body(document, mistakes);
  auto server = body.object("server");
  server.string("name", 1, 255);
  server.integer("ram", 1, 1024);
  server.integer("disk", 0, 10);
  server.boolean("public");
  server.id("id");
  server.string_map("metadata", 10, 255);
  server.word("kind", {"a", "b"});
  server.objects("list", 2);
  server.strings("names", 2, 1, 1);
  server.text("text", 1, 10);
  server.string("line", 1, 10);
  server.string("missing", 1, 10);
  server.done();
  body.done();
  CHECK(mistakes.text() ==
        "server.name: must have 1 to 255 characters, it has 0; server.ram: must be a whole number from 1 to "
        "1024; "
        "server.disk: must be a whole number from 0 to 10; server.public: must be true or false; "
        "server.id: 'xyz' is not a UUID; server.metadata.a: must be a string, it is a number; "
        "server.metadata.: keys must have 1 to 255 characters, no control characters; "
        "server.kind: must be one of: a, b; server.list[0]: must be an object; "
        "server.names: must be an array of at most 2 strings; "
        "server.text: must not hold control characters: take them out; "
        "server.line: must not hold control characters: take them out; server.missing: is required and "
        "missing; "
        "server.colour: is not a field of this request: leave it out; "
        "extra: is not a field of this request: leave it out");
}

TEST_CASE("json: names of 0, 255 and 256 characters, counted as characters") {
  for (const auto& [count, good] : {std::pair{0, false}, {1, true}, {255, true}, {256, false}}) {
    std::string name;
    for (int i = 0; i < count; ++i) name += "é";
    const auto document = parsed("{\"name\": \"" + name + "\"}");
    Mistakes mistakes;
    Fields(document, mistakes).string("name", 1, 255);
    CHECK(mistakes.empty() == good);
  }
}

TEST_CASE("json: what is not JSON is refused with its place") {
  const auto deep = [](int levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  CHECK(JsonDocument::parse(deep(16)).ok());
  CHECK(JsonDocument::parse(deep(17)).error().text.find("deeper than 16") != std::string::npos);
  CHECK(JsonDocument::parse(deep(100000)).error().code == Errc::invalid);
  CHECK(JsonDocument::parse("{\"a\": 1,\n \"b\": }").error().text.find("line 2, column 7") !=
        std::string::npos);
  for (const auto* text : {"", " ", "{", "{}x", "{\"a\":\"\xff\"}", "nul", "{'a':1}", "{\"a\":1,}",
                           "\"\\ud800\"", "{\"a\":\"\x01\"}"})
    CHECK_FALSE(JsonDocument::parse(text).ok());
  Mistakes mistakes;
  Fields fields(parsed("[1]"), mistakes);
  CHECK(mistakes.text() == "the body must be a JSON object, it is an array");
  CHECK(fields.string("a", 1, 2).empty());
  fields.done();
}

TEST_CASE("json: what is no UTF-8 is written as U+FFFD, and the rest as it is") {
  const auto text = written([](JsonWriter& w) { w.begin_array().value("a\xff\xc3").value("é\xe2\x82€").end_array(); });
  CHECK(text == R"(["a\ufffd\ufffd","é\ufffd\ufffd€"])");
}

TEST_CASE("json: what the writer writes, the reader reads back") {
  std::string all;
  for (int c = 1; c < 128; ++c) all.push_back(static_cast<char>(c));
  all += "é€😀";
  const auto text = written([&](JsonWriter& w) {
    w.begin_object()
        .field("s", all)
        .field("n", -5)
        .field("u", ~0ull)
        .field("d", 1.5)
        .field("b", true)
        .key("z")
        .null();
    w.array("list").value(1).value("x").begin_object().end_object().begin_array().end_array().end_array();
    w.object("o")
        .text_key("k\"")
        .value(false)
        .end_object()
        .field_or_null("e", "")
        .field_or_null("f", "g")
        .end_object();
  });
  const auto plain = text.substr(text.find(",\"n\""));
  CHECK(
      plain ==
      R"(,"n":-5,"u":18446744073709551615,"d":1.5,"b":true,"z":null,"list":[1,"x",{},[]],"o":{"k\"":false},"e":null,"f":"g"})");
  const auto document = parsed(text);
  Mistakes mistakes;
  Fields fields(document, mistakes);
  CHECK(fields.optional_text("f", 1, 1) == "g");
  CHECK(document.root().as_object().at("s").as_string() == all);
}

TEST_CASE("errors: each service speaks its own format") {
  CHECK(error_response(Service::identity, 401, "m").body ==
        R"({"error":{"code":401,"message":"m","title":"Unauthorized"}})");
  CHECK(error_response(Service::compute, 404, "m").body == R"({"itemNotFound":{"code":404,"message":"m"}})");
  CHECK(error_response(Service::volume, 413, "m").body == R"({"overLimit":{"code":413,"message":"m"}})");
  CHECK(error_response(Service::network, 404, "m", "", "NetworkNotFound").body ==
        R"({"NeutronError":{"type":"NetworkNotFound","message":"m","detail":""}})");
  CHECK(error_response(Service::image, 404, "a<b").header_value("Content-Type") ==
        "text/html; charset=UTF-8");
  CHECK(error_response(Service::image, 404, "a<b").body.find("  a&lt;b<br /><br />") != std::string::npos);
  CHECK(error_response(Service::image, 404, "m", "application/json").body ==
        R"({"message":"m","code":"404 Not Found","title":"Not Found"})");
}
