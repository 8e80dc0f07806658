#include "controlplane/api/ssh_key.h"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>

#include <array>
#include <memory>
#include <vector>

namespace reprise::api {
namespace {

constexpr std::size_t line_bytes_max = 16 * 1024;

// The parts that follow the type in the key's bytes, and what is known of the first ones.
struct KeyType {
  std::string_view name;
  int parts;
  std::string_view curve;  // the first part, when it is a curve's name
};
constexpr std::array<KeyType, 8> key_types = {{
    {"ssh-rsa", 2, ""},
    {"ssh-dss", 4, ""},
    {"ssh-ed25519", 1, ""},
    {"ecdsa-sha2-nistp256", 2, "nistp256"},
    {"ecdsa-sha2-nistp384", 2, "nistp384"},
    {"ecdsa-sha2-nistp521", 2, "nistp521"},
    {"sk-ssh-ed25519@openssh.com", 2, ""},
    {"sk-ecdsa-sha2-nistp256@openssh.com", 3, "nistp256"},
}};

Error bad(std::string text) { return {Errc::invalid, std::move(text)}; }

// One length-prefixed part off the front; false when it is cut off.
bool take_part(std::string_view& bytes, std::string_view& part) {
  if (bytes.size() < 4) return false;
  std::size_t size = 0;
  for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(bytes[i]);
  bytes.remove_prefix(4);
  if (size > bytes.size()) return false;
  part = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return true;
}

std::string md5_of(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_md5(), nullptr) != 1) return {};
  std::string text;
  for (unsigned i = 0; i < size; ++i)
    fmt::format_to(std::back_inserter(text), "{}{:02x}", i == 0 ? "" : ":", digest[i]);
  return text;
}

Status check_parts(const KeyType& type, std::string_view bytes) {
  std::string_view part;
  if (!take_part(bytes, part) || part != type.name)
    return bad(fmt::format("the key's bytes do not say {}: copy the whole line of the .pub file", type.name));
  std::size_t largest = 0;
  for (int i = 0; i < type.parts; ++i) {
    if (!take_part(bytes, part) || part.empty())
      return bad("the key is cut short: copy the whole line of the .pub file");
    if (i == 0 && !type.curve.empty() && part != type.curve)
      return bad(fmt::format("the key's curve is not {}", type.curve));
    if (i == 0 && type.name.find("ed25519") != std::string_view::npos && part.size() != 32)
      return bad("an ed25519 key has 32 bytes, this one has not");
    largest = std::max(largest, part.size());
  }
  if (!bytes.empty()) return bad("the key is followed by bytes that do not belong to it");
  if (type.name == "ssh-rsa" && largest < 128)
    return bad("the RSA key is shorter than 1024 bits: make one of 2048 or more");
  return {};
}

}  // namespace

Result<SshPublicKey> parse_ssh_key(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r' || line.back() == ' '))
    line.remove_suffix(1);
  if (line.size() > line_bytes_max)
    return bad(fmt::format("the public key is longer than {} bytes", line_bytes_max));
  if (line.find_first_of("\r\n") != std::string_view::npos) return bad("the public key must be one line");
  if (line.find("PRIVATE KEY") != std::string_view::npos)
    return bad("this is a private key: keep it, and give the .pub file beside it");
  const auto first = line.find(' ');
  if (first == std::string_view::npos)
    return bad("a public key is a type, a space and base64, as in the .pub file");
  SshPublicKey key;
  key.type = line.substr(0, first);
  auto rest = line.substr(first + 1);
  while (!rest.empty() && rest[0] == ' ') rest.remove_prefix(1);
  const auto base64 = rest.substr(0, rest.find(' '));
  if (base64.size() < rest.size()) key.comment = rest.substr(base64.size() + 1);

  const KeyType* type = nullptr;
  for (const auto& known : key_types)
    if (known.name == key.type) type = &known;
  if (type == nullptr)
    return bad("the key's type is not one that OpenSSH knows: use ssh-ed25519, ecdsa-sha2-… or ssh-rsa");
  std::string bytes(base64.size(), '\0');
  std::size_t size = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), base64.data(),
                        base64.size(), nullptr, &size, nullptr, sodium_base64_VARIANT_ORIGINAL) != 0)
    return bad("the key is not valid base64: copy the whole line of the .pub file");
  bytes.resize(size);
  if (auto status = check_parts(*type, bytes); !status) return status.error();
  key.fingerprint = md5_of(bytes);
  return key;
}

namespace {

void put_part(std::string& bytes, std::string_view part) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(part.size() >> shift));
  bytes.append(part);
}

// An mpint (RFC 4251 5): big-endian, a zero in front when the top bit is set.
std::string mpint(const BIGNUM* number) {
  std::vector<unsigned char> raw(static_cast<std::size_t>(BN_num_bytes(number)));
  BN_bn2bin(number, raw.data());
  std::string text;
  if (!raw.empty() && (raw[0] & 0x80) != 0) text.push_back('\0');
  text.append(reinterpret_cast<const char*>(raw.data()), raw.size());
  return text;
}

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, Freer<BN_free>>;

NumberPtr number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* number = nullptr;
  EVP_PKEY_get_bn_param(key, name, &number);
  return NumberPtr(number);
}

}  // namespace

Result<SshKeyPair> generate_ssh_key(std::string_view comment) {
  const KeyPtr key(EVP_RSA_gen(2048));
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (!key || !out ||
      PEM_write_bio_PrivateKey_traditional(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return {Errc::no_space, "OpenSSL could not make an RSA key: try again, or give a public key of your own"};
  char* data = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &data);
  const auto n = number_of(key.get(), OSSL_PKEY_PARAM_RSA_N);
  const auto e = number_of(key.get(), OSSL_PKEY_PARAM_RSA_E);
  CHECK(n && e);
  std::string bytes;
  put_part(bytes, "ssh-rsa");
  put_part(bytes, mpint(e.get()));
  put_part(bytes, mpint(n.get()));
  std::string base64(sodium_base64_encoded_len(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(base64.data(), base64.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), sodium_base64_VARIANT_ORIGINAL);
  base64.pop_back();  // its terminating zero
  return SshKeyPair{std::string(data, static_cast<std::size_t>(size)),
                    fmt::format("ssh-rsa {} {}", base64, comment)};
}

}  // namespace reprise::api
