#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "controlplane/api/volume.h"

namespace reprise::api {
namespace {

constexpr auto service = Service::volume;
constexpr std::size_t volumes_a_page_max = 1000;
constexpr std::string_view paging[] = {"limit",    "marker",      "offset",     "sort",     "sort_key",
                                       "sort_dir", "all_tenants", "project_id", "tenant_id"};

using Test = std::function<bool(const Volume&)>;
using Order = std::function<int(const Volume&, const Volume&)>;

template <class T>
int order_of(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

Order order_by(std::string_view key) {
  const auto by = [](auto member) {
    return [member](const Volume& a, const Volume& b) { return order_of(a.*member, b.*member); };
  };
  if (key == "created_at") return by(&Volume::born);
  if (key == "updated_at") return by(&Volume::updated_ms);
  if (key == "id") return by(&Volume::id);
  if (key == "name" || key == "display_name") return by(&Volume::name);
  if (key == "size") return by(&Volume::size_gib);
  if (key == "status") return by(&Volume::status);
  if (key == "bootable") return by(&Volume::image);
  if (key == "availability_zone" || key == "host") return by(&Volume::node);
  return {};
}

std::vector<Order> read_order(Ask& ask) {
  std::vector<std::pair<std::string, std::string>> wished;
  if (const auto sort = ask.query("sort"))
    for (std::string_view rest = *sort; !rest.empty();) {
      const auto part = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      const auto colon = part.find(':');
      wished.emplace_back(part.substr(0, colon), colon == part.npos ? "desc" : part.substr(colon + 1));
    }
  if (const auto key = ask.query("sort_key"))
    wished.emplace_back(*key, ask.query("sort_dir").value_or("desc"));
  if (wished.empty()) wished.emplace_back("created_at", "desc");
  wished.emplace_back("id", "desc");
  std::vector<Order> orders;
  std::set<std::string_view> seen;
  for (const auto& [key, direction] : wished) {
    if (!seen.insert(key).second) continue;  // it has ordered already
    auto order = order_by(key);
    if (!order)
      ask.mistakes().add("sort",
                         "must be one of: created_at, updated_at, id, name, size, status, bootable, "
                         "availability_zone, host");
    else if (direction == "asc") orders.push_back(std::move(order));
    else if (direction == "desc")
      orders.push_back([order = std::move(order)](const Volume& a, const Volume& b) { return order(b, a); });
    else ask.mistakes().add("sort", "a direction must be asc or desc");
  }
  return orders;
}

// ?metadata={'key': 'value'}, as cinderclient writes it: a Python literal of one pair.
Test metadata_test(Ask& ask, std::string_view text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const char quote = text[at++];
    if (quote != '\'' && quote != '"') continue;
    const auto end = text.find(quote, at);
    if (end == text.npos) break;
    parts.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  if (parts.size() % 2 != 0 || parts.empty()) ask.mistakes().add("metadata", "must be as {'key': 'value'}");
  return [parts](const Volume& row) {
    for (std::size_t i = 0; i + 1 < parts.size(); i += 2) {
      bool has = false;
      for (std::size_t j = 0; j + 1 < row.metadata.size(); j += 2)
        has = has || (row.metadata[j] == parts[i] && row.metadata[j + 1] == parts[i + 1]);
      if (!has) return false;
    }
    return true;
  };
}

Test test_of(Ask& ask, const std::string& key, std::string_view value) {
  const auto text = std::string(value);
  if (key == "name" || key == "display_name") return [text](const Volume& row) { return row.name == text; };
  if (key == "name~" && microversion(ask) >= 34)
    return [text](const Volume& row) { return row.name.find(text) != std::string::npos; };
  if (key == "status")
    return [text](const Volume& row) { return same_ignoring_case(text, volume_status_word(row.status)); };
  if (key == "id") return [id = VolumeId::parse(value)](const Volume& row) { return id && row.id == *id; };
  if (key == "size") return [text](const Volume& row) { return std::to_string(row.size_gib) == text; };
  if (key == "user_id")
    return [user = UserId::parse(value)](const Volume& row) { return user && row.user == *user; };
  if (key == "image_id")
    return [image = ImageId::parse(value)](const Volume& row) { return image && row.image == *image; };
  if (key == "bootable")
    return [wished = ask.flag(key).value_or(false)](const Volume& row) { return bool(row.image) == wished; };
  if (key == "metadata") return metadata_test(ask, value);
  if (key == "volume_type")
    return [local = text == volume_type_name || text == volume_type_id](const Volume&) { return local; };
  if (key == "availability_zone" || (key == "host" && ask.actor().rights.admin)) {
    std::vector<NodeId> nodes;
    ask.view().each<Node>([&](const Node& node) {
      if ((key == "host" ? node.name : node.zone) == value.substr(0, value.find('@')))
        nodes.push_back(node.id);
    });
    return
        [nodes](const Volume& row) { return std::find(nodes.begin(), nodes.end(), row.node) != nodes.end(); };
  }
  ask.mistakes().add(key, "is no filter of volumes: leave it out");
  return {};
}

// Whose volumes: one project's, or everybody's.
std::optional<Response> read_project(Ask& ask, ProjectId& project, bool& none) {
  project = ask.actor().project;
  const bool all = ask.flag("all_tenants").value_or(false);
  if (!all) return std::nullopt;
  // Cinder passes over it for others.
  if (!ask.actor().rights.admin) return std::nullopt;
  project = {};
  auto named = ask.query("project_id");
  if (!named) named = ask.query("tenant_id");
  if (!named) return std::nullopt;
  const auto id = ProjectId::parse(*named);
  none = !id;
  project = id.value_or(ProjectId{});
  return std::nullopt;
}

std::vector<Volume> rows_of(Ask& ask, ProjectId project, const std::vector<Test>& tests) {
  std::vector<Volume> rows;
  const auto take = [&](const Volume& row) {
    if (std::all_of(tests.begin(), tests.end(), [&](const Test& test) { return test(row); }))
      rows.push_back(row);
  };
  if (project) ask.view().each_by<Volume>(Volume::by_project, encode_key(project), take);
  else ask.view().each<Volume>(take);
  return rows;
}

Plan list(Ask& ask, bool details) {
  const auto page = ask.page(volumes_a_page_max);
  ProjectId project;
  bool none = false;
  if (auto refused = read_project(ask, project, none)) return std::move(*refused);
  std::vector<Test> tests;
  for (const auto& [key, value] : ask.request().query)
    if (std::find(std::begin(paging), std::end(paging), key) == std::end(paging))
      if (auto test = test_of(ask, key, value)) tests.push_back(std::move(test));
  const auto orders = read_order(ask);
  std::size_t offset = 0;
  if (const auto text = ask.query("offset"); text && !text->empty()) {
    if (text->size() > 9 || text->find_first_not_of("0123456789") != text->npos)
      ask.mistakes().add("offset", "must be a whole number, 0 or more");
    else offset = std::stoul(std::string(*text));
  }
  if (auto bad = ask.bad()) return std::move(*bad);
  auto rows = none ? std::vector<Volume>() : rows_of(ask, project, tests);
  std::sort(rows.begin(), rows.end(), [&](const Volume& a, const Volume& b) {
    for (const auto& order : orders)
      if (const int one = order(a, b); one != 0) return one < 0;
    return false;
  });
  rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(std::min(offset, rows.size())));
  bool more = false;
  if (!cut_to_page(rows, page, more, [](const Volume& row) { return row.id.str(); }))
    return ask.error(404, fmt::format("Volume {} could not be found: it is no marker.", page.marker));
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("volumes");
  VolumeWriter writer(ask, microversion(ask), details);
  for (const auto& row : rows) writer.write(json, row);
  json.end_array();
  if (more) {
    json.array("volumes_links").begin_object().field("rel", "next");
    json.field("href", ask.next_url(rows.back().id.str())).end_object().end_array();
  }
  json.end_object();
  return json_response(200, std::move(body));
}

Plan summary(Ask& ask) {
  if (microversion(ask) < 12) return no_volume(ask, "summary");
  ProjectId project;
  bool none = false;
  if (auto refused = read_project(ask, project, none)) return std::move(*refused);
  if (auto bad = ask.bad()) return std::move(*bad);
  std::uint64_t count = 0, size = 0;
  for (const auto& row : rows_of(ask, project, {})) ++count, size += row.size_gib;
  std::string body;
  JsonWriter json(body);
  json.begin_object().object("volume-summary").field("total_size", size).field("total_count", count);
  if (microversion(ask) >= 36) json.object("metadata").end_object();
  json.end_object().end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void register_volume_list(Api& api) {
  api.read(service, "/v3/{project}/volumes", Need::reader,
           in_project([](Ask& ask) { return list(ask, false); }));
  api.read(service, "/v3/{project}/volumes/detail", Need::reader,
           in_project([](Ask& ask) { return list(ask, true); }));
  api.read(service, "/v3/{project}/volumes/summary", Need::reader, in_project(summary));
}

}  // namespace reprise::api
