#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <charconv>

#include "controlplane/api/image.h"
#include "controlplane/api/timestamp.h"

namespace reprise::api {
namespace {

constexpr std::size_t images_a_page = 25;  // glance's limit_param_default
constexpr std::size_t images_a_page_max = 1000;
constexpr std::string_view paging[] = {"limit", "marker", "sort_key", "sort_dir", "sort"};

using Test = std::function<bool(const Image&)>;
using Order = std::function<int(const Image&, const Image&)>;

template <class T>
int order_of(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

// "in:a,b" is any of them; everything else is one value.
std::vector<std::string> values_of(std::string_view text) {
  if (!text.starts_with("in:")) return {std::string(text)};
  std::vector<std::string> values;
  for (std::string_view rest = text.substr(3);;) {
    auto part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    if (part.size() >= 2 && part.front() == '"' && part.back() == '"') part = part.substr(1, part.size() - 2);
    values.emplace_back(part);
    if (rest.empty()) return values;
  }
}

Test any_of(std::string_view text, std::function<std::string(const Image&)> value_of) {
  return [values = values_of(text), value_of = std::move(value_of)](const Image& image) {
    return std::find(values.begin(), values.end(), value_of(image)) != values.end();
  };
}

Test number(Ask& ask, std::string_view key, std::string_view text,
            std::function<bool(const Image&, std::uint64_t)> passes) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    ask.mistakes().add(key, "must be a whole number, 0 or more");
  return [value, passes = std::move(passes)](const Image& image) { return passes(image, value); };
}

// "gte:2026-11-03T09:08:07Z"; without an operator it means eq.
Test time(Ask& ask, std::string_view key, std::string_view text, std::int64_t Image::*member) {
  std::string op = "eq";
  for (const std::string_view known : {"gte", "gt", "lte", "lt", "eq", "neq"})
    if (text.starts_with(known) && text.substr(known.size(), 1) == ":") {
      op = known;
      text.remove_prefix(known.size() + 1);
      break;
    }
  const auto ms = parse_time(text);
  if (!ms)
    ask.mistakes().add(
        key, "must be an operator (gt, gte, lt, lte, eq, neq), a colon and a time as 2026-11-03T09:08:07Z");
  // Times are shown in whole seconds, and compared as they are shown.
  return [op, wished = static_cast<std::int64_t>(ms.value_or(0)) / 1000, member](const Image& image) {
    const int order = order_of(image.*member / 1000, wished);
    return op == "gt"    ? order > 0
           : op == "gte" ? order >= 0
           : op == "lt"  ? order < 0
           : op == "lte" ? order <= 0
                         : (order == 0) == (op == "eq");
  };
}

Test test_of(Ask& ask, const std::string& key, std::string_view text) {
  if (key == "name") return any_of(text, [](const Image& i) { return i.name; });
  if (key == "id") return any_of(text, [](const Image& i) { return i.id.str(); });
  if (key == "status")
    return any_of(text, [](const Image& i) { return std::string(image_status_word(i.status)); });
  if (key == "disk_format") return any_of(text, [](const Image& i) { return i.disk_format; });
  if (key == "container_format") return any_of(text, [](const Image& i) { return i.container_format; });
  if (key == "checksum") return any_of(text, [](const Image& i) { return i.md5; });
  if (key == "os_hash_value") return any_of(text, [](const Image& i) { return i.sha512; });
  if (key == "owner")
    return [owner = ProjectId::parse(text)](const Image& i) { return owner && i.project == *owner; };
  if (key == "tag")
    return [tag = std::string(text)](const Image& i) {
      return std::find(i.tags.begin(), i.tags.end(), tag) != i.tags.end();
    };
  if (key == "size_min")
    return number(ask, key, text, [](const Image& i, std::uint64_t value) { return i.size >= value; });
  if (key == "size_max")
    return number(ask, key, text, [](const Image& i, std::uint64_t value) { return i.size <= value; });
  if (key == "min_disk")
    return number(ask, key, text,
                  [](const Image& i, std::uint64_t value) { return i.min_disk_gib == value; });
  if (key == "min_ram")
    return number(ask, key, text, [](const Image& i, std::uint64_t value) { return i.min_ram_mib == value; });
  if (key == "created_at") return time(ask, key, text, &Image::created_ms);
  if (key == "updated_at") return time(ask, key, text, &Image::updated_ms);
  if (key == "protected")
    return [wished = ask.flag(key).value_or(false)](const Image& i) { return i.is_protected == wished; };
  if (key == "os_hidden") return [hidden = ask.flag(key).value_or(false)](const Image&) { return !hidden; };
  if (key == "member_status") return {};  // nobody is a member of another's image
  return [key, wished = values_of(text)](const Image& i) {
    return std::find(wished.begin(), wished.end(), i.property(key)) != wished.end();
  };
}

Order order_by(std::string_view key) {
  const auto by = [](auto member) {
    return [member](const Image& a, const Image& b) { return order_of(a.*member, b.*member); };
  };
  if (key == "name") return by(&Image::name);
  if (key == "status") return by(&Image::status);
  if (key == "disk_format") return by(&Image::disk_format);
  if (key == "container_format") return by(&Image::container_format);
  if (key == "size") return by(&Image::size);
  if (key == "id") return by(&Image::id);
  if (key == "created_at") return by(&Image::born);
  if (key == "updated_at") return by(&Image::updated_ms);
  return {};
}

std::vector<Order> read_order(Ask& ask) {
  std::vector<std::pair<std::string, std::string>> wished;
  const auto keys = ask.queries("sort_key"), directions = ask.queries("sort_dir");
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto direction = i < directions.size()    ? directions[i]
                           : directions.size() == 1 ? directions[0]
                                                    : "desc";
    wished.emplace_back(keys[i], direction);
  }
  if (const auto sort = ask.query("sort")) {
    for (std::string_view rest = *sort; !rest.empty();) {
      const auto part = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      const auto colon = part.find(':');
      wished.emplace_back(part.substr(0, colon), colon == part.npos ? "desc" : part.substr(colon + 1));
    }
  }
  if (wished.empty()) wished.emplace_back("created_at", directions.empty() ? "desc" : directions[0]);
  wished.emplace_back("id", "desc");
  std::vector<Order> orders;
  std::set<std::string_view> seen;
  for (const auto& [key, direction] : wished) {
    if (!seen.insert(key).second) continue;  // it has ordered already
    auto order = order_by(key);
    if (!order)
      ask.mistakes().add(
          "sort_key",
          "must be one of: name, status, container_format, disk_format, size, id, created_at, updated_at");
    else if (direction == "asc") orders.push_back(std::move(order));
    else if (direction == "desc")
      orders.push_back([order = std::move(order)](const Image& a, const Image& b) { return order(b, a); });
    else ask.mistakes().add("sort_dir", "must be asc or desc");
  }
  return orders;
}

// Without a wish community images of others are left out: they are found by who looks for them.
Test visible(Ask& ask) {
  const auto text = ask.query("visibility");
  if (text && *text != "all") {
    const auto wished = parse_visibility(*text);
    if (!wished) ask.mistakes().add("visibility", "must be one of: public, private, shared, community, all");
    return
        [&ask, wished](const Image& image) { return sees_image(ask, image) && image.visibility == wished; };
  }
  return [&ask, all = text.has_value()](const Image& image) {
    return sees_image(ask, image) &&
           (all || image.visibility != Visibility::community || image.project == ask.actor().project);
  };
}

std::vector<Image> rows_of(Ask& ask, const std::vector<Test>& tests) {
  std::vector<Image> rows;
  const auto take = [&](const Image& image) {
    if (std::all_of(tests.begin(), tests.end(), [&](const Test& test) { return test(image); }))
      rows.push_back(image);
  };
  if (ask.actor().rights.admin) {
    ask.view().each<Image>(take);
    return rows;
  }
  const auto project = ask.actor().project;
  ask.view().each_by<Image>(Image::by_project, encode_key(project), take);
  for (const auto open : {Visibility::public_, Visibility::community})
    ask.view().each_by<Image>(Image::by_visibility, KeyWriter().byte(static_cast<std::uint8_t>(open)),
                              [&](const Image& image) {
                                if (image.project != project) take(image);
                              });
  return rows;
}

// What stands behind the service's mount: glance's links are relative to it.
std::string link(Ask& ask, std::string_view marker) {
  return ask.next_url(marker).substr(ask.url("/image").size());
}

std::string first_link(Ask& ask) {
  auto text = link(ask, "");
  const auto marker = text.rfind("marker=");
  if (marker == text.npos || marker == 0) return text;
  text.resize(marker - 1);
  return text;
}

Plan list(Ask& ask) {
  auto page = ask.page(images_a_page_max);
  if (!page.limited) page.limit = images_a_page;
  std::vector<Test> tests{visible(ask)};
  for (const auto& [key, value] : ask.request().query) {
    if (key == "visibility" || std::find(std::begin(paging), std::end(paging), key) != std::end(paging))
      continue;
    if (auto test = test_of(ask, key, value)) tests.push_back(std::move(test));
  }
  const auto orders = read_order(ask);
  if (auto bad = ask.bad()) return std::move(*bad);
  auto rows = rows_of(ask, tests);
  std::sort(rows.begin(), rows.end(), [&](const Image& a, const Image& b) {
    for (const auto& order : orders)
      if (const int one = order(a, b); one != 0) return one < 0;
    return false;
  });
  bool more = false;
  if (!cut_to_page(rows, page, more, [](const Image& row) { return row.id.str(); }))
    return ask.error(400, fmt::format("Invalid marker: image {} could not be found.", page.marker));
  std::string body;
  JsonWriter json(body);
  json.begin_object().array("images");
  for (const auto& row : rows) write_image(json, row);
  json.end_array().field("first", first_link(ask));
  if (more) json.field("next", link(ask, rows.back().id.str()));
  json.field("schema", "/v2/schemas/images").end_object();
  return json_response(200, std::move(body));
}

}  // namespace

void register_image_list(Api& api) { api.read(Service::image, "/v2/images", Need::reader, list); }

}  // namespace reprise::api
