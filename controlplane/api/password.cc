#include "controlplane/api/password.h"

#include <sodium.h>

#include <array>

#include "events/check.h"

namespace reprise::api {

PasswordPool::PasswordPool(int threads, std::size_t queue_max, PasswordCost cost)
    : cost_(cost), nobody_(hash_now("nobody")), pool_(threads, queue_max) {}

std::string PasswordPool::hash_now(const std::string& password) const {
  CHECK(sodium_init() >= 0);
  std::array<char, crypto_pwhash_STRBYTES> text{};
  // Fails only without memory for it: then nothing else works either.
  CHECK(crypto_pwhash_str_alg(text.data(), password.data(), password.size(), cost_.passes, cost_.memory_bytes,
                              crypto_pwhash_ALG_ARGON2ID13) == 0);
  return text.data();
}

bool PasswordPool::hash(std::string password, std::function<void(std::string)> then) {
  return pool_.post([this, password = std::move(password), then = std::move(then)]() mutable {
    auto text = hash_now(password);
    sodium_memzero(password.data(), password.size());
    then(std::move(text));
  });
}

bool PasswordPool::verify(std::string password, std::string hash, std::function<void(bool)> then) {
  return pool_.post(
      [this, password = std::move(password), hash = std::move(hash), then = std::move(then)]() mutable {
        const auto& against = hash.empty() ? nobody_ : hash;
        const bool right = crypto_pwhash_str_verify(against.c_str(), password.data(), password.size()) == 0;
        sodium_memzero(password.data(), password.size());
        then(right && !hash.empty());
      });
}

}  // namespace reprise::api
