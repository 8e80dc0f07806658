// Servers as nova prints them, written straight from their rows.
#pragma once

#include <map>
#include <span>

#include "controlplane/api/ask.h"

namespace reprise::api {

// nova's words for a server's state.
const char* vm_state_word(const Server& server);       // active, building, …
int power_state_number(const Server& server);          // 0 none, 1 running, 4 shut down

// The domain's name, under which an admin finds it on its node.
std::string instance_name(ServerId id);

// Writes any number of servers of one view. What lies beside their rows is read in order of their ids, a few
// seeks for all of them together.
class ServerWriter {
 public:
  // `minor`: the microversion. `details`: all of it, not id and name alone.
  ServerWriter(const Ask& ask, unsigned minor, bool details, std::span<const Server> servers);

  // The value of "server", or an element of "servers".
  void write(JsonWriter& json, const Server& server, bool in_list);
  // {"network": [{"addr", "version", …}], …}; with `brief` as GET …/ips prints it.
  void write_addresses(JsonWriter& json, const Server& server, bool brief);
  // Ports of one of the servers, as they were made.
  const std::vector<Port>& ports(ServerId id) const;
  // Sealed user data, opened by who may see it: base64, shown by show alone.
  void show_user_data(std::string base64) { user_data_ = std::move(base64); }

 private:
  struct Parts {
    std::vector<Port> ports;
    std::vector<VolumeId> volumes;
  };
  struct Place {
    std::string node;
    std::string zone;
    NodeState state = NodeState::up;
    bool disabled = false;
  };
  void write_links(JsonWriter& json, const std::string& id);
  void write_bookmark(JsonWriter& json, const std::string& begin, std::string_view id);
  const Parts* parts_of(ServerId id) const;
  void write_flavor(JsonWriter& json, const Server& server);
  void write_extended(JsonWriter& json, const Server& server, const Place* place);
  void write_states(JsonWriter& json, const Server& server);
  void write_fault(JsonWriter& json, const Server& server);
  void write_volumes(JsonWriter& json, const Server& server);
  const std::string& network_name(NetworkId id);
  const Place* place_of(const Server& server);
  const std::string& host_id(const Server& server, const Place* place);

  const Ask& ask_;
  const View& view_;
  const unsigned minor_;
  const bool details_;
  const bool admin_;
  const std::string self_, bookmark_, images_, flavors_;  // arrays of links, as JSON up to the id
  std::string text_;                                      // one of them, whole
  std::vector<std::pair<ServerId, Parts>> parts_;         // by id
  std::map<NetworkId, std::string> networks_;
  std::map<NodeId, Place> places_;
  std::map<std::pair<ProjectId, NodeId>, std::string> host_ids_;
  std::string user_data_;
};

}  // namespace reprise::api
