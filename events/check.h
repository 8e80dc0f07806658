// CHECK(condition): stays on in release. A broken invariant stops the process with file, line and
// the condition: going on with a wrong state would put it into the log for ever.
#pragma once

namespace reprise {
[[noreturn]] void check_failed(const char* file, int line, const char* condition);
}  // namespace reprise

#define CHECK(condition) \
  do { \
    if (!(condition)) [[unlikely]] ::reprise::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)
