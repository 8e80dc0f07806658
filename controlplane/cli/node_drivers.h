// The drivers of this process's nodes, by the names in the configuration, and what each node can hold.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "agents/core/agent_host.h"
#include "controlplane/api/keyring.h"
#include "controlplane/cli/config.h"
#include "controlplane/cli/state_folder.h"

namespace reprise::cli {

// One node's three drivers; they live as long as this.
struct NodeDrivers {
  NodeFacts facts;
  compute::Driver* compute = nullptr;
  storage::Driver* storage = nullptr;
  network::Driver* network = nullptr;
};

// The born of the image that has this id now: its bytes are under both. Nothing: there is none.
using FindImage = std::function<std::optional<Born>(ImageId)>;

class NodeSet {
 public:
  // Opens them all. Real drivers hold a lock of the host, so that no second process drives it: denied.
  static Result<std::unique_ptr<NodeSet>> open(const Config& config, const StateFolder& state,
                                               const api::Keyring& keyring, FindImage find_image,
                                               std::function<void(const std::string&)> say);
  virtual ~NodeSet() = default;

  virtual const std::vector<NodeDrivers>& nodes() const = 0;
  // Removes from the host whatever the drivers show as ours.
  virtual Status wipe() = 0;
};

}  // namespace reprise::cli
