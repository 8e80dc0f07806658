#include "tests/sim/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace reprise::sim {
namespace {

template <class Number>
bool parse(const std::string& text, Number& into) {
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), into);
  return wrong == std::errc() && end == text.data() + text.size();
}

bool parse_set(const std::string& text, std::set<std::uint64_t>& into) {
  for (std::size_t at = 0; at <= text.size();) {
    const auto comma = std::min(text.find(',', at), text.size());
    std::uint64_t number = 0;
    if (comma > at && !parse(text.substr(at, comma - at), number)) return false;
    if (comma > at) into.insert(number);
    at = comma + 1;
  }
  return true;
}

// An option that has a value; false: it has none, or it is not understood.
bool parse_value(const std::string& word, const std::string& value, RunOptions& options) {
  WorldOptions& world = options.world;
  if (word == "--nodes") return parse(value, world.nodes.emplace()) && *world.nodes > 0;
  if (word == "--controllers") return parse(value, world.controllers.emplace()) && *world.controllers > 0;
  if (word == "--storage") return world.shared = value == "shared", value == "shared" || value == "local";
  if (word == "--busy") return parse(value, world.busy_ms.emplace());
  if (word == "--patience") return parse(value, options.patience_s);
  if (word == "--jobs") return parse(value, options.jobs) && options.jobs > 0;
  if (word == "--faults") return world.faults = parse_faults(value), true;
  if (word == "--wishes") return value == "none" ? (world.wishes.emplace(), true) : parse_set(value, world.wishes.emplace());
  return false;
}

}  // namespace

std::string parse_options(const std::vector<std::string>& words, RunOptions& options) {
  int position = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--trace") options.world.trace = true;
    else if (word == "--twice") options.twice = true;
    else if (word == "--no-shrink") options.shrink = false;
    else if (word.starts_with("--")) {
      if (i + 1 == words.size() || !parse_value(word, words[i + 1], options)) return "not understood: " + word;
      ++i;
    } else if (position > 1 || !parse(word, position == 0 ? options.world.seed : options.count)) {
      return "not understood: " + word;
    } else {
      ++position;
    }
  }
  return {};
}

std::vector<std::string> world_words(const WorldOptions& options) {
  std::vector<std::string> words;
  const auto add = [&](const char* name, std::string value) { words.insert(words.end(), {name, std::move(value)}); };
  if (options.nodes) add("--nodes", std::to_string(*options.nodes));
  if (options.controllers) add("--controllers", std::to_string(*options.controllers));
  if (options.shared) add("--storage", *options.shared ? "shared" : "local");
  if (options.busy_ms) add("--busy", std::to_string(*options.busy_ms));
  if (options.faults) add("--faults", join_faults(*options.faults));
  if (options.wishes) add("--wishes", options.wishes->empty() ? "none" : fmt::format("{}", fmt::join(*options.wishes, ",")));
  return words;
}

}  // namespace reprise::sim
