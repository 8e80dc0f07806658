#include "controlplane/api/server_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "controlplane/api/name_pattern.h"
#include "controlplane/api/server_json.h"
#include "controlplane/api/timestamp.h"

namespace reprise::api {
namespace {

constexpr std::string_view statuses[] = {"ACTIVE", "BUILD", "ERROR", "HARD_REBOOT", "REBOOT", "REBUILD", "SHUTOFF"};
// Of nova, but never those of a server here.
constexpr std::string_view other_statuses[] = {
    "DELETED", "MIGRATING",         "PASSWORD",     "PAUSED",    "RESCUE",  "RESIZE",       "REVERT_RESIZE",
    "SHELVED", "SHELVED_OFFLOADED", "SOFT_DELETED", "SUSPENDED", "UNKNOWN", "VERIFY_RESIZE"};
// What may stand in the query from 2.75 on; before, anything may.
constexpr std::string_view known_keys[] = {"access_ip_v4",
                                           "access_ip_v6",
                                           "all_tenants",
                                           "auto_disk_config",
                                           "availability_zone",
                                           "changes-before",
                                           "changes-since",
                                           "config_drive",
                                           "created_at",
                                           "deleted",
                                           "description",
                                           "display_description",
                                           "display_name",
                                           "flavor",
                                           "host",
                                           "hostname",
                                           "image",
                                           "image_ref",
                                           "ip",
                                           "ip6",
                                           "kernel_id",
                                           "key_name",
                                           "launch_index",
                                           "launched_at",
                                           "limit",
                                           "locked",
                                           "locked_by",
                                           "marker",
                                           "name",
                                           "node",
                                           "not-tags",
                                           "not-tags-any",
                                           "power_state",
                                           "progress",
                                           "project_id",
                                           "ramdisk_id",
                                           "reservation_id",
                                           "root_device_name",
                                           "soft_deleted",
                                           "sort_dir",
                                           "sort_key",
                                           "status",
                                           "tags",
                                           "tags-any",
                                           "task_state",
                                           "tenant_id",
                                           "terminated_at",
                                           "user_id",
                                           "uuid",
                                           "vm_state"};

bool one_of(std::span<const std::string_view> words, std::string_view word) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view w) { return same_ignoring_case(w, word); });
}

bool truth(std::string_view text) { return same_ignoring_case(text, "true") || text == "1"; }

template <class T>
int order_of(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

std::function<int(const Server&, const Server&)> order_by(std::string_view key) {
  const auto by = [](auto member) {
    return [member](const Server& a, const Server& b) { return order_of(a.*member, b.*member); };
  };
  if (key == "created_at") return by(&Server::born);
  if (key == "updated_at") return by(&Server::updated_ms);
  if (key == "launched_at") return by(&Server::launched_ms);
  if (key == "display_name" || key == "name") return by(&Server::name);
  if (key == "display_description") return by(&Server::description);
  if (key == "uuid") return by(&Server::id);
  if (key == "vm_state") return by(&Server::status);
  if (key == "task_state") return by(&Server::task);
  if (key == "project_id") return by(&Server::project);
  if (key == "user_id") return by(&Server::user);
  if (key == "image_ref") return by(&Server::image);
  if (key == "instance_type_id") return by(&Server::flavor);
  if (key == "key_name") return by(&Server::key_name);
  if (key == "availability_zone") return by(&Server::zone);
  if (key == "host" || key == "node") return by(&Server::node);
  return {};
}

}  // namespace

// Of a key that is given several times nova takes the last, but for status.
template <class Make>
void ServerFilter::add(std::string_view key, Make make) {
  const auto given = ask_.queries(key);
  if (given.empty()) return;
  if (Test test = make(given.back())) tests_.push_back(std::move(test));
}

ServerFilter::Test ServerFilter::pattern(std::string_view key, std::string_view text,
                                         std::string Server::*member) {
  auto made = NamePattern::make(text);
  if (!made) {
    ask_.mistakes().add(key, made.error().text);
    return {};
  }
  return [made = std::move(*made), member](const Server& row) { return made.matches(row.*member); };
}

std::optional<Response> ServerFilter::read() {
  if (minor_ >= 75) refuse_unknown();
  if (auto refused = read_projects()) return refused;
  if (auto refused = read_states()) return refused;
  read_names();
  read_refs();
  read_times();
  read_addresses();
  read_absent();
  if (ask_.actor().rights.admin) read_admins();
  read_order();
  return std::nullopt;
}

