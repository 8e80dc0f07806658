#include "projections/flavor.h"

#include "projections/state.h"

namespace reprise {

namespace flavor {

void created(State& s, const FlavorCreated& e, const Meta& m) {
  s.flavors.insert({.id = e.id, .born = m.born, .name = e.name, .vcpus = e.vcpus, .ram_mib = e.ram_mib,
                    .disk_gib = e.disk_gib, .is_public = e.is_public});
}

void deleted(State& s, const FlavorDeleted& e, const Meta&) { s.flavors.erase(e.id); }

}  // namespace flavor

namespace keypair {

void created(State& s, const KeypairCreated& e, const Meta& m) {
  s.keypairs.insert({.id = {e.user, e.name}, .born = m.born, .project = m.intent ? m.intent->project : ProjectId{},
                     .public_key = e.public_key, .fingerprint = e.fingerprint, .created_ms = m.at_ms});
}

void deleted(State& s, const KeypairDeleted& e, const Meta&) { s.keypairs.erase({e.user, e.name}); }

}  // namespace keypair
}  // namespace reprise
