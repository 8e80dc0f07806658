#include <catch2/catch.hpp>  // last: its CHECK replaces ours
#include "events/hash.h"
#include "tests/sim/prng.h"

namespace reprise {
namespace {

TEST_CASE("BLAKE2b-256 is RFC 7693's") {
  CHECK(blake2b("").hex() == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  CHECK(blake2b("abc").hex() == "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

TEST_CASE("a digest is the sum of what is in it, in any order") {
  sim::Prng prng(1);
  std::vector<Hash> hashes;
  for (int i = 0; i < 200; ++i) hashes.push_back(blake2b(std::to_string(prng.next())));
  Digest forward, backward, mixed;
  for (const auto& hash : hashes) forward.add(hash);
  for (auto at = hashes.rbegin(); at != hashes.rend(); ++at) backward.add(*at);
  for (const auto& hash : hashes) mixed.take(hash);  // below zero and back
  for (const auto& hash : hashes) mixed.add(hash), mixed.add(hash);
  CHECK(forward == backward);
  CHECK(forward == mixed);
  for (const auto& hash : hashes) forward.take(hash);
  CHECK(forward.value() == Hash{});
}

TEST_CASE("a digest carries from word to word") {
  Hash ones;
  ones.bytes.fill(0xff);
  Hash one;
  one.bytes[0] = 1;
  Digest digest;
  digest.add(ones);
  digest.add(one);
  CHECK(digest.value() == Hash{});
  digest.take(one);
  CHECK(digest.value() == ones);
  Hash low = one;  // 1 + (2^64 - 1) = 2^64
  Digest carried;
  carried.add(low);
  Hash word;
  for (int i = 0; i < 8; ++i) word.bytes[static_cast<std::size_t>(i)] = 0xff;
  carried.add(word);
  Hash want;
  want.bytes[8] = 1;
  CHECK(carried.value() == want);
}

}  // namespace
}  // namespace reprise
