// Operating errors as values: one code per reaction that a caller can have, and words for a person.
// Expected refusals are not errors (see Refusal); a broken invariant stops the process (see check.h).
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "events/check.h"

namespace reprise {

enum class Errc {
  ok,
  again,          // nothing is wrong: ask again when woken, or after a while
  invalid,        // what was given is not acceptable as it is; giving it again will not help
  not_found,      // the thing asked for is not there
  exists,         // it is there already, and is another's
  conflict,       // it is there, in a state that forbids this
  no_space,       // disk, quota of the file system, memory: free some and try again
  denied,         // permissions, locks held by others
  unreachable,    // the other side does not answer: try again later
  timed_out,      // unknown whether it was done
  session_broken, // this producer's session ended by an earlier failure: make a new one
  broken,         // data is not what it must be: stop and tell a person
  unsupported,    // will never work here
};
const char* errc_name(Errc code);

struct Error {
  Errc code = Errc::ok;
  std::string text;  // what is wrong, with which thing, and what to do next
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::move(value)) {}                        // NOLINT: implicit by intent
  Result(Error error) : held_(std::move(error)) { CHECK(this->error().code != Errc::ok); }  // NOLINT
  Result(Errc code, std::string text) : held_(Error{code, std::move(text)}) {}

  explicit operator bool() const { return std::holds_alternative<T>(held_); }
  bool ok() const { return std::holds_alternative<T>(held_); }
  T& operator*() & { CHECK(ok()); return std::get<T>(held_); }
  const T& operator*() const& { CHECK(ok()); return std::get<T>(held_); }
  T&& operator*() && { CHECK(ok()); return std::get<T>(std::move(held_)); }
  T* operator->() { CHECK(ok()); return &std::get<T>(held_); }
  const T* operator->() const { CHECK(ok()); return &std::get<T>(held_); }
  const Error& error() const { return std::get<Error>(held_); }

 private:
  std::variant<T, Error> held_;
};

// The result of what has nothing to give back.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT: implicit by intent
  Status(Errc code, std::string text) : error_{code, std::move(text)} {}

  explicit operator bool() const { return error_.code == Errc::ok; }
  bool ok() const { return error_.code == Errc::ok; }
  const Error& error() const { return error_; }

 private:
  Error error_;
};

}  // namespace reprise
