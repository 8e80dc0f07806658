// A client's regular expression over names, as nova's list filters take them: found anywhere in the name,
// unless anchored. POSIX extended; what could take long to match (back references) or to compile (counted
// repetitions) is refused.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "events/result.h"

namespace reprise::api {

class NamePattern {
 public:
  // invalid: what is wrong with it.
  static Result<NamePattern> make(std::string_view text);
  bool matches(const std::string& name) const;

 private:
  struct Compiled;
  std::string plain_;  // a part of the name, when there is nothing special in the pattern
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace reprise::api
