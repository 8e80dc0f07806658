// Stateless tokens: who, for which project, until when, encrypted and authenticated (XChaCha20-Poly1305), in
// base64url. Nothing is stored anywhere; roles are looked up at each use, so that a role taken away counts at
// once. Revocation is an event that names the audit id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "controlplane/api/keyring.h"
#include "events/ids.h"
#include "events/result.h"

namespace reprise::api {

enum TokenMethod : std::uint8_t { by_password = 1, by_token = 2, by_application_credential = 4 };

struct TokenClaims {
  UserId user;
  ProjectId project;            // none: unscoped
  std::uint64_t issued_ms = 0;  // wall time
  std::uint64_t credentials = 0;  // credentials_of() its user when it was issued: it ends when they change
  std::uint64_t expires_ms = 0;
  AnyId audit;
  std::uint8_t methods = by_password;

  bool operator==(const TokenClaims&) const = default;
};

std::string make_token(const Keyring& keyring, const TokenClaims& claims);

// Errc::invalid: not made by this cloud, or damaged. Errc::timed_out: it has expired.
Result<TokenClaims> open_token(const Keyring& keyring, std::string_view token, std::uint64_t now_ms);

// As keystone prints audit ids: base64url of the 16 bytes.
std::string audit_text(AnyId audit);

}  // namespace reprise::api
