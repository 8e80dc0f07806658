#include "controlplane/api/token.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace reprise::api {
namespace {

constexpr std::uint8_t token_version = 2;
constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::size_t open_bytes = 1 + 4 + nonce_bytes;            // version, key id, nonce
constexpr std::size_t plain_bytes = 16 + 16 + 8 + 8 + 8 + 16 + 1;  // the claims
constexpr std::size_t whole_bytes = open_bytes + plain_bytes + tag_bytes;
constexpr int base64_variant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

using Plain = std::array<unsigned char, plain_bytes>;
using Whole = std::array<unsigned char, whole_bytes>;

void put(unsigned char*& to, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) *to++ = static_cast<unsigned char>(value >> shift);
}

std::uint64_t take(const unsigned char*& from) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | *from++;
  return value;
}

// The version, the key's id and the cloud are authenticated with the claims.
std::array<unsigned char, 21> bound(const Whole& whole, CloudId cloud) {
  std::array<unsigned char, 21> data{};
  std::memcpy(data.data(), whole.data(), 5);
  auto* to = data.data() + 5;
  put(to, cloud.hi);
  put(to, cloud.lo);
  return data;
}

}  // namespace

std::string make_token(const Keyring& keyring, const TokenClaims& claims) {
  const auto key = keyring.making_key();
  Plain plain;
  auto* to = plain.data();
  for (const auto part :
       {claims.user.hi, claims.user.lo, claims.project.hi, claims.project.lo, claims.issued_ms,
        claims.credentials, claims.expires_ms, claims.audit.hi, claims.audit.lo})
    put(to, part);
  *to = claims.methods;

  Whole whole;
  whole[0] = token_version;
  std::memcpy(whole.data() + 1, &key.id, 4);
  randombytes_buf(whole.data() + 5, nonce_bytes);
  const auto data = bound(whole, keyring.cloud());
  crypto_aead_xchacha20poly1305_ietf_encrypt(whole.data() + open_bytes, nullptr, plain.data(), plain.size(),
                                             data.data(), data.size(), nullptr, whole.data() + 5,
                                             key.key.data());
  std::array<char, sodium_base64_ENCODED_LEN(whole_bytes, base64_variant)> text{};
  sodium_bin2base64(text.data(), text.size(), whole.data(), whole.size(), base64_variant);
  return text.data();
}

Result<TokenClaims> open_token(const Keyring& keyring, std::string_view token, std::uint64_t now_ms) {
  const Error forged{Errc::invalid,
                     "the token was not made by this cloud, or its key was rotated away: ask for a new one"};
  // libsodium takes any byte above 0x7f for a '_': one token would have many spellings.
  if (std::any_of(token.begin(), token.end(), [](char c) { return static_cast<unsigned char>(c) > 0x7f; }))
    return forged;
  Whole whole;
  std::size_t size = 0;
  if (sodium_base642bin(whole.data(), whole.size(), token.data(), token.size(), nullptr, &size, nullptr,
                        base64_variant) != 0 ||
      size != whole.size() || whole[0] != token_version)
    return forged;
  std::uint32_t key_id = 0;
  std::memcpy(&key_id, whole.data() + 1, 4);
  const auto key = keyring.token_key(key_id);
  if (!key) return forged;
  Plain plain;
  const auto data = bound(whole, keyring.cloud());
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain.data(), nullptr, nullptr, whole.data() + open_bytes,
                                                 whole.size() - open_bytes, data.data(), data.size(),
                                                 whole.data() + 5, key->key.data()) != 0)
    return forged;
  TokenClaims claims;
  const auto* from = static_cast<const unsigned char*>(plain.data());
  for (auto* part :
       {&claims.user.hi, &claims.user.lo, &claims.project.hi, &claims.project.lo, &claims.issued_ms,
        &claims.credentials, &claims.expires_ms, &claims.audit.hi, &claims.audit.lo})
    *part = take(from);
  claims.methods = *from;
  if (claims.expires_ms <= now_ms) return {Errc::timed_out, "the token has expired: ask for a new one"};
  return claims;
}

std::string audit_text(AnyId audit) {
  std::array<unsigned char, 16> bytes;
  auto* to = bytes.data();
  put(to, audit.hi);
  put(to, audit.lo);
  std::array<char, 32> text{};
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), base64_variant);
  return text.data();
}

}  // namespace reprise::api
