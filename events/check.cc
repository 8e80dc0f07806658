#include "events/check.h"

#include <cstdio>
#include <cstdlib>

#include "events/result.h"

namespace reprise {

void check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "reprise: broken invariant at %s:%d: %s\n", file, line, condition);
  std::fflush(stderr);
  std::abort();
}

const char* errc_name(Errc code) {
  switch (code) {
    case Errc::ok: return "ok";
    case Errc::again: return "again";
    case Errc::invalid: return "invalid";
    case Errc::not_found: return "not_found";
    case Errc::exists: return "exists";
    case Errc::conflict: return "conflict";
    case Errc::no_space: return "no_space";
    case Errc::denied: return "denied";
    case Errc::unreachable: return "unreachable";
    case Errc::timed_out: return "timed_out";
    case Errc::session_broken: return "session_broken";
    case Errc::broken: return "broken";
    case Errc::unsupported: return "unsupported";
  }
  return "?";
}

}  // namespace reprise
