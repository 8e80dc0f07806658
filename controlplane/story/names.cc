#include "controlplane/story/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

namespace reprise::story {
namespace {

constexpr std::string_view server_kind = "server";
constexpr std::size_t alike_max = 8;  // named when a word means several

// f(kind, null) for each table whose rows have names.
template <class F>
void each_kind(F&& f) {
  f(server_kind.data(), static_cast<const Server*>(nullptr));
  f("port", static_cast<const Port*>(nullptr));
  f("volume", static_cast<const Volume*>(nullptr));
  f("image", static_cast<const Image*>(nullptr));
  f("network", static_cast<const Network*>(nullptr));
  f("subnet", static_cast<const Subnet*>(nullptr));
  f("node", static_cast<const Node*>(nullptr));
  f("user", static_cast<const User*>(nullptr));
  f("project", static_cast<const Project*>(nullptr));
  f("role", static_cast<const Role*>(nullptr));
}

struct Named {
  std::string_view kind;
  AnyId id;
};

bool may_be(std::string_view kind, std::initializer_list<std::string_view> kinds) {
  return kinds.size() == 0 || std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

// "server, port, volume …": those that can be meant.
std::string listed(std::initializer_list<std::string_view> kinds) {
  std::string list;
  each_kind([&](const char* of, const auto*) {
    if (may_be(of, kinds)) list += fmt::format("{}{}", list.empty() ? "" : ", ", of);
  });
  return list;
}

Status check_kind(std::string_view kind, std::initializer_list<std::string_view> kinds) {
  bool known = kind.empty();
  each_kind([&](const char* of, const auto*) { known = known || (kind == of && may_be(of, kinds)); });
  if (known) return {};
  return {Errc::invalid, fmt::format("'{}' is no kind that can be meant here, which are: {}. A name of several words "
                                     "is given in quotes",
                                     kind, listed(kinds))};
}

Error nothing_called(const View& view, std::string_view word, std::string_view kind,
                     std::initializer_list<std::string_view> kinds) {
  return {Errc::not_found,
          fmt::format("no {} is called '{}' at seq {}: give its UUID, also of one that is gone",
                      kind.empty() ? listed(kinds) : kind, word, view.seq())};
}

Error several_called(std::string_view word, const std::vector<Named>& all) {
  std::string alike;
  for (std::size_t i = 0; i < all.size() && i < alike_max; ++i)
    alike += fmt::format("{}{} {}", i == 0 ? "" : ", ", all[i].kind, all[i].id.str());
  return {Errc::invalid, fmt::format("{} are called '{}': {}{}. Give the kind before the name, or the UUID of one",
                                     all.size(), word, alike, all.size() > alike_max ? " …" : "")};
}

// f(kind, row) for the object of that id, whichever table it is in.
template <class F>
void with_object(const View& view, AnyId id, F&& f) {
  bool found = false;
  each_kind([&]<class Row>(const char* kind, const Row*) {
    if (found) return;
    if (const auto row = view.find<Row>(id.as<typename Row::Key>())) found = true, f(kind, *row);
  });
}

}  // namespace

std::string name_of(const View& view, AnyId id) {
  std::string name;
  with_object(view, id, [&](const char*, const auto& row) { name = row.name; });
  return name;
}

std::string kind_of(const View& view, AnyId id) {
  std::string kind;
  with_object(view, id, [&](const char* known, const auto&) { kind = known; });
  return kind;
}

Result<AnyId> object_of(const View& view, std::string_view word, std::string_view kind,
                        std::initializer_list<std::string_view> kinds) {
  if (auto known = check_kind(kind, kinds); !known) return known.error();
  if (const auto id = AnyId::parse(word)) return *id;
  std::vector<Named> all;
  each_kind([&]<class Row>(const char* of, const Row*) {
    if (!(kind.empty() ? may_be(of, kinds) : kind == of)) return;
    view.each<Row>([&](const Row& row) {
      if (row.name == word) all.push_back({of, row.id.template as<AnyId>()});
    });
  });
  if (!view.status()) return view.status().error();
  if (all.size() == 1) return all[0].id;
  const auto is_server = [](const Named& one) { return one.kind == server_kind; };
  if (std::count_if(all.begin(), all.end(), is_server) == 1) return std::find_if(all.begin(), all.end(), is_server)->id;
  return all.empty() ? nothing_called(view, word, kind, kinds) : several_called(word, all);
}

NameOf labels(const View& view) {
  auto known = std::make_shared<std::map<AnyId, std::string>>();
  return [&view, known](AnyId id) {
    auto [at, fresh] = known->try_emplace(id);
    if (fresh)
      if (const std::string name = name_of(view, id); !name.empty())
        at->second = fmt::format("{} ({})", name, id.str());
    return at->second;
  };
}

}  // namespace reprise::story
