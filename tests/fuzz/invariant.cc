#include "tests/fuzz/invariant.h"

// reprise::check_failed, wrapped (see CMakeLists.txt).
extern "C" [[noreturn]] void __wrap__ZN7reprise12check_failedEPKciS1_(const char*, int, const char*) {
  throw reprise::fuzz::Invariant{};
}
