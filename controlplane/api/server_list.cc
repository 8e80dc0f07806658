#include <fmt/format.h>

#include "controlplane/api/compute.h"
#include "controlplane/api/server_filter.h"
#include "controlplane/api/server_json.h"

namespace reprise::api {
namespace {

constexpr std::size_t servers_a_page_max = 1000;  // nova's max_limit
constexpr std::size_t bytes_a_server = 1700;

Plan list(Ask& ask, bool details) {
  const unsigned minor = microversion(ask);
  ServerFilter filter(ask, minor);
  const auto page = ask.page(servers_a_page_max);
  if (auto refused = filter.read()) return std::move(*refused);
  if (auto bad = ask.bad()) return std::move(*bad);
  auto rows = filter.servers();
  bool more = false;
  if (!cut_to_page(rows, page, more, [](const Server& row) { return row.id.str(); }))
    return ask.error(400, fmt::format("marker [{}] not found", page.marker));
  ServerWriter writer(ask, minor, details, rows);
  std::string body;
  body.reserve(64 + rows.size() * (details ? bytes_a_server : 300));
  JsonWriter json(body);
  json.begin_object().array("servers");
  for (const auto& row : rows) writer.write(json, row, true);
  json.end_array();
  if (more) {
    json.array("servers_links");
    write_link(json, "next", ask.next_url(rows.back().id.str()));
    json.end_array();
  }
  json.end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void register_server_list(Api& api) {
  api.read(Service::compute, "/v2.1/servers", Need::reader,
           microversioned([](Ask& ask) { return list(ask, false); }));
  api.read(Service::compute, "/v2.1/servers/detail", Need::reader,
           microversioned([](Ask& ask) { return list(ask, true); }));
}

}  // namespace reprise::api
