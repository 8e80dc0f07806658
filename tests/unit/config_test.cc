// The configuration: every mistake in one go, with its line and what to do; any bytes are survived.
#include <algorithm>
#include <random>

#include "controlplane/cli/config.h"
#include "controlplane/cli/settings.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise::cli;

namespace {

std::string all(const ParsedConfig& parsed) { return mistakes_text("f", parsed.mistakes); }

}  // namespace

TEST_CASE("an empty configuration is the defaults") {
  const auto parsed = parse_config("");
  CHECK(all(parsed) == "");
  CHECK(parsed.config.api.port == 8700);
  CHECK(parsed.config.api.listen == "127.0.0.1");
  CHECK(parsed.config.has_role("controller"));
}

TEST_CASE("what is set is taken") {
  const auto parsed = parse_config(R"(
[cloud]
name = "lab"
roles = ["api", "controller"]
[api]
port = 9000
rate_per_second = 20
[log]
place = "kafka:127.0.0.1:19092/lab"
[agent]
compute = "simulated"
storage = "simulated"
network = "simulated"
[simulated]
nodes = 4096
)");
  REQUIRE(all(parsed) == "");
  CHECK(parsed.config.name == "lab");
  CHECK_FALSE(parsed.config.has_role("agent"));
  CHECK(parsed.config.api.port == 9000);
  CHECK(parsed.config.api.rate_per_second == 20);
  CHECK(parsed.config.log.place == "kafka:127.0.0.1:19092/lab");
  CHECK(parsed.config.simulated.nodes == 4096);
}

TEST_CASE("every mistake is told in one go, in order, with line and remedy") {
  const auto parsed = parse_config(
      "[api]\n"
      "port = 99999\n"
      "treads = 4\n"
      "listen = 7\n"
      "[logs]\n"
      "place = \"embedded\"\n"
      "[agent]\n"
      "compute = \"xen\"\n"
      "port = 3\n");
  CHECK(all(parsed) ==
        "f:2: api.port = 99999: it must be from 1 to 65535\n"
        "f:3: there is no key api.treads: is one of these meant: threads?\n"
        "f:4: api.listen is a whole number: it must be a text in quotes\n"
        "f:5: there is no section [logs]: is [log] meant?\n"
        "f:8: agent.compute = \"xen\": it must be one of \"libvirt\", \"simulated\"\n"
        "f:9: there is no key agent.port: is one of these meant: api.port?");
}

TEST_CASE("what cannot be read does not hide the rest") {
  const auto parsed = parse_config(
      "[api]\n"
      "port = = 3\n"
      "threads = 0\n"
      "[controller\n"
      "lease_ms = \"long\"\n"
      "listen = 'x\n");
  REQUIRE(parsed.mistakes.size() >= 4);
  CHECK(parsed.mistakes[0].line == 2);
  CHECK(all(parsed).find("f:3: api.threads = 0: it must be from 1 to 64") != std::string::npos);
  CHECK(parsed.mistakes.back().line == 6);
}

TEST_CASE("settings that do not go together are refused") {
  CHECK(all(parse_config("[simulated]\nnodes = 3\n")).find("f:2: simulated.nodes is more than 1") == 0);
  CHECK(
      all(parse_config("[cloud]\nroles = [\"agent\"]\n")).find("f:2: an embedded log is one process's own") ==
      0);
  CHECK(all(parse_config("[agent]\nstorage = \"simulated\"\n")).find("f:2: agent.compute = \"libvirt\"") ==
        0);
  CHECK(all(parse_config("[cloud]\nroles = [\"api\", \"api\", \"controller\"]\n")) ==
        "f:2: cloud.roles names \"api\" twice: leave one out");
  CHECK(all(parse_config("[log]\nplace = \"kafka:x\"\n")).find("f:2: log.place = \"kafka:x\": ") == 0);
}

TEST_CASE("the reference file names every key, and reads back as the defaults") {
  const std::string text = documented_config("lab", "embedded");
  const auto parsed = parse_config(text);
  CHECK(all(parsed) == "");
  CHECK(parsed.config.name == "lab");
  // With every line switched on it must still be what the defaults are.
  std::string active;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (!(text[i] == '#' && text[i + 1] != ' ')) active += text[i];
  const auto again = parse_config(active);
  CHECK(all(again) == "");
  int keys = 0;
  Config defaults;
  each_setting(defaults, [&](const char*, const char* key, auto&, const auto&, const char* doc) {
    ++keys;
    CHECK(active.find(std::string("\n") + key + " = ") != std::string::npos);
    CHECK(std::string(doc).size() > 5);
  });
  CHECK(keys > 40);
  CHECK(again.config.controller.lease_ms == defaults.controller.lease_ms);
}

// Random bytes, and random edits of a good file: never a crash, and a mistake always has a line of the file.
TEST_CASE("any bytes are survived") {
  std::mt19937_64 random(20261122);
  const std::string good = documented_config("lab", "embedded") + "\n[zzz]\nx = [1, 2, {a = 'b'}]\n";
  const std::string tokens = "[]{}=\"'#.,\n\\ \t0123456789eE+-_truefalsinapi\xff\x80\xc3\xa9";
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    if (round % 3 == 0) {
      for (auto n = random() % 200; n > 0; --n) text += static_cast<char>(random());
    } else if (round % 3 == 1) {
      for (auto n = random() % 300; n > 0; --n) text += tokens[random() % tokens.size()];
    } else {
      text = good.substr(0, random() % good.size());
      for (auto n = random() % 8; n > 0 && !text.empty(); --n)
        text[random() % text.size()] = tokens[random() % tokens.size()];
    }
    const auto parsed = parse_config(text);
    const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
    for (const auto& mistake : parsed.mistakes) {
      if (mistake.line < 0 || mistake.line > lines || mistake.text.empty())
        FAIL("line " << mistake.line << " of " << text);
    }
  }
}

TEST_CASE("deep nesting is refused, not recursed into") {
  CHECK_FALSE(parse_config("x = " + std::string(100'000, '[')).mistakes.empty());
  CHECK_FALSE(parse_config(std::string(2 << 20, ' ')).mistakes.empty());
}
