#include "controlplane/decide/decide.h"

namespace reprise {

namespace flavor {

Events create(const State& s, const CreateFlavor& i, const Context& c) {
  if (!c.rights.admin) return refuse(Refusal::not_allowed, "Only an admin may create flavors.");
  if (s.flavors.contains(i.id)) return refuse(Refusal::id_taken, fmt::format("Flavor with ID {} already exists.", i.id));
  bool named = false;
  s.flavors.each([&](const Flavor& row) { named = named || row.name == i.name; });
  if (named) return refuse(Refusal::name_taken, fmt::format("Flavor with name {} already exists.", i.name));
  return {FlavorCreated{.id = i.id, .name = i.name, .vcpus = i.vcpus, .ram_mib = i.ram_mib, .disk_gib = i.disk_gib,
                        .is_public = i.is_public}};
}

// Servers carry what they were made of: a flavor may go while they run.
Events remove(const State& s, const DeleteFlavor& i, const Context& c) {
  if (!c.rights.admin) return refuse(Refusal::not_allowed, "Only an admin may delete flavors.");
  if (!s.flavors.contains(i.id)) return refuse(Refusal::no_such_flavor, fmt::format("Flavor {} could not be found.", i.id));
  return {FlavorDeleted{.id = i.id}};
}

}  // namespace flavor

namespace keypair {

Events create(const State& s, const CreateKeypair& i, const Context& c) {
  if (!c.rights.member) return refuse(Refusal::not_allowed, "Creating a key pair needs the role member.");
  if (i.user != c.user() && !c.rights.admin) return refuse(Refusal::not_allowed, "Only an admin may make key pairs for others.");
  if (!s.users.contains(i.user)) return refuse(Refusal::no_such_user, fmt::format("Could not find user: {}.", i.user.hex()));
  if (s.keypairs.contains({i.user, i.name}))
    return refuse(Refusal::name_taken, fmt::format("Key pair '{}' already exists.", i.name));
  if (auto over = over_quota(s, c.project(), Resource::key_pairs, 1)) return *over;
  return {KeypairCreated{.user = i.user, .name = i.name, .public_key = i.public_key, .fingerprint = i.fingerprint}};
}

Events remove(const State& s, const DeleteKeypair& i, const Context& c) {
  if (!c.rights.member) return refuse(Refusal::not_allowed, "Deleting a key pair needs the role member.");
  if ((i.user != c.user() && !c.rights.admin) || !s.keypairs.contains({i.user, i.name}))
    return refuse(Refusal::no_such_keypair, fmt::format("Keypair {} not found for user {}.", i.name, i.user.hex()));
  return {KeypairDeleted{.user = i.user, .name = i.name}};
}

}  // namespace keypair
}  // namespace reprise
