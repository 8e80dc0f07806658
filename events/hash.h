// BLAKE2b-256 (RFC 7693) by libsodium, and the 256-bit sum that makes the state's digest.
#pragma once

#include <string_view>

#include "events/ids.h"

namespace reprise {

Hash blake2b(std::string_view bytes);

// A multiset hash: the sum mod 2^256 of the hashes of what is in it. Adding and taking away are
// each other's undoing in any order, so that a change costs what changed and not the whole state.
class Digest {
 public:
  void add(const Hash& hash);
  void take(const Hash& hash);
  // Little-endian bytes of the sum.
  Hash value() const;
  bool operator==(const Digest&) const = default;

 private:
  std::array<std::uint64_t, 4> words_{};
};

}  // namespace reprise
