#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <future>
#include <sstream>

#include "controlplane/api/keyring.h"
#include "controlplane/api/password.h"
#include "controlplane/api/ssh_key.h"
#include "controlplane/api/token.h"
#include "tests/unit/api_catch.h"

using namespace reprise;
using namespace reprise::api;

namespace {

struct Folder {
  Folder() {
    REQUIRE(::mkdtemp(name) != nullptr);
    path = std::string(name) + "/keyring";
  }
  ~Folder() {
    ::unlink(path.c_str());
    ::rmdir(name);
  }
  char name[32] = "/tmp/api_keys_XXXXXX";
  std::string path;
};

const CloudId cloud{1, 2};

std::unique_ptr<Keyring> made(const Folder& folder) {
  REQUIRE(Keyring::create(folder.path, cloud).ok());
  auto opened = Keyring::open(folder.path, cloud);
  REQUIRE(opened.ok());
  return std::move(*opened);
}

std::string read(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

constexpr PasswordCost cheap{1, 8192};

}  // namespace

TEST_CASE("keyring: private, never written over, and only its own cloud's") {
  Folder folder;
  const auto keyring = made(folder);
  CHECK(keyring->cloud() == cloud);
  struct stat about {};
  REQUIRE(::stat(folder.path.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0600);
  CHECK(Keyring::create(folder.path, cloud).error().code == Errc::exists);
  CHECK(Keyring::open(folder.path, {9, 9}).error().code == Errc::conflict);
  ::chmod(folder.path.c_str(), 0644);
  CHECK(Keyring::open(folder.path, cloud).error().code == Errc::denied);
  CHECK(Keyring::open(folder.path + "x", cloud).error().code == Errc::not_found);
}

TEST_CASE("keyring: a damaged file is said to be damaged") {
  Folder folder;
  made(folder);
  const auto whole = read(folder.path);
  for (
      const auto& text :
      {std::string(), whole.substr(0, whole.size() / 2), std::string("{}"),
       std::string(
           R"({"keyring":1,"cloud":"2b0f0c1e-2b3c-4d5e-8f90-0123456789ab","token_keys":[],"projects":{}})"),
       std::string(
           R"({"keyring":1,"cloud":"2b0f0c1e-2b3c-4d5e-8f90-0123456789ab","token_keys":[{"id":1,"key":"AAAA"}],"projects":{}})")}) {
    std::ofstream(folder.path) << text;
    CHECK(Keyring::open(folder.path).error().code == Errc::broken);
  }
}

TEST_CASE("keyring: a secret opens for its project and purpose, until the key is destroyed") {
  Folder folder;
  const ProjectId mine{3, 4};
  const ProjectId other{5, 6};
  std::string sealed;
  {
    const auto keyring = made(folder);
    CHECK(keyring->seal(mine, "user_data", "x").error().code == Errc::not_found);
    REQUIRE(keyring->add_project(mine).ok());
    REQUIRE(keyring->add_project(mine).ok());
    REQUIRE(keyring->add_project(other).ok());
    sealed = *keyring->seal(mine, "user_data", "the secret");
    CHECK(sealed.find("secret") == std::string::npos);
    CHECK(*keyring->seal(mine, "user_data", "the secret") != sealed);
  }
  auto opened = Keyring::open(folder.path, cloud);
  REQUIRE(opened.ok());
  auto& keyring = **opened;
  CHECK(*keyring.unseal(mine, "user_data", sealed) == "the secret");
  CHECK(keyring.unseal(mine, "other", sealed).error().code == Errc::broken);
  CHECK(keyring.unseal(other, "user_data", sealed).error().code == Errc::broken);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto bent = sealed;
    bent[i] = static_cast<char>(bent[i] ^ 1);
    CHECK_FALSE(keyring.unseal(mine, "user_data", bent).ok());
    CHECK_FALSE(keyring.unseal(mine, "user_data", sealed.substr(0, i)).ok());
  }
  CHECK(*keyring.unseal(mine, "e", *keyring.seal(mine, "e", "")) == "");
  REQUIRE(keyring.destroy_project(mine).ok());
  REQUIRE(keyring.destroy_project(mine).ok());
  CHECK(keyring.unseal(mine, "user_data", sealed).error().code == Errc::not_found);
  auto again = Keyring::open(folder.path, cloud);
  CHECK_FALSE((*again)->has_project(mine));
  CHECK((*again)->has_project(other));
}

TEST_CASE("tokens: carry their claims, expire, and are not forged") {
  Folder folder;
  const auto keyring = made(folder);
  const TokenClaims claims{{1, 2}, {3, 4}, 1000, 900, 5000, {5, 6}, by_password};
  const auto token = make_token(*keyring, claims);
  CHECK(token.size() < 255);
  CHECK(token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
        std::string::npos);
  CHECK(*open_token(*keyring, token, 4999) == claims);
  CHECK(open_token(*keyring, token, 5000).error().code == Errc::timed_out);
  for (std::size_t i = 0; i < token.size(); ++i) {
    auto bent = token;
    bent[i] = bent[i] == 'A' ? 'B' : 'A';
    CHECK(open_token(*keyring, bent, 2000).error().code == Errc::invalid);
    bent[i] = '\xef';  // read as '_' by libsodium
    CHECK(open_token(*keyring, bent, 2000).error().code == Errc::invalid);
  }
  for (const auto& text :
       {std::string(), token + "A", token.substr(1), std::string("gAAAA"), std::string(10000, 'A')})
    CHECK(open_token(*keyring, text, 2000).error().code == Errc::invalid);
  Folder elsewhere;
  CHECK(open_token(*made(elsewhere), token, 2000).error().code == Errc::invalid);
  CHECK(audit_text({0, 0}) == "AAAAAAAAAAAAAAAAAAAAAA");
}

TEST_CASE("tokens: a rotated key still opens until it is dropped") {
  Folder folder;
  const auto keyring = made(folder);
  const TokenClaims claims{{1, 2}, {}, 1000, 900, 5000, {5, 6}, by_token};
  const auto token = make_token(*keyring, claims);
  REQUIRE(keyring->rotate_tokens(2).ok());
  CHECK(*open_token(*keyring, token, 2000) == claims);
  auto reopened = Keyring::open(folder.path, cloud);
  CHECK(*open_token(**reopened, token, 2000) == claims);
  CHECK(*open_token(**reopened, make_token(*keyring, claims), 2000) == claims);
  REQUIRE(keyring->rotate_tokens(2).ok());
  CHECK_FALSE(open_token(*keyring, token, 2000).ok());
}

TEST_CASE("passwords: right, wrong, nobody's, and no more waiting than allowed") {
  PasswordPool pool(1, 2, cheap);
  const auto hash = pool.hash_now("sesame");
  CHECK(hash.find("$argon2id$") == 0);
  const auto verify = [&](std::string password, std::string against) {
    std::promise<bool> promise;
    REQUIRE(
        pool.verify({"me", "here"}, std::move(password), std::move(against), [&](bool right) { promise.set_value(right); }));
    return promise.get_future().get();
  };
  CHECK(verify("sesame", hash));
  CHECK_FALSE(verify("sesam", hash));
  CHECK_FALSE(verify("nobody", ""));
  CHECK_FALSE(verify("sesame", "$argon2id$garbage"));

  std::promise<void> started, release;
  auto released = release.get_future().share();
  REQUIRE(pool.hash("a", [&](std::string) {
    started.set_value();
    released.wait();
  }));
  started.get_future().wait();
  std::promise<std::string> second;
  REQUIRE(pool.hash("b", [&](std::string made_hash) { second.set_value(std::move(made_hash)); }));
  REQUIRE(pool.hash("c", [](std::string) {}));
  CHECK_FALSE(pool.hash("d", [](std::string) {}));
  release.set_value();
  CHECK(verify("b", second.get_future().get()));
}

TEST_CASE("passwords: who was wrong keeps nobody else waiting, and what is known costs nothing") {
  PasswordPool pool(1, 4, cheap);
  const auto hash = pool.hash_now("sesame");
  const auto verify = [&](PasswordPool::Asker asker, std::string password) {
    std::promise<bool> promise;
    REQUIRE(pool.verify(asker, std::move(password), hash, [&](bool right) { promise.set_value(right); }));
    return promise.get_future().get();
  };
  CHECK_FALSE(verify({"eve", "there"}, "wrong"));

  std::promise<void> started, release;
  auto released = release.get_future().share();
  REQUIRE(pool.hash("a", [&](std::string) {
    started.set_value();
    released.wait();
  }));
  started.get_future().wait();
  // Four of the wrong one's wait, and no more of them; the right one waits beside them.
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) REQUIRE(pool.verify({"eve", "there"}, fmt::format("wrong {}", i), hash, [&](bool) { ++wrong; }));
  CHECK_FALSE(pool.verify({"eve", "there"}, "wrong too", hash, [](bool) {}));
  std::promise<int> before;
  REQUIRE(pool.verify({"me", "here"}, "sesame", hash, [&](bool right) { before.set_value(right ? wrong.load() : -1); }));
  // Known already: at once, although the worker is busy.
  bool known = true;
  REQUIRE(pool.verify({"eve", "there"}, "wrong", hash, [&](bool right) { known = right; }));
  CHECK_FALSE(known);
  release.set_value();
  CHECK(before.get_future().get() <= 1);
  bool right = false;
  REQUIRE(pool.verify({"eve", "there"}, "sesame", hash, [&](bool answer) { right = answer; }));
  CHECK(right);
}

