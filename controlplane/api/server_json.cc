#include "controlplane/api/server_json.h"

#include <algorithm>

#include "controlplane/api/hosts.h"
#include "controlplane/api/timestamp.h"
#include "events/hash.h"

namespace reprise::api {
namespace {

// How many rows of others are stepped over before the next server's are looked up instead.
constexpr std::size_t skips_max = 16;
// So few servers are looked up one by one, as filters know of most that nothing is filed under them.
constexpr std::size_t lookups_max = 4;

std::string zone_or_default(const std::string& zone) { return zone.empty() ? "nova" : zone; }

// f(row) for every row filed under one of the servers (sorted by id) in `index`.
template <class Row, class F>
void each_of(const View& view, std::uint8_t index, const std::vector<ServerId>& servers, F&& f) {
  if (servers.size() <= lookups_max) {
    for (const auto& id : servers) view.each_by<Row>(index, encode_key(id), f);
    return;
  }
  for (std::size_t at = 0; at < servers.size();) {
    std::size_t skipped = 0;
    bool ended = true;
    view.each_by<Row>(
        index, {},
        [&](Row& row) {
          while (at < servers.size() && servers[at] < row.server) ++at;
          if (at == servers.size()) return false;
          if (servers[at] == row.server) {
            f(row);
            skipped = 0;
            return true;
          }
          ended = ++skipped <= skips_max;
          return ended;
        },
        encode_key(servers[at]));
    if (ended) return;
  }
}

// {"rel": …, "href": "…, up to where the id goes.
std::string link_begin(std::string_view rel, std::string_view href) {
  std::string text;
  JsonWriter(text).begin_object().field("rel", rel).field("href", href);
  text.pop_back();
  return text;
}

std::uint64_t ms(std::int64_t time) { return static_cast<std::uint64_t>(std::max<std::int64_t>(time, 0)); }

}  // namespace

const char* vm_state_word(const Server& server) {
  switch (server.status) {
    case ServerStatus::build:
      return "building";
    case ServerStatus::active:
      return "active";
    case ServerStatus::shutoff:
      return "stopped";
    case ServerStatus::error:
      return "error";
    case ServerStatus::paused:
      return "paused";
  }
  return "?";
}

int power_state_number(const Server& server) {
  if (server.running) return server.status == ServerStatus::paused ? 3 : 1;
  return server.launched_ms ? 4 : 0;
}

std::string instance_name(ServerId id) { return "reprise-" + id.str(); }

ServerWriter::ServerWriter(const Ask& ask, unsigned minor, bool details, std::span<const Server> servers)
    : ask_(ask),
      view_(ask.view()),
      minor_(minor),
      details_(details),
      admin_(ask.actor().rights.admin),
      self_(link_begin("self", ask.url("/compute/v2.1/servers/"))),
      bookmark_(link_begin("bookmark", ask.url("/compute/servers/"))),
      images_(link_begin("bookmark", ask.url("/compute/images/"))),
      flavors_(link_begin("bookmark", ask.url("/compute/flavors/"))) {
  if (!details) return;
  std::vector<ServerId> ids;
  ids.reserve(servers.size());
  for (const auto& server : servers) ids.push_back(server.id);
  std::sort(ids.begin(), ids.end());
  parts_.reserve(ids.size());
  for (const auto& id : ids) parts_.emplace_back(id, Parts());
  // Both come in the order of the servers' ids.
  std::size_t at = 0;
  const auto parts = [&](ServerId id) -> Parts& {
    while (parts_[at].first != id) ++at;
    return parts_[at].second;
  };
  each_of<Port>(view_, Port::by_server, ids,
                [&](Port& row) { parts(row.server).ports.push_back(std::move(row)); });
  at = 0;
  each_of<Volume>(view_, Volume::by_server, ids,
                  [&](Volume& row) { parts(row.server).volumes.push_back(row.id); });
  for (auto& [id, one] : parts_)
    if (one.ports.size() > 1)
      std::sort(one.ports.begin(), one.ports.end(),
                [](const Port& a, const Port& b) { return a.born < b.born; });
}

const ServerWriter::Parts* ServerWriter::parts_of(ServerId id) const {
  const auto at = std::lower_bound(parts_.begin(), parts_.end(), id,
                                   [](const auto& one, ServerId wanted) { return one.first < wanted; });
  return at == parts_.end() || at->first != id ? nullptr : &at->second;
}

const std::vector<Port>& ServerWriter::ports(ServerId id) const {
  static const std::vector<Port> none;
  const auto* parts = parts_of(id);
  return parts ? parts->ports : none;
}

const std::string& ServerWriter::network_name(NetworkId id) {
  const auto [at, made] = networks_.try_emplace(id);
  if (made) {
    const auto network = view_.find<Network>(id);
    at->second = network ? network->name : id.str();
  }
  return at->second;
}

const ServerWriter::Place* ServerWriter::place_of(const Server& server) {
  if (server.tenure == Tenure::none) return nullptr;
  const auto [at, made] = places_.try_emplace(server.node);
  if (made) {
    const auto node = view_.find<Node>(server.node);
    if (node) at->second = {node->name, zone_or_default(node->zone), node->state, node->disabled};
    else at->second.node = server.node.str();
  }
  return &at->second;
}

// Tells hosts apart without naming them, for each project otherwise (nova's is SHA-224, as long).
const std::string& ServerWriter::host_id(const Server& server, const Place* place) {
  const auto [at, made] = host_ids_.try_emplace({server.project, place ? server.node : NodeId{}});
  if (made && place) at->second = blake2b(server.project.hex() + place->node).hex().substr(0, 56);
  return at->second;
}

void ServerWriter::write_links(JsonWriter& json, const std::string& id) {
  text_.assign("[").append(self_).append(id).append("\"},").append(bookmark_).append(id).append("\"}]");
  json.key("links").raw(text_);
}

void ServerWriter::write_bookmark(JsonWriter& json, const std::string& begin, std::string_view id) {
  text_.assign("[").append(begin).append(id).append("\"}]");
  json.key("links").raw(text_);
}

void ServerWriter::write_flavor(JsonWriter& json, const Server& server) {
  json.object("flavor");
  if (minor_ >= 47) {
    json.field("vcpus", server.vcpus).field("ram", server.ram_mib).field("disk", server.disk_gib);
    json.field("ephemeral", 0).field("swap", 0).field("original_name", server.flavor_name);
    json.object("extra_specs").end_object().end_object();
    return;
  }
  json.field("id", server.flavor);
  write_bookmark(json, flavors_, server.flavor);  // a flavor's id has no character that JSON escapes
  json.end_object();
}

void ServerWriter::write_addresses(JsonWriter& json, const Server& server, bool brief) {
  json.begin_object();
  const auto& all = ports(server.id);
  std::vector<std::string_view> done;  // by name: two networks of one name are one key
  for (const auto& first : all) {
    const auto& name = network_name(first.network);
    if (first.fixed.empty() || std::find(done.begin(), done.end(), name) != done.end()) continue;
    done.emplace_back(name);
    json.text_key(name).begin_array();
    for (const auto& port : all) {
      if (network_name(port.network) != name) continue;
      for (const auto& fixed : port.fixed) {
        json.begin_object().field("version", 4).field("addr", fixed.address.str());
        if (!brief) json.field("OS-EXT-IPS:type", "fixed").field("OS-EXT-IPS-MAC:mac_addr", port.mac.str());
        json.end_object();
      }
    }
    json.end_array();
  }
  json.end_object();
}

void ServerWriter::write_extended(JsonWriter& json, const Server& server, const Place* place) {
  json.key("OS-EXT-SRV-ATTR:host");
  place ? json.value(place->node) : json.null();
  json.field("OS-EXT-SRV-ATTR:instance_name", instance_name(server.id));
  json.key("OS-EXT-SRV-ATTR:hypervisor_hostname");
  place ? json.value(place->node) : json.null();
  if (minor_ >= 3) {
    const auto id = [](ImageId image) { return image ? image.str() : std::string(); };
    json.field("OS-EXT-SRV-ATTR:reservation_id", "r-" + server.id.hex().substr(0, 8));
    json.field("OS-EXT-SRV-ATTR:launch_index", 0).field("OS-EXT-SRV-ATTR:hostname", server.hostname);
    json.field("OS-EXT-SRV-ATTR:kernel_id", id(server.kernel))
        .field("OS-EXT-SRV-ATTR:ramdisk_id", id(server.ramdisk));
    json.field("OS-EXT-SRV-ATTR:root_device_name", "/dev/vda")
        .field_or_null("OS-EXT-SRV-ATTR:user_data", user_data_);
  }
  if (minor_ >= 16) {
    const bool up = place && place->state == NodeState::up;
    json.field("host_status", !place ? "" : !up ? "DOWN" : place->disabled ? "MAINTENANCE" : "UP");
  }
}

void ServerWriter::write_states(JsonWriter& json, const Server& server) {
  json.field_or_null("OS-EXT-STS:task_state", task_state_word(server.task));
  json.field("OS-EXT-STS:vm_state", vm_state_word(server))
      .field("OS-EXT-STS:power_state", power_state_number(server));
  json.key("OS-SRV-USG:launched_at");
  server.launched_ms ? json.value(time_micros(ms(server.launched_ms))) : json.null();
  json.key("OS-SRV-USG:terminated_at").null();
}

void ServerWriter::write_fault(JsonWriter& json, const Server& server) {
  if (server.status != ServerStatus::error) return;
  json.object("fault").field("code", 500).field("created", time_z(ms(server.fault_ms)));
  json.field("message", admin_ ? server.fault : without_hosts(view_, server.fault));
  if (admin_) json.field("details", "");
  json.end_object();
}

void ServerWriter::write_volumes(JsonWriter& json, const Server& server) {
  json.array("os-extended-volumes:volumes_attached");
  if (const auto* parts = parts_of(server.id))
    for (const auto volume : parts->volumes) {
      json.begin_object().field("id", volume.str());
      if (minor_ >= 3) json.field("delete_on_termination", false);
      json.end_object();
    }
  json.end_array();
}

void ServerWriter::write(JsonWriter& json, const Server& server, bool in_list) {
  const auto id = server.id.str();
  json.begin_object().field("id", id).field("name", server.name);
  if (!details_) {
    write_links(json, id);
    json.end_object();
    return;
  }
  const Place* place = place_of(server);
  json.field("status", server_status_word(server))
      .field("tenant_id", server.project.hex())
      .field("user_id", server.user.hex());
  json.object("metadata");
  for (std::size_t i = 0; i + 1 < server.metadata.size(); i += 2)
    json.text_key(server.metadata[i]).value(server.metadata[i + 1]);
  json.end_object().field("hostId", host_id(server, place));
  const auto image = server.image.str();
  json.object("image").field("id", image);
  write_bookmark(json, images_, image);
  json.end_object();
  write_flavor(json, server);
  json.field("created", time_z(ms(server.created_ms))).field("updated", time_z(ms(server.updated_ms)));
  json.key("addresses");
  write_addresses(json, server, false);
  json.field("accessIPv4", "").field("accessIPv6", "");
  write_links(json, id);
  json.field("OS-DCF:diskConfig", "MANUAL");
  if (server.status == ServerStatus::active || server.status == ServerStatus::build || server.status == ServerStatus::paused)
    json.field("progress", 0);
  json.field("OS-EXT-AZ:availability_zone", place ? place->zone : server.zone);
  json.field("config_drive", server.config_drive ? "True" : "").field_or_null("key_name", server.key_name);
  write_states(json, server);
  if (admin_) write_extended(json, server, place);
  write_volumes(json, server);
  write_fault(json, server);
  if (minor_ >= 9) json.field("locked", false);
  if (minor_ >= 73) json.key("locked_reason").null();
  if (minor_ >= 19) json.field_or_null("description", server.description);
  if (minor_ >= 26) json.array("tags").end_array();
  if (minor_ >= 63) json.key("trusted_image_certificates").null();
  if (minor_ >= 71 && !in_list) json.array("server_groups").end_array();
  json.end_object();
}

}  // namespace reprise::api
