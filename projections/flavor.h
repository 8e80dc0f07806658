// Flavors and keypairs.
#pragma once

#include "events/codec.h"
#include "projections/canonical.h"
#include "projections/meta.h"

namespace reprise {

struct State;

struct Flavor {
  using Key = std::string;
  static constexpr std::uint8_t table = 11;
  static constexpr const char* table_name = "flavors";

  std::string id;
  Born born;
  std::string name;
  std::uint32_t vcpus = 0;
  std::uint64_t ram_mib = 0;
  std::uint64_t disk_gib = 0;
  bool is_public = false;
  bool operator==(const Flavor&) const = default;

  Key key() const { return id; }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "id", s.id), f(2, "born", s.born), f(3, "name", s.name), f(4, "vcpus", s.vcpus), f(5, "ram_mib", s.ram_mib);
    f(6, "disk_gib", s.disk_gib), f(7, "is_public", s.is_public);
  }
};

struct KeypairKey {
  UserId user;
  std::string name;
  auto operator<=>(const KeypairKey&) const = default;
};
inline std::string encode_key(const KeypairKey& key) { return KeyWriter().id(key.user).rest(key.name); }
inline void decode_key(std::string_view bytes, KeypairKey& key) {
  KeyReader in(bytes);
  in.id(key.user);
  key.name = bytes.substr(16);
}

struct Keypair {
  using Key = KeypairKey;
  static constexpr std::uint8_t table = 12;
  static constexpr const char* table_name = "keypairs";

  KeypairKey id;
  Born born;
  ProjectId project;               // in which it was made: it counts there
  std::string public_key;
  std::string fingerprint;
  std::int64_t created_ms = 0;
  bool operator==(const Keypair&) const = default;

  Key key() const { return id; }
  template <class S, class F>
  static void fields(S& s, F&& f) {
    f(1, "user", s.id.user), f(2, "name", s.id.name), f(3, "born", s.born), f(4, "project", s.project);
    f(5, "public_key", s.public_key), f(6, "fingerprint", s.fingerprint), f(7, "created_ms", s.created_ms);
  }
};

namespace flavor {
void created(State&, const FlavorCreated&, const Meta&);
void deleted(State&, const FlavorDeleted&, const Meta&);
}  // namespace flavor
namespace keypair {
void created(State&, const KeypairCreated&, const Meta&);
void deleted(State&, const KeypairDeleted&, const Meta&);
}  // namespace keypair

}  // namespace reprise
