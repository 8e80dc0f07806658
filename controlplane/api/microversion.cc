#include "controlplane/api/microversion.h"

#include <fmt/format.h>

#include <charconv>

#include "controlplane/api/utf8.h"

namespace reprise::api {
namespace {

constexpr std::string_view modern = "OpenStack-API-Version";
constexpr std::string_view novas = "X-OpenStack-Nova-API-Version";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// What the headers ask of this service; empty: nothing.
std::string_view asked(const Request& request, Service service) {
  const std::string_view name = service == Service::compute ? "compute" : "volume";
  for (std::string_view rest = request.header(modern); !rest.empty();) {
    const auto part = trimmed(rest.substr(0, rest.find(',')));
    rest.remove_prefix(std::min(rest.size(), rest.find(',') == rest.npos ? rest.size() : rest.find(',') + 1));
    const auto space = part.find(' ');
    if (space != part.npos && same_ignoring_case(part.substr(0, space), name))
      return trimmed(part.substr(space));
  }
  return service == Service::compute ? trimmed(request.header(novas)) : std::string_view();
}

bool read_number(std::string_view text, unsigned& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && (text.size() == 1 || text[0] != '0');
}

struct Asked {
  unsigned minor = 0;
  int status = 0;  // of the refusal; 0: it is good
  std::string text;
};

Asked read(const Request& request, Service service) {
  const auto range = microversions(service);
  const auto text = asked(request, service);
  if (text.empty()) return {.minor = range.least};
  if (same_ignoring_case(text, "latest")) return {.minor = range.most};
  const auto dot = text.find('.');
  unsigned major = 0, minor = 0;
  if (dot == text.npos || !read_number(text.substr(0, dot), major) ||
      !read_number(text.substr(dot + 1), minor))
    return {.status = 400,
            .text = fmt::format(
                "API Version String {} is of invalid format. Must be of format MajorNum.MinorNum.",
                shown(text))};
  if (major != range.major || minor < range.least || minor > range.most)
    return {.status = 406,
            .text = fmt::format(
                "Version {} is not supported by the API. Minimum is {}.{} and maximum is {}.{}.",
                shown(text), range.major, range.least, range.major, range.most)};
  return {.minor = minor};
}

Response say(Response response, Service service, unsigned minor) {
  const auto version = fmt::format("{}.{}", microversions(service).major, minor);
  response.header(modern, fmt::format("{} {}", service == Service::compute ? "compute" : "volume", version));
  if (service == Service::compute) {
    response.header(novas, version);
    response.header("Vary", fmt::format("{}, {}", modern, novas));
  } else {
    response.header("Vary", modern);
  }
  return response;
}

Plan say(Plan plan, Service service, unsigned minor) {
  if (auto* response = std::get_if<Response>(&plan.held)) return say(std::move(*response), service, minor);
  if (auto* change = std::get_if<Change>(&plan.held)) {
    change->then = [then = std::move(change->then), service, minor](Ask& ask) {
      return say(then(ask), service, minor);
    };
    return plan;
  }
  auto& later = std::get<Later>(plan.held);
  later.begin = [begin = std::move(later.begin), service, minor](Ask& ask, Later::Resume resume) {
    begin(ask, [resume = std::move(resume), service, minor](Plan next) {
      resume(say(std::move(next), service, minor));
    });
  };
  return plan;
}

}  // namespace

MicroversionRange microversions(Service service) {
  switch (service) {
    case Service::compute:
      return {2, 1, 79};
    case Service::volume:
      return {3, 0, 42};
    default:
      return {};
  }
}

Handle microversioned(Handle handle) {
  return [handle = std::move(handle)](Ask& ask) -> Plan {
    const Service service = ask.call().service;
    if (service != Service::compute && service != Service::volume) return handle(ask);
    const auto version = read(ask.request(), service);
    if (version.status != 0) return ask.error(version.status, version.text);
    return say(handle(ask), service, version.minor);
  };
}

unsigned microversion(Ask& ask) { return read(ask.request(), ask.call().service).minor; }

}  // namespace reprise::api
