#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "controlplane/api/compute.h"

namespace reprise::api {
namespace {

constexpr std::size_t flavors_a_page_max = 1000;
constexpr std::int64_t vcpus_max = 1024;
constexpr std::int64_t ram_mib_max = 16 * 1024 * 1024;
constexpr std::int64_t disk_gib_max = 64 * 1024;

void write_flavor(JsonWriter& json, const Ask& ask, const Flavor& flavor, unsigned minor, bool details) {
  json.begin_object().field("id", flavor.id).field("name", flavor.name);
  if (details) {
    json.field("ram", flavor.ram_mib).field("disk", flavor.disk_gib);
    minor >= 75 ? json.field("swap", 0) : json.field("swap", "");
    json.field("OS-FLV-EXT-DATA:ephemeral", 0)
        .field("OS-FLV-DISABLED:disabled", false)
        .field("vcpus", flavor.vcpus);
    json.field("os-flavor-access:is_public", flavor.is_public).key("rxtx_factor").raw("1.0");
  }
  json.array("links");
  write_link(json, "self", ask.url("/compute/v2.1/flavors/" + flavor.id));
  write_link(json, "bookmark", ask.url("/compute/flavors/" + flavor.id));
  json.end_array();
  if (minor >= 55) json.key("description").null();
  if (minor >= 61 && details) json.object("extra_specs").end_object();
  json.end_object();
}

Response no_flavor(const Ask& ask, std::string_view id) {
  return ask.error(404, fmt::format("Flavor {} could not be found.", id));
}

// Private ones are an admin's to see: nobody else can be given access to them.
std::optional<Flavor> seen_flavor(Ask& ask) {
  auto flavor = ask.view().find<Flavor>(ask.param(0));
  if (flavor && !flavor->is_public && !ask.actor().rights.admin) return std::nullopt;
  return flavor;
}

std::uint64_t least_of(Ask& ask, std::string_view key) {
  const auto text = ask.query(key);
  if (!text) return 0;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size())
    ask.mistakes().add(key, "must be a whole number");
  return value;
}

// Which kind to list: an admin chooses with is_public (None: both), others see the public ones.
std::optional<bool> wanted_kind(Ask& ask) {
  const auto text = ask.query("is_public");
  if (!ask.actor().rights.admin || !text) return true;
  if (same_ignoring_case(*text, "none")) return std::nullopt;
  return ask.flag("is_public").value_or(true);
}

void sort_flavors(Ask& ask, std::vector<Flavor>& rows) {
  const auto key = ask.query("sort_key").value_or("flavorid");
  const auto direction = ask.query("sort_dir").value_or("asc");
  const auto by = [&](auto member) {
    std::stable_sort(rows.begin(), rows.end(),
                     [&](const Flavor& a, const Flavor& b) { return a.*member < b.*member; });
  };
  if (key == "flavorid" || key == "id") by(&Flavor::id);
  else if (key == "name") by(&Flavor::name);
  else if (key == "vcpus") by(&Flavor::vcpus);
  else if (key == "memory_mb" || key == "ram") by(&Flavor::ram_mib);
  else if (key == "root_gb" || key == "disk") by(&Flavor::disk_gib);
  else if (key == "created_at") by(&Flavor::born);
  else
    ask.mistakes().add("sort_key", "must be one of: flavorid, name, vcpus, memory_mb, root_gb, created_at");
  if (direction == "desc") std::reverse(rows.begin(), rows.end());
  else if (direction != "asc") ask.mistakes().add("sort_dir", "must be asc or desc");
}

Plan list(Ask& ask, bool details) {
  const auto page = ask.page(flavors_a_page_max);
  const auto kind = wanted_kind(ask);
  const auto least_ram = least_of(ask, "minRam"), least_disk = least_of(ask, "minDisk");
  std::vector<Flavor> rows;
  ask.view().each<Flavor>([&](const Flavor& row) {
    const bool wanted = !kind || row.is_public == *kind;
    if (wanted && row.ram_mib >= least_ram && row.disk_gib >= least_disk) rows.push_back(row);
  });
  sort_flavors(ask, rows);
  if (auto bad = ask.bad()) return std::move(*bad);
  bool more = false;
  if (!cut_to_page(rows, page, more, [](const Flavor& row) { return row.id; }))
    return ask.error(400, fmt::format("marker [{}] not found", page.marker));
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("flavors");
  for (const auto& row : rows) write_flavor(json, ask, row, microversion(ask), details);
  json.end_array();
  if (more) {
    json.array("flavors_links");
    write_link(json, "next", ask.next_url(rows.back().id));
    json.end_array();
  }
  json.end_object();
  return json_response(200, std::move(body));
}

Plan show(Ask& ask) {
  const auto flavor = seen_flavor(ask);
  if (!flavor) return no_flavor(ask, ask.param(0));
  std::string body;
  JsonWriter json(body);
  json.begin_object().key("flavor");
  write_flavor(json, ask, *flavor, microversion(ask), true);
  json.end_object();
  return json_response(200, std::move(body));
}

// Nova's rule for ids of flavors.
bool good_id(std::string_view id) {
  return !id.empty() && id.front() != ' ' && id.back() != ' ' &&
         std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                  c == '-' || c == '_' || c == ' ';
         });
}

