#include "controlplane/api/keyring.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "controlplane/api/json.h"
#include "controlplane/api/json_writer.h"

namespace reprise::api {
namespace {

constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr std::uint8_t seal_version = 1;
constexpr std::size_t projects_max = 1'000'000;

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

Error failed(const char* what, const std::string& path) {
  const auto code = errno == ENOSPC ? Errc::no_space : errno == ENOENT ? Errc::not_found : Errc::denied;
  return {code, fmt::format("cannot {} {}: {}", what, path, std::strerror(errno))};
}

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const auto n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("write", path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(fd) != 0) return failed("sync", path);
  return {};
}

// Whole or not at all, also when the power goes.
Status write_atomically(const std::string& path, std::string_view text) {
  const auto beside = path + ".new";
  ::unlink(beside.c_str());
  {
    const File file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (file.fd() < 0) return failed("create", beside);
    if (auto status = write_all(file.fd(), text, beside); !status) return status;
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed("rename to", path);
  const auto slash = path.rfind('/');
  const auto folder = slash == std::string::npos ? std::string(".") : path.substr(0, slash + 1);
  const File dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.fd() < 0 || ::fsync(dir.fd()) != 0) return failed("sync", folder);
  return {};
}

Result<std::string> read_private(const std::string& path) {
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) return failed("open the keyring", path);
  struct stat about {};
  if (::fstat(file.fd(), &about) != 0) return failed("look at", path);
  if ((about.st_mode & 077) != 0)
    return {Errc::denied,
            fmt::format("the keyring {} can be read by others (mode {:o}): chmod 600 it, and rotate its keys "
                        "if anybody else is on this machine",
                        path, about.st_mode & 0777)};
  std::string text(static_cast<std::size_t>(about.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const auto n = ::read(file.fd(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("read", path);
    done += static_cast<std::size_t>(n);
  }
  return text;
}

std::string encode(const SecretKey& key) {
  std::array<char, 64> text{};
  sodium_bin2base64(text.data(), text.size(), key.data(), key.size(), sodium_base64_VARIANT_ORIGINAL);
  return text.data();
}

bool decode(std::string_view text, SecretKey& key) {
  std::size_t size = 0;
  return sodium_base642bin(key.data(), key.size(), text.data(), text.size(), nullptr, &size, nullptr,
                           sodium_base64_VARIANT_ORIGINAL) == 0 &&
         size == key.size();
}

TokenKey fresh_token_key() {
  TokenKey made;
  randombytes_buf(&made.id, sizeof made.id);
  randombytes_buf(made.key.data(), made.key.size());
  return made;
}

Error damaged(const std::string& path, std::string_view why) {
  return {Errc::broken,
          fmt::format("the keyring {} is damaged: {}; put its backup back (tokens and sealed secrets are "
                      "lost without it)",
                      path, why)};
}

}  // namespace

Status Keyring::create(const std::string& path, CloudId cloud) {
  CHECK(sodium_init() >= 0);
  if (::access(path.c_str(), F_OK) == 0)
    return {Errc::exists,
            fmt::format("there is a keyring at {} already: choose another state folder, or remove it if its "
                        "cloud is not wanted any more",
                        path)};
  Keyring keyring(path, cloud);
  keyring.token_keys_.push_back(fresh_token_key());
  return keyring.save();
}

Result<std::unique_ptr<Keyring>> Keyring::open(const std::string& path, CloudId cloud) {
  CHECK(sodium_init() >= 0);
  auto text = read_private(path);
  if (!text) return text.error();
  std::unique_ptr<Keyring> keyring(new Keyring(path, {}));
  const auto status = keyring->load(*text);
  sodium_memzero(text->data(), text->size());
  if (!status) return status.error();
  if (cloud && keyring->cloud_ != cloud)
    return {Errc::conflict,
            fmt::format("the keyring {} belongs to cloud {}, not to {}: this state folder is another cloud's",
                        path, keyring->cloud_.str(), cloud.str())};
  return keyring;
}

Keyring::~Keyring() {
  for (auto& key : token_keys_) sodium_memzero(&key, sizeof key);
  for (auto& [id, key] : projects_) sodium_memzero(key.data(), key.size());
}

Status Keyring::load(std::string_view text) {
  auto document = JsonDocument::parse(text);
  if (!document) return damaged(path_, document.error().text);
  Mistakes mistakes;
  Fields root(*document, mistakes);
  root.integer("keyring", 1, 1);
  cloud_ = root.id("cloud").as<CloudId>();
  for (auto& one : root.objects("token_keys", 64)) {
    TokenKey key;
    key.id = static_cast<std::uint32_t>(one.integer("id", 0, 0xffffffff));
    if (!decode(one.string("key", 1, 64), key.key)) one.fail("key", "is not 32 bytes of base64");
    one.done();
    token_keys_.push_back(key);
  }
  for (const auto& [name, value] : root.string_map("projects", projects_max, 64)) {
    const auto id = ProjectId::parse(name);
    SecretKey key;
    if (!id || !decode(value, key)) root.fail(name, "is not a project's id and 32 bytes of base64");
    else projects_.emplace(*id, key);
  }
  root.done();
  if (!mistakes.empty()) return damaged(path_, mistakes.text());
  if (token_keys_.empty()) return damaged(path_, "it holds no token key");
  return {};
}

Status Keyring::save() const {
  std::string text;
  JsonWriter json(text);
  json.begin_object().field("keyring", 1).field("cloud", cloud_.str()).array("token_keys");
  for (const auto& key : token_keys_)
    json.begin_object().field("id", key.id).field("key", encode(key.key)).end_object();
  json.end_array().object("projects");
  for (const auto& [id, key] : projects_) json.field(id.hex(), encode(key));
  json.end_object().end_object();
  text.push_back('\n');
  auto status = write_atomically(path_, text);
  sodium_memzero(text.data(), text.size());
  return status;
}

TokenKey Keyring::making_key() const {
  const std::shared_lock lock(mutex_);
  return token_keys_.front();
}

std::optional<TokenKey> Keyring::token_key(std::uint32_t id) const {
  const std::shared_lock lock(mutex_);
  for (const auto& key : token_keys_)
    if (key.id == id) return key;
  return std::nullopt;
}

Status Keyring::rotate_tokens(std::size_t keep) {
  CHECK(keep > 0);
  const std::unique_lock lock(mutex_);
  auto before = token_keys_;
  token_keys_.insert(token_keys_.begin(), fresh_token_key());
  if (token_keys_.size() > keep) token_keys_.resize(keep);
  auto status = save();
  if (!status) token_keys_ = std::move(before);
  return status;
}

bool Keyring::has_project(ProjectId project) const {
  const std::shared_lock lock(mutex_);
  return projects_.contains(project);
}

Status Keyring::add_project(ProjectId project) {
  const std::unique_lock lock(mutex_);
  if (projects_.contains(project)) return {};
  SecretKey key;
  randombytes_buf(key.data(), key.size());
  projects_.emplace(project, key);
  auto status = save();
  if (!status) projects_.erase(project);
  return status;
}

Status Keyring::destroy_project(ProjectId project) {
  const std::unique_lock lock(mutex_);
  auto node = projects_.extract(project);
  if (node.empty()) return {};
  auto status = save();
  if (status) sodium_memzero(node.mapped().data(), node.mapped().size());
  else projects_.insert(std::move(node));
  return status;
}

// version ‖ nonce ‖ ciphertext ‖ tag; the purpose and the project are authenticated, not stored.
Result<std::string> Keyring::seal(ProjectId project, std::string_view purpose, std::string_view plain) const {
  const std::shared_lock lock(mutex_);
  const auto found = projects_.find(project);
  if (found == projects_.end())
    return {Errc::not_found, fmt::format("the keyring has no key for project {}", project.hex())};
  std::string sealed(1 + nonce_bytes + plain.size() + tag_bytes, '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(sealed.data());
  bytes[0] = seal_version;
  randombytes_buf(bytes + 1, nonce_bytes);
  const auto bound = fmt::format("{}:{}", project.hex(), purpose);
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      bytes + 1 + nonce_bytes, nullptr, reinterpret_cast<const unsigned char*>(plain.data()), plain.size(),
      reinterpret_cast<const unsigned char*>(bound.data()), bound.size(), nullptr, bytes + 1,
      found->second.data());
  return sealed;
}

Result<std::string> Keyring::unseal(ProjectId project, std::string_view purpose,
                                    std::string_view sealed) const {
  const std::shared_lock lock(mutex_);
  const auto found = projects_.find(project);
  if (found == projects_.end())
    return {Errc::not_found,
            fmt::format("the key of project {} was destroyed, or is in another keyring", project.hex())};
  const auto* bytes = reinterpret_cast<const unsigned char*>(sealed.data());
  if (sealed.size() < 1 + nonce_bytes + tag_bytes || bytes[0] != seal_version)
    return {Errc::broken, "a sealed secret is malformed"};
  const auto bound = fmt::format("{}:{}", project.hex(), purpose);
  std::string plain(sealed.size() - 1 - nonce_bytes - tag_bytes, '\0');
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<unsigned char*>(plain.data()), nullptr, nullptr, bytes + 1 + nonce_bytes,
          sealed.size() - 1 - nonce_bytes, reinterpret_cast<const unsigned char*>(bound.data()), bound.size(),
          bytes + 1, found->second.data()) != 0)
    return {Errc::broken, "a sealed secret does not open with its project's key for this purpose"};
  return plain;
}

Result<Hash> Keyring::fingerprint(ProjectId project, std::string_view purpose, std::string_view text) const {
  const std::shared_lock lock(mutex_);
  const auto found = projects_.find(project);
  if (found == projects_.end())
    return {Errc::not_found, fmt::format("the keyring has no key for project {}", project.hex())};
  crypto_generichash_state state;
  crypto_generichash_init(&state, found->second.data(), found->second.size(), sizeof(Hash::bytes));
  const auto add = [&](std::string_view part) {
    crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(part.data()), part.size());
  };
  add(fmt::format("{}:{}:", purpose.size(), purpose));
  add(text);
  Hash hash;
  crypto_generichash_final(&state, hash.bytes.data(), hash.bytes.size());
  return hash;
}

}  // namespace reprise::api
