// The first record of a log: what a new cloud is made of. Pure: the same choices give the same record.
#pragma once

#include <string>
#include <string_view>

#include "events/codec.h"
#include "events/result.h"

namespace reprise::cli {

// Everything about a new cloud that is chosen or random. Kept on disk until init has ended, so that one that
// was interrupted goes on to the very same cloud.
struct GenesisChoices {
  CloudId cloud;
  LogId log;
  ProjectId project;
  UserId user;
  RoleId admin, member, reader;
  NodeId node;
  std::string name;
  std::string place;
  std::string password;
  std::string password_hash;
  std::int64_t at_ms = 0;

  bool operator==(const GenesisChoices&) const = default;
};

std::string encode_choices(const GenesisChoices& choices);
Result<GenesisChoices> decode_choices(std::string_view text);

Record genesis_record(const GenesisChoices& choices);

}  // namespace reprise::cli
