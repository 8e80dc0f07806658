#include "controlplane/api/name_pattern.h"

#include <fmt/format.h>
#include <regex.h>

namespace reprise::api {
namespace {

constexpr std::size_t pattern_bytes_max = 255;
constexpr std::string_view special = ".[]{}()\\*+?|^$";

bool has_back_reference(std::string_view text) {
  for (std::size_t i = 0; i + 1 < text.size(); ++i)
    if (text[i] == '\\') {
      ++i;
      if (text[i] >= '1' && text[i] <= '9') return true;
    }
  return false;
}

}  // namespace

struct NamePattern::Compiled {
  regex_t regex{};
  bool good = false;
  ~Compiled() {
    if (good) regfree(&regex);
  }
};

Result<NamePattern> NamePattern::make(std::string_view text) {
  NamePattern pattern;
  if (text.size() > pattern_bytes_max)
    return Error{Errc::invalid, fmt::format("must have at most {} bytes", pattern_bytes_max)};
  pattern.plain_ = text;
  if (text.find_first_of(special) == text.npos) return pattern;
  if (text.find('{') != text.npos || has_back_reference(text))
    return Error{Errc::invalid, "may have no counted repetition ({…}) and no back reference"};
  const auto compiled = std::make_shared<Compiled>();
  const int error = regcomp(&compiled->regex, pattern.plain_.c_str(), REG_EXTENDED | REG_NOSUB);
  if (error != 0) {
    char why[128];
    regerror(error, &compiled->regex, why, sizeof why);
    return Error{Errc::invalid, fmt::format("is not a regular expression: {}", why)};
  }
  compiled->good = true;
  pattern.compiled_ = compiled;
  return pattern;
}

bool NamePattern::matches(const std::string& name) const {
  if (!compiled_) return name.find(plain_) != std::string::npos;
  return regexec(&compiled_->regex, name.c_str(), 0, nullptr, 0) == 0;
}

}  // namespace reprise::api
