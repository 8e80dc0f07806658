// Runs every tests/scripts/*.txt. BLESS=1 rewrites the transcripts: review the diff.
// Each script runs again with the controller, then every node's agents, killed at each step: what
// happened to the cloud must be the same.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "events/codec.h"
#include "tests/scripts/script.h"
#undef CHECK  // in tests Catch2's is meant
#include <catch2/catch.hpp>

namespace {

namespace fs = std::filesystem;
using namespace reprise;

std::string slurp(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<fs::path> scripts() {
  std::vector<fs::path> all;
  for (const auto& entry : fs::directory_iterator(REPRISE_SCRIPTS))
    if (entry.path().extension() == ".txt" && entry.path().filename() != "CMakeLists.txt") all.push_back(entry.path());
  std::sort(all.begin(), all.end());
  return all;
}

// What the first has and the second has not, and the other way round, a line each.
std::string difference(const std::multiset<std::string>& a, const std::multiset<std::string>& b) {
  std::string text;
  std::vector<std::string> only;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(only));
  for (const auto& line : only) text += "- " + line + "\n";
  only.clear();
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(only));
  for (const auto& line : only) text += "+ " + line + "\n";
  return text;
}

// The lines of a run in any order: two nodes' agents are asked in any order after a crash.
std::multiset<std::string> lines_of(const script::Run& run) {
  std::multiset<std::string> lines;
  for (const auto& transcript : run.transcripts) {
    std::istringstream in(transcript);
    for (std::string line; std::getline(in, line);) lines.insert(line);
  }
  return lines;
}

}  // namespace

TEST_CASE("scripts end as they are written") {
  for (const auto& path : scripts()) {
    INFO(path.filename());
    auto blocks = script::parse(slurp(path));
    const auto run = script::run(blocks);
    REQUIRE(run.trouble == "");
    REQUIRE(run.transcripts.size() == blocks.size());
    if (std::getenv("BLESS")) {
      for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i].transcript = run.transcripts[i];
      std::ofstream(path) << script::print(blocks);
      continue;
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      INFO((blocks[i].commands.empty() ? "" : blocks[i].commands[0]));
      CHECK(run.transcripts[i] == blocks[i].transcript);
    }
  }
}

TEST_CASE("every intent of the catalog has a script") {
  std::set<std::string> used;
  for (const auto& path : scripts())
    for (const auto& intent : script::intents_of(script::parse(slurp(path)))) used.insert(intent);
  for (int type = 1; type <= static_cast<int>(IntentType::MAX); ++type) {
    const std::string name = intent_name(static_cast<IntentType>(type));
    INFO(name << " is in no tests/scripts/*.txt");
    CHECK(used.contains(name));
  }
}

TEST_CASE("a controller killed at any step changes nothing of what happened") {
  for (const auto& path : scripts()) {
    const auto blocks = script::parse(slurp(path));
    const auto plain = script::run(blocks);
    for (int step = 1; step <= plain.records; ++step) {
      INFO(path.filename() << ", controller killed at record " << step);
      const auto run = script::run(blocks, {script::Kill::controller, step});
      REQUIRE(run.trouble == "");
      CHECK(difference(lines_of(plain), lines_of(run)) == "");
    }
  }
}

TEST_CASE("agents killed at any step change nothing of what happened") {
  for (const auto& path : scripts()) {
    const auto blocks = script::parse(slurp(path));
    const auto plain = script::run(blocks, {script::Kill::agent, 1'000'000});
    for (int step = 1; step <= plain.records; ++step) {
      INFO(path.filename() << ", agents killed at record " << step);
      const auto run = script::run(blocks, {script::Kill::agent, step});
      REQUIRE(run.trouble == "");
      CHECK(difference(lines_of(plain), lines_of(run)) == "");
    }
  }
}
