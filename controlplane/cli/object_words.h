// How an object is named on the command line: [KIND] NAME, or its UUID.
#pragma once

#include <string>
#include <vector>

namespace reprise::cli {

struct ObjectWords {
  std::vector<std::string> words;  // two at most

  std::string name() const { return words.empty() ? std::string() : words.back(); }  // empty: none was given
  std::string kind() const { return words.size() < 2 ? std::string() : words.front(); }  // empty: any
};

}  // namespace reprise::cli