void ServerFilter::refuse_unknown() {
  for (const auto& [key, value] : ask_.request().query)
    if (std::find(std::begin(known_keys), std::end(known_keys), key) == std::end(known_keys))
      ask_.mistakes().add(key, "Additional properties are not allowed: there is no such filter");
}

std::optional<Response> ServerFilter::read_projects() {
  project_ = ask_.actor().project;
  all_projects_ = ask_.flag("all_tenants").value_or(false);
  auto named = ask_.query("project_id");
  if (!named) named = ask_.query("tenant_id");
  const ProjectId project = named ? ProjectId::parse(*named).value_or(ProjectId{}) : ProjectId{};
  // Naming another project means the same as asking for all of them.
  if (named && project != project_) all_projects_ = true;
  if (!all_projects_) return std::nullopt;
  if (!ask_.actor().rights.admin)
    return ask_.error(403,
                      "Policy doesn't allow os_compute_api:servers:index:get_all_tenants to be performed.");
  project_ = project;
  nothing_ = nothing_ || (named && !project);
  return std::nullopt;
}

std::optional<Response> ServerFilter::read_states() {
  const auto wanted = ask_.queries("status");
  std::vector<std::string> known;
  for (const auto text : wanted) {
    if (same_ignoring_case(text, "DELETED") && !ask_.actor().rights.admin)
      return ask_.error(403, "Only administrators may list deleted instances");
    if (one_of(statuses, text)) known.emplace_back(text);
    else if (minor_ >= 38 && !one_of(other_statuses, text))
      ask_.mistakes().add("status", "Invalid status value");
  }
  if (!wanted.empty())
    tests_.push_back([known = std::move(known)](const Server& row) {
      return std::any_of(known.begin(), known.end(),
                         [&](const auto& word) { return same_ignoring_case(word, server_status_word(row)); });
    });
  return std::nullopt;
}

void ServerFilter::read_names() {
  for (const auto key : {"name", "display_name"})
    add(key, [&](std::string_view text) { return pattern(key, text, &Server::name); });
}

void ServerFilter::read_refs() {
  const auto image = [](std::string_view text) -> Test {
    const auto id = ImageId::parse(text.substr(text.rfind('/') + 1));
    return [id](const Server& row) { return id && row.image == *id; };
  };
  add("image", image);
  add("image_ref", image);
  add("flavor", [](std::string_view text) -> Test {
    return
        [id = std::string(text.substr(text.rfind('/') + 1))](const Server& row) { return row.flavor == id; };
  });
}

void ServerFilter::read_times() {
  const auto time = [&](std::string_view key, auto passes) {
    add(key, [&](std::string_view text) -> Test {
      const auto ms = parse_time(text);
      if (!ms) ask_.mistakes().add(key, "Invalid time: it must be as 2026-11-03T09:08:07Z");
      return [ms = static_cast<std::int64_t>(ms.value_or(0)), passes](const Server& row) {
        return passes(row.updated_ms, ms);
      };
    });
  };
  time("changes-since", [](std::int64_t updated, std::int64_t ms) { return updated >= ms; });
  if (minor_ >= 66)
    time("changes-before", [](std::int64_t updated, std::int64_t ms) { return updated <= ms; });
}

// Addresses as a pattern over those of the server's ports.
void ServerFilter::read_addresses() {
  if (ask_.query("ip6")) nothing_ = true;
  add("ip", [&](std::string_view text) -> Test {
    auto made = NamePattern::make(text);
    if (!made) {
      ask_.mistakes().add("ip", made.error().text);
      return {};
    }
    std::set<ServerId> having;
    ask_.view().each_by<Port>(Port::by_server, {}, [&](const Port& row) {
      for (const auto& fixed : row.fixed)
        if (made->matches(fixed.address.str())) having.insert(row.server);
    });
    return [having = std::move(having)](const Server& row) { return having.contains(row.id); };
  });
}

// What no server here is or has.
void ServerFilter::read_absent() {
  for (const auto key : {"tags", "tags-any"})
    if (minor_ >= 26 && ask_.query(key)) nothing_ = true;
  if (minor_ >= 73)
    if (const auto locked = ask_.flag("locked")) nothing_ = nothing_ || *locked;
  const bool admin = ask_.actor().rights.admin;
  for (const auto key : {"deleted", "soft_deleted"})
    if (const auto text = ask_.query(key); text && admin) nothing_ = nothing_ || truth(*text);
}

