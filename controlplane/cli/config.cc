#include "controlplane/cli/config.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "controlplane/cli/settings.h"
#include "events/log_place.h"

namespace reprise::cli {
namespace {

constexpr std::size_t config_bytes_max = 1 << 20;
constexpr std::size_t syntax_errors_max = 32;

int line_of(const toml::node& node) { return static_cast<int>(node.source().begin.line); }

const char* kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number";
    case toml::node_type::boolean:
      return "a truth value";
    default:
      return "a date or time";
  }
}

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 63) return false;
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_host(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '.' || c == ':'; });
}

// What is wrong with a text and what to write instead; empty: nothing.
std::string wrong_text(const Text& rule, std::string_view text) {
  if (text.empty()) return rule.may_be_empty ? "" : "must not be empty";
  if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return "holds a control character: write it on one line";
  switch (rule.rule) {
    case TextRule::any:
      return {};
    case TextRule::name:
      return is_name(text) ? "" : "may hold up to 63 letters, digits, '-', '_' and '.'";
    case TextRule::log_place: {
      if (text == "embedded") return {};
      const auto place = parse_log_place(text);
      return place ? "" : place.error().text;
    }
    case TextRule::listen_address:
      return is_host(text) ? "" : "must be an address, such as 127.0.0.1";
    case TextRule::url:
      return text.find("://") != text.npos || text.find(":///") != text.npos
                 ? ""
                 : "must be a URL, such as http://HOST:PORT";
    case TextRule::path:
      return text[0] == '/' ? "" : "must be an absolute path";
  }
  return {};
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

// The known word nearest to one that is not; empty when none is near.
std::string nearest(std::string_view word, const std::set<std::string>& known) {
  std::string best;
  std::size_t least = word.size() > 64 ? 0 : std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto& candidate : known) {
    const std::size_t d = least == 0 ? 1 : distance(word, candidate);
    if (d < least) least = d, best = candidate;
  }
  return best;
}

std::string shown(std::string_view word) {
  std::string text;
  for (const unsigned char c : word.substr(0, 64)) text += c < 0x20 || c >= 0x7f ? '?' : static_cast<char>(c);
  return text;
}

std::string join(const std::vector<std::string_view>& words) {
  return fmt::format("\"{}\"", fmt::join(words, "\", \""));
}

class Reader {
 public:
  Reader(const toml::table& root, ParsedConfig& into) : root_(root), into_(into) {}

  void read() {
    each_setting(into_.config,
                 [this](const char* section, const char* key, auto& field, const auto& rule, const char*) {
                   known_[section].insert(key);
                   const auto* table = root_.get_as<toml::table>(section);
                   const toml::node* node = table ? table->get(key) : nullptr;
                   if (node) take(fmt::format("{}.{}", section, key), *node, field, rule);
                 });
    refuse_unknown();
    refuse_combinations();
  }

 private:
  void note(int line, std::string text) { into_.mistakes.push_back({line, std::move(text)}); }

  void wrong_kind(const std::string& key, const toml::node& node, const std::string& wanted) {
    note(line_of(node), fmt::format("{} is {}: it must be {}", key, kind_of(node), wanted));
  }

  void take(const std::string& key, const toml::node& node, std::string& field, const Text& rule) {
    const auto text = node.value_exact<std::string>();
    if (!text) return wrong_kind(key, node, "a text in quotes");
    if (const std::string wrong = wrong_text(rule, *text); !wrong.empty())
      return note(line_of(node), fmt::format("{} = \"{}\": {}", key, shown(*text), wrong));
    field = *text;
  }

  void take(const std::string& key, const toml::node& node, std::string& field, const Words& rule) {
    const auto text = node.value_exact<std::string>();
    if (!text) return wrong_kind(key, node, "one of " + join(rule.words));
    if (std::find(rule.words.begin(), rule.words.end(), *text) == rule.words.end())
      return note(line_of(node),
                  fmt::format("{} = \"{}\": it must be one of {}", key, shown(*text), join(rule.words)));
    field = *text;
  }

  void take(const std::string& key, const toml::node& node, std::vector<std::string>& field,
            const Words& rule) {
    const auto* list = node.as_array();
    if (!list) return wrong_kind(key, node, "a list of " + join(rule.words));
    if (list->empty())
      return note(line_of(node), fmt::format("{} is empty: name at least one of {}", key, join(rule.words)));
    std::vector<std::string> words;
    for (const auto& item : *list) {
      std::string word;
      const std::size_t before = into_.mistakes.size();
      take(key, item, word, rule);
      if (into_.mistakes.size() != before) continue;
      if (std::find(words.begin(), words.end(), word) != words.end())
        note(line_of(item), fmt::format("{} names \"{}\" twice: leave one out", key, word));
      else words.push_back(word);
    }
    field = words;
  }

