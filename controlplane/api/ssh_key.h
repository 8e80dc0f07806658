// OpenSSH public keys: checked before they go into the log, and made when a client gives none.
#pragma once

#include <string>
#include <string_view>

#include "events/result.h"

namespace reprise::api {

struct SshPublicKey {
  std::string type;         // "ssh-ed25519"
  std::string comment;      // may be empty
  std::string fingerprint;  // MD5 of the key's bytes, "aa:bb:…", as nova prints it
};

// One line "type base64 [comment]" (RFC 4253 6.6). The type must be known, the bytes must say the same type
// and hold exactly the parts that it has.
Result<SshPublicKey> parse_ssh_key(std::string_view line);

struct SshKeyPair {
  std::string private_pem;  // PKCS#1, as nova's
  std::string public_line;
};

// RSA, 2048 bits. Takes some 100 ms of CPU: never on an I/O thread.
Result<SshKeyPair> generate_ssh_key(std::string_view comment);

}  // namespace reprise::api