// Others may send them, and nova passes over them.
void ServerFilter::read_admins() {
  const auto node_named = [&](std::string_view text) -> Test {
    NodeId node;
    ask_.view().each<Node>([&](const Node& row) {
      if (row.name == text) node = row.id;
    });
    return [node](const Server& row) { return node && row.node == node && row.tenure != Tenure::none; };
  };
  add("host", node_named);
  add("node", node_named);
  add("hostname", [&](std::string_view text) { return pattern("hostname", text, &Server::hostname); });
  add("key_name", [&](std::string_view text) { return pattern("key_name", text, &Server::key_name); });
  add("description",
      [&](std::string_view text) { return pattern("description", text, &Server::description); });
  add("availability_zone", [&](std::string_view text) -> Test {
    std::set<NodeId> nodes;
    ask_.view().each<Node>([&](const Node& row) {
      if (row.zone == text) nodes.insert(row.id);
    });
    return [nodes, zone = std::string(text)](const Server& row) {
      return row.tenure == Tenure::none ? row.zone == zone : nodes.contains(row.node);
    };
  });
  add("user_id", [](std::string_view text) -> Test {
    return [user = UserId::parse(text)](const Server& row) { return user && row.user == *user; };
  });
  add("uuid", [](std::string_view text) -> Test {
    return [id = ServerId::parse(text)](const Server& row) { return id && row.id == *id; };
  });
  add("vm_state", [](std::string_view text) -> Test {
    return [word = std::string(text)](const Server& row) {
      return same_ignoring_case(word, vm_state_word(row));
    };
  });
  add("task_state", [](std::string_view text) -> Test {
    return [word = std::string(text)](const Server& row) {
      return same_ignoring_case(word, task_state_word(row.task));
    };
  });
  add("power_state", [](std::string_view text) -> Test {
    return [word = std::string(text)](const Server& row) {
      return word == std::to_string(power_state_number(row));
    };
  });
  add("config_drive", [](std::string_view text) -> Test {
    return [yes = truth(text)](const Server& row) { return row.config_drive == yes; };
  });
}

void ServerFilter::read_order() {
  const auto keys = ask_.queries("sort_key");
  const auto directions = ask_.queries("sort_dir");
  for (std::size_t i = 0; i < directions.size(); ++i)
    if (directions[i] != "asc" && directions[i] != "desc")
      ask_.mistakes().add("sort_dir", "must be asc or desc");
  // The newest first, unless something else is asked for.
  const auto down = [&](std::size_t i) { return i >= directions.size() || directions[i] == "desc"; };
  const auto add_order = [&](std::string_view key, bool descending) {
    auto order = order_by(key);
    if (!order)
      return ask_.mistakes().add(
          "sort_key",
          "must be one of: created_at, updated_at, launched_at, display_name, uuid, vm_state, task_state, "
          "project_id, user_id, image_ref, instance_type_id, key_name, availability_zone, host");
    if (!descending) return order_.push_back(std::move(order));
    order_.push_back([order = std::move(order)](const Server& a, const Server& b) { return order(b, a); });
  };
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (std::find(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(i), keys[i]) == keys.begin() + static_cast<std::ptrdiff_t>(i))
      add_order(keys[i], down(i));  // one that is repeated has ordered already
  add_order("created_at", down(keys.size() == 0 ? 0 : directions.size()));
  add_order("uuid", true);
}

std::vector<Server> ServerFilter::servers() const {
  std::vector<Server> rows;
  if (nothing_) return rows;
  const auto take = [&](Server& row) {
    if (std::all_of(tests_.begin(), tests_.end(), [&](const Test& test) { return test(row); }))
      rows.push_back(std::move(row));
  };
  if (project_) ask_.view().each_by<Server>(Server::by_project, encode_key(project_), take);
  else ask_.view().each<Server>(take);
  // Rows are large: they move once, at the end.
  std::vector<Server*> sorted;
  sorted.reserve(rows.size());
  for (auto& row : rows) sorted.push_back(&row);
  std::sort(sorted.begin(), sorted.end(), [&](const Server* a, const Server* b) {
    for (const auto& order : order_)
      if (const int one = order(*a, *b); one != 0) return one < 0;
    return false;
  });
  std::vector<Server> result;
  result.reserve(rows.size());
  for (auto* row : sorted) result.push_back(std::move(*row));
  return result;
}

}  // namespace reprise::api
