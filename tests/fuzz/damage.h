// Damages texts in ways that can be repeated: for requests that no client would send.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace reprise::api {

class Damage {
 public:
  explicit Damage(std::uint32_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }
  std::string damage(std::string text) {
    for (std::size_t n = below(4); n > 0; --n) once(text);
    return text;
  }

 private:
  void once(std::string& text) {
    constexpr const char* pieces[] = {"null",
                                      "[]",
                                      "{}",
                                      "\"\"",
                                      "-1",
                                      "9223372036854775808",
                                      "1e400",
                                      "true",
                                      "\\u0000",
                                      "\"",
                                      "[[[[[[[[[[[[[[[[[[",
                                      "\xff\xfe",
                                      "\xc3",
                                      "..",
                                      "%00",
                                      "\n",
                                      "0.0.0.0/0",
                                      "255.255.255.255",
                                      "\"\\ud800\"",
                                      "{\"a\":{\"a\":{}}}"};
    const auto at = below(text.size() + 1);
    switch (below(5)) {
      case 0:
        text.insert(at, pieces[below(std::size(pieces))]);
        break;
      case 1:
        text.erase(at, below(12));
        break;
      case 2:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
        break;
      case 3:
        text.insert(at, text.substr(below(text.size() + 1), below(40)));
        break;
      case 4:  // one JSON value for another
        if (const auto colon = text.find(':', at); colon != text.npos) {
          auto end = text.find_first_of(",}", colon);
          if (end == text.npos) end = text.size();
          text.replace(colon + 1, end - colon - 1, pieces[below(std::size(pieces))]);
        }
        break;
    }
  }
  std::mt19937 random_;
};

inline void replace_all(std::string& text, std::string_view what, const std::string& with) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

}  // namespace reprise::api
