// Any text as a configuration: every mistake is found in one go, and has words and a line of the file.
#include <algorithm>
#include <cstdlib>

#include "controlplane/cli/config.h"

using namespace reprise::cli;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = parse_config(text);
  const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
  for (const auto& mistake : parsed.mistakes)
    if (mistake.text.empty() || mistake.line < 0 || mistake.line > lines + 1) std::abort();
  (void)mistakes_text("a file", parsed.mistakes);
  return 0;
}