Plan create(Ask& ask) {
  auto body = ask.body();
  auto flavor = body.object("flavor");
  CreateFlavor intent{.name = flavor.string("name", 1, 255)};
  intent.vcpus = static_cast<std::uint32_t>(flavor.integer("vcpus", 1, vcpus_max));
  intent.ram_mib = static_cast<std::uint64_t>(flavor.integer("ram", 1, ram_mib_max));
  intent.disk_gib = static_cast<std::uint64_t>(flavor.integer("disk", 0, disk_gib_max));
  intent.is_public = flavor.optional_boolean("os-flavor-access:is_public").value_or(true);
  // A number is as good as a word here: nova takes both.
  if (flavor.kind("id") == JsonKind::number) intent.id = std::to_string(flavor.integer("id", 0, INT64_MAX));
  else intent.id = flavor.optional_string("id", 1, 255).value_or("");
  if (intent.id == "auto") intent.id.clear();
  if (intent.id.empty()) intent.id = ask.new_id<AnyId>().str();
  if (!good_id(intent.id))
    flavor.fail("id", "may have letters, digits, '.', '-', '_' and inner spaces; leave it out to get one");
  if (flavor.kind("swap") == JsonKind::number && flavor.integer("swap", 0, INT64_MAX) != 0)
    flavor.fail("swap", "swap disks are not made here: it must be 0");
  else flavor.ignore("swap");
  if (flavor.optional_integer("OS-FLV-EXT-DATA:ephemeral", 0, INT64_MAX).value_or(0) != 0)
    flavor.fail("OS-FLV-EXT-DATA:ephemeral", "ephemeral disks are not made here: it must be 0");
  flavor.ignore("rxtx_factor");  // without effect in nova too
  if (flavor.optional_text("description", 0, 65535).value_or("") != "")
    flavor.fail("description", "descriptions of flavors are not kept: leave it out");
  flavor.done(), body.done();
  if (auto bad = ask.bad()) return std::move(*bad);
  const auto id = intent.id;
  return Change(std::move(intent), [id](Ask& ask) -> Plan {
    const auto made = ask.view().find<Flavor>(id);
    if (!made) return no_flavor(ask, id);
    std::string text;
    JsonWriter json(text);
    json.begin_object().key("flavor");
    write_flavor(json, ask, *made, microversion(ask), true);
    json.end_object();
    return json_response(200, std::move(text));
  });
}

Plan remove(Ask& ask) {
  if (!seen_flavor(ask)) return no_flavor(ask, ask.param(0));
  return Change(DeleteFlavor{.id = ask.param(0)}, [](Ask&) -> Plan { return Response(202); });
}

Plan list_extra_specs(Ask& ask) {
  if (!seen_flavor(ask)) return no_flavor(ask, ask.param(0));
  return json_response(200, R"({"extra_specs":{}})");
}

Plan list_access(Ask& ask) {
  const auto flavor = seen_flavor(ask);
  if (!flavor) return no_flavor(ask, ask.param(0));
  if (flavor->is_public) return ask.error(404, "Access list not available for public flavors.");
  return json_response(200, R"({"flavor_access":[]})");
}

Handle refused(std::string_view what) {
  return [what](Ask& ask) -> Plan { return not_implemented(ask, what); };
}

}  // namespace

void register_flavors(Api& api) {
  const auto add = [&](Method method, std::string_view path, Need need, Handle handle) {
    if (method == Method::get) api.read(Service::compute, path, need, microversioned(std::move(handle)));
    else api.write(Service::compute, method, path, need, microversioned(std::move(handle)));
  };
  add(Method::get, "/v2.1/flavors", Need::reader, [](Ask& ask) { return list(ask, false); });
  add(Method::get, "/v2.1/flavors/detail", Need::reader, [](Ask& ask) { return list(ask, true); });
  add(Method::get, "/v2.1/flavors/{id}", Need::reader, show);
  add(Method::post, "/v2.1/flavors", Need::admin, create);
  add(Method::del, "/v2.1/flavors/{id}", Need::admin, remove);
  add(Method::get, "/v2.1/flavors/{id}/os-extra_specs", Need::reader, list_extra_specs);
  add(Method::get, "/v2.1/flavors/{id}/os-flavor-access", Need::admin, list_access);
  add(Method::post, "/v2.1/flavors/{id}/os-extra_specs", Need::admin,
      refused("Extra specs of flavors are not kept; make the flavor without properties"));
  add(Method::post, "/v2.1/flavors/{id}/action", Need::admin,
      refused("Access lists of flavors are not kept; make the flavor public"));
  add(Method::put, "/v2.1/flavors/{id}", Need::admin,
      refused("A flavor's description cannot be changed; delete the flavor and make another"));
}

}  // namespace reprise::api