  void take(const std::string& key, const toml::node& node, std::int64_t& field, const Whole& rule) {
    const auto number = node.value_exact<std::int64_t>();
    if (!number)
      return wrong_kind(key, node, fmt::format("a whole number from {} to {}", rule.least, rule.most));
    if (*number < rule.least || *number > rule.most)
      return note(line_of(node),
                  fmt::format("{} = {}: it must be from {} to {}", key, *number, rule.least, rule.most));
    field = *number;
  }

  void take(const std::string& key, const toml::node& node, bool& field, const Truth&) {
    const auto truth = node.value_exact<bool>();
    if (!truth) return wrong_kind(key, node, "true or false");
    field = *truth;
  }

  void take(const std::string& key, const toml::node& node, double& field, const Real& rule) {
    if (!node.is_number())
      return wrong_kind(key, node, fmt::format("a number from {} to {}", rule.least, rule.most));
    const double number = *node.value<double>();
    if (!(number >= rule.least && number <= rule.most))
      return note(line_of(node),
                  fmt::format("{} = {}: it must be from {} to {}", key, number, rule.least, rule.most));
    field = number;
  }

  void refuse_unknown() {
    std::set<std::string> sections, everywhere;
    for (const auto& [section, keys] : known_) {
      sections.insert(section);
      for (const auto& key : keys) everywhere.insert(fmt::format("{}.{}", section, key));
    }
    for (const auto& [name, node] : root_) {
      const std::string section(name.str());
      const auto known = known_.find(section);
      const auto* table = node.as_table();
      if (known == known_.end()) {
        refuse_section(section, node, sections, everywhere);
      } else if (!table) {
        note(line_of(node), fmt::format("{} is {}: it must be a table, begun by a line [{}]", section,
                                        kind_of(node), section));
      } else {
        for (const auto& [key, value] : *table)
          if (!known->second.contains(std::string(key.str())))
            refuse_key(fmt::format("{}.{}", section, key.str()), std::string(key.str()), known->second, value,
                       everywhere);
      }
    }
  }

  void refuse_section(const std::string& section, const toml::node& node,
                      const std::set<std::string>& sections, const std::set<std::string>& everywhere) {
    if (!node.is_table()) return refuse_key(section, section, {}, node, everywhere);
    const std::string near = nearest(section, sections);
    note(line_of(node),
         fmt::format("there is no section [{}]: {}", shown(section),
                     near.empty() ? fmt::format("the sections are {}", fmt::join(sections, ", "))
                                  : fmt::format("is [{}] meant?", near)));
  }

  void refuse_key(const std::string& path, const std::string& key, const std::set<std::string>& siblings,
                  const toml::node& node, const std::set<std::string>& everywhere) {
    std::string near = nearest(key, siblings);
    for (const auto& other : everywhere)  // the right key in the wrong section
      if (near.empty() && other.substr(other.find('.') + 1) == key) near = other;
    if (near.empty() && !siblings.empty()) near = fmt::format("{}", fmt::join(siblings, ", "));
    note(line_of(node),
         near.empty() ? fmt::format("there is no key {}: take it out", shown(path))
                      : fmt::format("there is no key {}: is one of these meant: {}?", shown(path), near));
  }

  int line_of_key(const char* section, const char* key) const {
    const auto* node = root_.at_path(fmt::format("{}.{}", section, key)).node();
    return node ? line_of(*node) : 0;
  }

  void refuse_combinations() {
    const Config& c = into_.config;
    const bool simulated =
        c.agent.compute == "simulated" && c.agent.storage == "simulated" && c.agent.network == "simulated";
    if (c.simulated.nodes > 1 && !simulated)
      note(
          line_of_key("simulated", "nodes"),
          "simulated.nodes is more than 1, but not all of agent.compute, agent.storage and agent.network are "
          "\"simulated\": a real host is one node");
    if (c.log.place.starts_with("embedded") && !(c.has_role("api") && c.has_role("controller")))
      note(line_of_key("cloud", "roles"),
           "an embedded log is one process's own: cloud.roles must name both \"api\" and \"controller\", or "
           "log.place a Kafka");
    if (c.agent.compute == "libvirt" && c.agent.storage == "simulated")
      note(line_of_key("agent", "storage"),
           "agent.compute = \"libvirt\" starts real guests, which need real disks: set agent.storage = "
           "\"local\"");
    if (c.agent.compute == "libvirt" && c.agent.network == "simulated")
      note(line_of_key("agent", "network"),
           "agent.compute = \"libvirt\" starts real guests, which need a real network: set agent.network = "
           "\"ovs\"");
  }

