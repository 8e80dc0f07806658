#include "controlplane/api/errors.h"

#include <fmt/format.h>

#include "controlplane/api/json_writer.h"

namespace reprise::api {
namespace {

constexpr const char* json_type = "application/json";

const char* neutron_type_of(int status) {
  switch (status) {
    case 400:
      return "HTTPBadRequest";
    case 401:
      return "HTTPUnauthorized";
    case 403:
      return "PolicyNotAuthorized";
    case 404:
      return "HTTPNotFound";
    case 409:
      return "HTTPConflict";
    case 429:
      return "OverLimit";
    case 503:
      return "ServiceUnavailable";
    default:
      return "HTTPError";
  }
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '&':
        out.append("&amp;");
        break;
      case '"':
        out.append("&quot;");
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

// Glance's faults are webob's: HTML unless the client takes JSON and no HTML. glanceclient fails on the flat
// JSON form, so it must not get it.
Response image_error(int status, std::string_view message, std::string_view accept) {
  const char* title = status_reason(status);
  const bool html = accept.empty() || accept.find("text/html") != std::string_view::npos ||
                    accept.find("*/*") != std::string_view::npos;
  if (!html && accept.find(json_type) != std::string_view::npos) {
    std::string body;
    JsonWriter(body)
        .begin_object()
        .field("message", message)
        .field("code", fmt::format("{} {}", status, title))
        .field("title", title)
        .end_object();
    return {status, json_type, std::move(body)};
  }
  if (html)
    return {status, "text/html; charset=UTF-8",
            fmt::format("<html>\n <head>\n  <title>{0} {1}</title>\n </head>\n <body>\n  <h1>{0} {1}</h1>\n"
                        "  {2}<br /><br />\n\n\n </body>\n</html>",
                        status, title, escape_html(message))};
  return {status, "text/plain; charset=UTF-8", fmt::format("{} {}\n\n{}\n\n   ", status, title, message)};
}

}  // namespace

const char* service_name(Service service) {
  switch (service) {
    case Service::none:
      return "reprise";
    case Service::identity:
      return "identity";
    case Service::compute:
      return "compute";
    case Service::image:
      return "image";
    case Service::volume:
      return "volume";
    case Service::network:
      return "network";
  }
  return "?";
}

const char* fault_key(int status) {
  switch (status) {
    case 400:
      return "badRequest";
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "itemNotFound";
    case 405:
      return "badMethod";
    case 406:
      return "notAcceptable";
    case 409:
      return "conflictingRequest";
    case 413:
    case 429:
      return "overLimit";
    case 415:
      return "badMediaType";
    case 501:
      return "notImplemented";
    case 503:
      return "serviceUnavailable";
    default:
      return "computeFault";
  }
}

Response error_response(Service service, int status, std::string_view message, std::string_view accept,
                        std::string_view neutron_type) {
  std::string body;
  JsonWriter json(body);
  switch (service) {
    case Service::image:
      return image_error(status, message, accept);
    case Service::compute:
    case Service::volume:
      json.begin_object()
          .object(fault_key(status))
          .field("code", status)
          .field("message", message)
          .end_object()
          .end_object();
      break;
    case Service::network:
      json.begin_object()
          .object("NeutronError")
          .field("type", neutron_type.empty() ? std::string_view(neutron_type_of(status)) : neutron_type)
          .field("message", message)
          .field("detail", "")
          .end_object()
          .end_object();
      break;
    case Service::identity:
    case Service::none:
      json.begin_object()
          .object("error")
          .field("code", status)
          .field("message", message)
          .field("title", status_reason(status))
          .end_object()
          .end_object();
      break;
  }
  return {status, json_type, std::move(body)};
}

}  // namespace reprise::api
