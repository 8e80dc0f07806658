// Asks a running server over plain HTTP/1.0: one request a connection, the answer until its end.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/result.h"

namespace reprise::cli {

struct HttpUrl {
  std::string host;
  std::string port;
  std::string path;
};
Result<HttpUrl> parse_url(std::string_view text);  // http://HOST[:PORT][/PATH]

// As a value in a query: everything but letters, digits, '-', '.', '_' and '~' as %XX (RFC 3986).
std::string url_escaped(std::string_view text);

struct HttpAnswer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  std::string header(std::string_view name) const;
};

struct HttpAsk {
  std::string method = "GET";
  HttpUrl url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::chrono::milliseconds patience{30'000};  // without a single byte
};

// unreachable: nobody listens there, or it fell silent.
Result<HttpAnswer> http_call(const HttpAsk& ask);
// As http_call(), but hands over the body of a 200 line by line while it arrives; no limit to silence.
// `on_line` may return false to stop.
Result<HttpAnswer> http_lines(const HttpAsk& ask, const std::function<bool(std::string_view)>& on_line);

}  // namespace reprise::cli
