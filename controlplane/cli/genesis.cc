#include "controlplane/cli/genesis.h"

#include <fmt/format.h>

#include <charconv>
#include <map>

#include "projections/fold.h"

namespace reprise::cli {
namespace {

struct NewFlavor {
  const char* id;
  const char* name;
  std::uint32_t vcpus;
  std::uint64_t ram_mib;
  std::uint64_t disk_gib;
};
// devstack's names and ids; nano is what the test guest needs.
constexpr NewFlavor flavors[] = {
    {"42", "m1.nano", 1, 96, 1},     {"1", "m1.tiny", 1, 512, 1},    {"2", "m1.small", 1, 2048, 20},
    {"3", "m1.medium", 2, 4096, 40}, {"4", "m1.large", 4, 8192, 80},
};

template <class C, class F>
void each_choice(C& c, F&& f) {
  f("cloud", c.cloud), f("log", c.log), f("project", c.project), f("user", c.user), f("admin", c.admin);
  f("member", c.member), f("reader", c.reader), f("node", c.node), f("name", c.name), f("place", c.place);
  f("password", c.password), f("password_hash", c.password_hash), f("at_ms", c.at_ms);
}

std::string text_of(const std::string& value) { return value; }
std::string text_of(std::int64_t value) { return std::to_string(value); }
template <class Tag>
std::string text_of(const Id<Tag>& value) {
  return value.str();
}

bool read(const std::string& text, std::string& into) { return into = text, !text.empty(); }
bool read(const std::string& text, std::int64_t& into) {
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), into);
  return failed == std::errc() && end == text.data() + text.size();
}
template <class Tag>
bool read(const std::string& text, Id<Tag>& into) {
  const auto id = Id<Tag>::parse(text);
  if (id) into = *id;
  return id.has_value();
}

}  // namespace

std::string encode_choices(const GenesisChoices& choices) {
  std::string text;
  each_choice(choices, [&](const char* key, const auto& value) {
    text += fmt::format("{} {}\n", key, text_of(value));
  });
  return text;
}

Result<GenesisChoices> decode_choices(std::string_view text) {
  std::map<std::string, std::string> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const auto space = line.find(' ');
    if (space != line.npos) lines.emplace(line.substr(0, space), line.substr(space + 1));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  GenesisChoices choices;
  std::string wrong;
  each_choice(choices, [&](const char* key, auto& value) {
    if (!read(lines[key], value) && wrong.empty()) wrong = key;
  });
  if (!wrong.empty()) return {Errc::broken, fmt::format("\"{}\" is missing or unreadable", wrong)};
  return choices;
}

Record genesis_record(const GenesisChoices& c) {
  Decision decision;
  auto& events = decision.events;
  events.push_back(CloudCreated{.cloud = c.cloud, .log = c.log, .name = c.name});
  events.push_back(ProjectCreated{.id = c.project, .name = "admin", .description = "The operators' project"});
  events.push_back(UserCreated{.id = c.user,
                               .name = "admin",
                               .password_hash = c.password_hash,
                               .enabled = true,
                               .default_project = c.project});
  events.push_back(
      RoleCreated{.id = c.admin, .name = "admin", .description = "may do everything, everywhere"});
  events.push_back(
      RoleCreated{.id = c.member, .name = "member", .description = "may change what its project has"});
  events.push_back(
      RoleCreated{.id = c.reader, .name = "reader", .description = "may see what its project has"});
  events.push_back(RoleAssigned{.project = c.project, .user = c.user, .role = c.admin});
  events.push_back(RoleAssigned{.project = c.project, .user = c.user, .role = c.member});
  events.push_back(RoleAssigned{.project = c.project, .user = c.user, .role = c.reader});
  for (const auto& f : flavors)
    events.push_back(FlavorCreated{.id = f.id,
                                   .name = f.name,
                                   .vcpus = f.vcpus,
                                   .ram_mib = f.ram_mib,
                                   .disk_gib = f.disk_gib,
                                   .is_public = true});
  events.push_back(LevelRaised{.level = level::newest});
  Record record{.log = c.log, .level = 1, .seq = 1, .at_ms = c.at_ms};
  record.decisions.push_back(std::move(decision));
  State state;
  fold(state, record);
  record.digest = state.digest();
  return record;
}

}  // namespace reprise::cli
