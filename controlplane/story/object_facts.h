// What an object is, in OpenStack's words: its fields as its service names them. For people, and to compare.
// Only what describes the object: no counters, no times of change, nothing that only the machinery needs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/story/cause.h"

namespace reprise::story {

struct ObjectField {
  std::string_view name;
  std::string json;     // the value
  bool admin = false;   // only admins see it: which node
  bool secret = false;  // nobody sees it, only that it is another one
};

struct ObjectFacts {
  std::string_view kind;  // "server", "volume" …
  std::string id;         // as its service prints it
  std::string name;
  ProjectId project;               // whose it is; none: the cloud's, for admins
  UserId user;                     // whose alone it is; none: its project's
  AnyId trail;                     // what its records are filed under; none: under nothing
  std::vector<std::string> marks;  // what every event about it mentions, as its JSON has it
  std::vector<ObjectField> fields;  // of one kind always the same ones, in the same order

  bool seen_by(const Eyes& eyes) const {
    if (eyes.admin) return true;
    return user ? user == eyes.user : project && project == eyes.project;
  }
};

// f(Row*) for every kind of object that people know, with a null pointer of its row type.
template <class F>
void each_kind(F&& f) {
  f(static_cast<Server*>(nullptr)), f(static_cast<Volume*>(nullptr)), f(static_cast<Port*>(nullptr));
  f(static_cast<Network*>(nullptr)), f(static_cast<Subnet*>(nullptr)), f(static_cast<Image*>(nullptr));
  f(static_cast<Keypair*>(nullptr)), f(static_cast<Flavor*>(nullptr)), f(static_cast<Project*>(nullptr));
  f(static_cast<User*>(nullptr)), f(static_cast<Role*>(nullptr)), f(static_cast<RoleAssignment*>(nullptr));
  f(static_cast<Quota*>(nullptr)), f(static_cast<Node*>(nullptr)), f(static_cast<Cloud*>(nullptr));
}

// `view`: where the names of what it refers to are looked up.
ObjectFacts facts_of(const View& view, const Server& server);
ObjectFacts facts_of(const View& view, const Volume& volume);
ObjectFacts facts_of(const View& view, const Port& port);
ObjectFacts facts_of(const View& view, const Network& network);
ObjectFacts facts_of(const View& view, const Subnet& subnet);
ObjectFacts facts_of(const View& view, const Image& image);
ObjectFacts facts_of(const View& view, const Keypair& keypair);
ObjectFacts facts_of(const View& view, const Flavor& flavor);
ObjectFacts facts_of(const View& view, const Project& project);
ObjectFacts facts_of(const View& view, const User& user);
ObjectFacts facts_of(const View& view, const Role& role);
ObjectFacts facts_of(const View& view, const RoleAssignment& assignment);
ObjectFacts facts_of(const View& view, const Quota& quota);
ObjectFacts facts_of(const View& view, const Node& node);
ObjectFacts facts_of(const View& view, const Cloud& cloud);

}  // namespace reprise::story
