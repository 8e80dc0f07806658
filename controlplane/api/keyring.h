// The keys that never enter the log: one file of mode 0600 in the state folder.
//
// - Token keys: the first makes tokens, all open them. Rotation puts a new one in front.
// - One key per project seals what its users keep secret (user data, private parts) before it enters the log,
//   which is for ever. Destroying a project's key makes all of it unreadable, for ever too.
//
// Every change is on disk (written beside, synced, renamed, folder synced) before it is used; a crash leaves
// the old file or the new one. All calls may come from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "events/ids.h"
#include "events/result.h"

namespace reprise::api {

using SecretKey = std::array<std::uint8_t, 32>;

struct TokenKey {
  std::uint32_t id = 0;
  SecretKey key{};
};

class Keyring {
 public:
  // Makes a keyring with one token key; never writes over one.
  static Status create(const std::string& path, CloudId cloud);
  // Refuses a file that others can read, and (when `cloud` is given) one of another cloud.
  static Result<std::unique_ptr<Keyring>> open(const std::string& path, CloudId cloud = {});

  ~Keyring();
  CloudId cloud() const { return cloud_; }

  TokenKey making_key() const;
  std::optional<TokenKey> token_key(std::uint32_t id) const;
  // A new key in front; at most `keep` of them stay, so tokens of the oldest stop working.
  Status rotate_tokens(std::size_t keep);

  bool has_project(ProjectId project) const;
  Status add_project(ProjectId project);      // nothing when it is there
  Status destroy_project(ProjectId project);  // nothing when it is not

  // `purpose` is bound to the secret: what was sealed as a server's user data opens as nothing else.
  Result<std::string> seal(ProjectId project, std::string_view purpose, std::string_view plain) const;
  Result<std::string> unseal(ProjectId project, std::string_view purpose, std::string_view sealed) const;
  // A hash that only who has the project's key can compute: it may stand beside a secret's text for ever.
  Result<Hash> fingerprint(ProjectId project, std::string_view purpose, std::string_view text) const;

 private:
  Keyring(std::string path, CloudId cloud) : path_(std::move(path)), cloud_(cloud) {}
  Status load(std::string_view text);
  Status save() const;

  const std::string path_;
  CloudId cloud_;
  mutable std::shared_mutex mutex_;
  std::vector<TokenKey> token_keys_;
  std::map<ProjectId, SecretKey> projects_;
};

}  // namespace reprise::api
