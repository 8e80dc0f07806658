#include "events/hash.h"

#include <sodium/crypto_generichash_blake2b.h>

#include <cstring>

#include "events/check.h"

namespace reprise {

__extension__ using Wide = unsigned __int128;

Hash blake2b(std::string_view bytes) {
  Hash hash;
  CHECK(crypto_generichash_blake2b(hash.bytes.data(), hash.bytes.size(),
                                   reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), nullptr, 0) == 0);
  return hash;
}

namespace {
std::array<std::uint64_t, 4> words_of(const Hash& hash) {
  std::array<std::uint64_t, 4> words;
  std::memcpy(words.data(), hash.bytes.data(), sizeof words);
  return words;
}
}  // namespace

void Digest::add(const Hash& hash) {
  const auto other = words_of(hash);
  Wide carry = 0;
  for (int i = 0; i < 4; ++i) {
    carry += static_cast<Wide>(words_[i]) + other[i];
    words_[i] = static_cast<std::uint64_t>(carry);
    carry >>= 64;
  }
}

void Digest::take(const Hash& hash) {
  const auto other = words_of(hash);
  std::uint64_t borrow = 0;
  for (int i = 0; i < 4; ++i) {
    const auto difference = static_cast<Wide>(words_[i]) - other[i] - borrow;
    words_[i] = static_cast<std::uint64_t>(difference);
    borrow = static_cast<std::uint64_t>(difference >> 64) & 1;
  }
}

Hash Digest::value() const {
  Hash hash;
  std::memcpy(hash.bytes.data(), words_.data(), sizeof words_);
  return hash;
}

}  // namespace reprise
