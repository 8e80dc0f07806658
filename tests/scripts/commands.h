// The commands of scripts: one line each, an intent each.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "events/codec.h"

namespace reprise::script {

// Labels for ids, in both directions. An unknown label gets the next id, always the same in each run.
class Labels {
 public:
  AnyId id(const std::string& label);
  std::string label(AnyId id) const;
  void name(AnyId id, const std::string& label);

 private:
  std::map<std::string, AnyId> ids_;
  std::map<AnyId, std::string> labels_;
  std::uint64_t next_ = 1;
};

struct Words {
  std::string command;
  std::string subject;                              // the second word
  std::vector<std::pair<std::string, std::string>> options;  // name=value, in order

  std::string get(const std::string& name, const std::string& otherwise = {}) const;
  std::int64_t number(const std::string& name, std::int64_t otherwise = 0) const;
  bool flag(const std::string& name, bool otherwise = false) const;
  std::vector<std::string> all(const std::string& name) const;
};
Words split(const std::string& line);

// What an intent's actor is, and what the commands may refer to.
struct Cast {
  Labels& labels;
  UserId user;
  ProjectId project;
};

// The intent of a command; nothing: it is no intent's (see world commands in script.cc).
std::optional<Intent> intent_of(const Words& words, Cast& cast);
// Every command's intent by name, for the test that walks the catalog.
std::map<std::string, std::string> command_intents();

}  // namespace reprise::script
