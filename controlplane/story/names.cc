#include "controlplane/story/names.h"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <vector>

namespace reprise::story {
namespace {

constexpr std::size_t alike_max = 8;  // named when a word means several

// f(kind, null) for each table whose rows have names.
template <class F>
void each_kind(F&& f) {
  f("server", static_cast<const Server*>(nullptr));
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

Result<AnyId> object_of(const View& view, std::string_view word) {
  if (const auto id = AnyId::parse(word)) return *id;
  std::vector<AnyId> all;
  std::string alike;
  each_kind([&]<class Row>(const char* kind, const Row*) {
    view.each<Row>([&](const Row& row) {
      if (row.name != word) return;
      all.push_back(row.id.template as<AnyId>());
      if (all.size() <= alike_max) alike += fmt::format("{}{} {}", alike.empty() ? "" : ", ", kind, all.back().str());
    });
  });
  if (!view.status()) return view.status().error();
  if (all.size() == 1) return all[0];
  if (all.empty())
    return Error{Errc::not_found, fmt::format("nothing is called '{}' at seq {}: give the UUID of a server, volume, port, node …, "
                                              "also of one that is gone",
                                              word, view.seq())};
  return Error{Errc::invalid, fmt::format("{} are called '{}': {}{}. Give the UUID of one", all.size(), word, alike,
                                           all.size() > alike_max ? " …" : "")};
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
