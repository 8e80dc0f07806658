#include "controlplane/story/names.h"

#include <fmt/format.h>

#include <map>
#include <memory>

namespace reprise::story {
namespace {

// f(kind, row) for the object of that id, whichever table it is in.
template <class F>
void with_object(const View& view, AnyId id, F&& f) {
  bool found = false;
  const auto look = [&]<class Row>(const char* kind, const Row*) {
    if (found) return;
    if (const auto row = view.find<Row>(id.as<typename Row::Key>())) found = true, f(kind, *row);
  };
  look("server", static_cast<const Server*>(nullptr));
  look("port", static_cast<const Port*>(nullptr));
  look("volume", static_cast<const Volume*>(nullptr));
  look("image", static_cast<const Image*>(nullptr));
  look("network", static_cast<const Network*>(nullptr));
  look("subnet", static_cast<const Subnet*>(nullptr));
  look("node", static_cast<const Node*>(nullptr));
  look("user", static_cast<const User*>(nullptr));
  look("project", static_cast<const Project*>(nullptr));
  look("role", static_cast<const Role*>(nullptr));
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