TEST_CASE("ssh keys: the .pub lines of OpenSSH are known, with the fingerprint that it prints") {
  // ssh-keygen -l -E md5 says the same of these.
  const auto ed = parse_ssh_key(
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEDkIbDBO3XU+EzEUiag3mMnECajQsYQHpI9f6x74XLd me@host\n");
  REQUIRE(ed.ok());
  CHECK(ed->type == "ssh-ed25519");
  CHECK(ed->comment == "me@host");
  CHECK(ed->fingerprint == "3d:92:e8:5b:9d:7a:e5:22:75:b1:4e:71:67:7e:18:a2");
  const auto ec = parse_ssh_key(
      "ecdsa-sha2-nistp256 "
      "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCeHDX84+3KcPmHZVPf3zDBzgo+"
      "MAvZha16km3qs9cNJKUNmYaob7cqk1uDuSKC4iC0Uw8attuufEmjO7bY3pf4=");
  REQUIRE(ec.ok());
  CHECK(ec->fingerprint == "95:b6:05:57:e6:c1:44:26:94:5e:76:f4:8f:94:2b:23");
}

TEST_CASE("ssh keys: what is not a public key is refused with the reason") {
  const auto refused = [](std::string_view line) {
    const auto key = parse_ssh_key(line);
    REQUIRE_FALSE(key.ok());
    return key.error().text;
  };
  const std::string ed = "AAAAC3NzaC1lZDI1NTE5AAAAIEDkIbDBO3XU+EzEUiag3mMnECajQsYQHpI9f6x74XLd";
  CHECK(refused("").find("a type, a space and base64") != std::string::npos);
  CHECK(refused("hello world").find("type") != std::string::npos);
  CHECK(refused("ssh-ed25519 !!!!").find("base64") != std::string::npos);
  CHECK(refused("ssh-rsa " + ed).find("do not say ssh-rsa") != std::string::npos);
  CHECK(refused("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMRrZSvaXW2+").find("cut short") != std::string::npos);
  CHECK(refused("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5").find("cut short") != std::string::npos);
  CHECK(refused("ssh-ed25519 " + ed + "\nssh-ed25519 " + ed).find("one line") != std::string::npos);
  CHECK(refused("-----BEGIN OPENSSH PRIVATE KEY----- x").find("private key") != std::string::npos);
  CHECK(refused("ssh-rsa " + std::string(20000, 'A')).find("longer") != std::string::npos);
}

TEST_CASE("ssh keys: a pair that is made is a pair") {
  const auto pair = generate_ssh_key("Generated-by-Reprise");
  REQUIRE(pair.ok());
  CHECK(pair->private_pem.find("-----BEGIN RSA PRIVATE KEY-----\n") == 0);
  const auto key = parse_ssh_key(pair->public_line);
  REQUIRE(key.ok());
  CHECK(key->type == "ssh-rsa");
  CHECK(key->comment == "Generated-by-Reprise");
  CHECK(key->fingerprint.size() == 47);
}