  const toml::table& root_;
  ParsedConfig& into_;
  std::map<std::string, std::set<std::string>> known_;
};

// toml++ stops at the first syntax error: that line is blanked out, and the rest is read again.
toml::table parse_leniently(std::string text, std::vector<Mistake>& mistakes) {
  while (true) {
    try {
      return toml::parse(std::string_view(text));
    } catch (const toml::parse_error& error) {
      const int line = static_cast<int>(error.source().begin.line);
      mistakes.push_back({line, std::string(error.description())});
      std::size_t begin = 0;
      for (int at = 1; at < line && begin != text.npos; ++at) {
        begin = text.find('\n', begin);
        if (begin != text.npos) ++begin;
      }
      if (begin == text.npos || begin >= text.size() || mistakes.size() >= syntax_errors_max) return {};
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      bool blank = true;
      for (std::size_t i = begin; i < end; ++i) {
        blank = blank && text[i] == ' ';
        text[i] = ' ';
      }
      if (blank) return {};  // nothing more can be taken away
    } catch (const std::exception& error) {
      mistakes.push_back({0, error.what()});
      return {};
    }
  }
}

std::string value_text(const std::string& value) { return fmt::format("\"{}\"", value); }
std::string value_text(const std::vector<std::string>& value) {
  return fmt::format("[\"{}\"]", fmt::join(value, "\", \""));
}
std::string value_text(std::int64_t value) { return fmt::format("{}", value); }
std::string value_text(double value) {
  return value == std::floor(value) ? fmt::format("{:.1f}", value) : fmt::format("{}", value);
}

std::string value_text(bool value) { return value ? "true" : "false"; }
std::string range_text(const Truth&) { return {}; }
std::string range_text(const Text&) { return {}; }
std::string range_text(const Words& rule) { return fmt::format("; of {}", join(rule.words)); }
std::string range_text(const Whole& rule) { return fmt::format("; {} to {}", rule.least, rule.most); }
std::string range_text(const Real& rule) { return fmt::format("; {} to {}", rule.least, rule.most); }

}  // namespace

bool Config::has_role(std::string_view role) const {
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

ParsedConfig parse_config(std::string_view text) {
  ParsedConfig parsed;
  if (text.size() > config_bytes_max) {
    parsed.mistakes.push_back(
        {0, fmt::format("it has {} bytes: a configuration has at most {}", text.size(), config_bytes_max)});
    return parsed;
  }
  const toml::table root = parse_leniently(std::string(text), parsed.mistakes);
  Reader(root, parsed).read();
  std::stable_sort(parsed.mistakes.begin(), parsed.mistakes.end(),
                   [](auto& a, auto& b) { return a.line < b.line; });
  return parsed;
}

std::string mistakes_text(const std::string& path, const std::vector<Mistake>& mistakes) {
  std::string text;
  for (const auto& mistake : mistakes) {
    if (!text.empty()) text += '\n';
    text += mistake.line ? fmt::format("{}:{}: {}", path, mistake.line, mistake.text)
                         : fmt::format("{}: {}", path, mistake.text);
  }
  return text;
}

Result<Config> read_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    text.resize(config_bytes_max + 1);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
  }
  if (!file.is_open() || file.bad() || (file.fail() && !file.eof()))
    return {Errc::not_found,
            fmt::format("the configuration {} cannot be read: {}", path, std::strerror(errno))};
  auto parsed = parse_config(text);
  if (!parsed.mistakes.empty()) return {Errc::invalid, mistakes_text(path, parsed.mistakes)};
  return std::move(parsed.config);
}

std::string documented_config(std::string_view name, std::string_view log_place) {
  std::string text =
      "# Reprise's configuration. A commented line shows the default. Check a change: reprise config check "
      "FILE\n";
  std::string open;
  Config defaults;
  each_setting(defaults,
               [&](const char* section, const char* key, auto& field, const auto& rule, const char* doc) {
                 if (open != section) text += fmt::format("\n[{}]\n", section);
                 open = section;
                 text += fmt::format("# {}{}\n", doc, range_text(rule));
                 const std::string path = fmt::format("{}.{}", section, key);
                 if (path == "cloud.name") text += fmt::format("name = \"{}\"\n", name);
                 else if (path == "log.place") text += fmt::format("place = \"{}\"\n", log_place);
                 else text += fmt::format("#{} = {}\n", key, value_text(field));
               });
  return text;
}

}  // namespace reprise::cli
