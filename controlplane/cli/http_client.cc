#include "controlplane/cli/http_client.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace reprise::cli {
namespace {

constexpr std::size_t head_bytes_max = 64 * 1024;
constexpr std::size_t body_bytes_max = 256u << 20;

class Connection {
 public:
  explicit Connection(const HttpAsk& ask) : ask_(ask) {}
  Connection(const Connection&) = delete;
  ~Connection() {
    if (fd_ >= 0) ::close(fd_);
  }

  Status open() {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (const int failed = ::getaddrinfo(ask_.url.host.c_str(), ask_.url.port.c_str(), &hints, &found);
        failed != 0)
      return {Errc::unreachable,
              fmt::format("{} is no host that is known here: {}", ask_.url.host, ::gai_strerror(failed))};
    int error = 0;
    for (const addrinfo* at = found; at && fd_ < 0; at = at->ai_next) {
      const int fd = ::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
      if (fd >= 0 && ::connect(fd, at->ai_addr, at->ai_addrlen) == 0) fd_ = fd;
      else error = errno, fd >= 0 ? ::close(fd) : 0;
    }
    ::freeaddrinfo(found);
    if (fd_ >= 0) return {};
    return {Errc::unreachable,
            fmt::format("no server answers at {}:{}: {}; is `reprise serve` running there?", ask_.url.host,
                        ask_.url.port, std::strerror(error))};
  }

  Status send() {
    std::string text = fmt::format("{} {} HTTP/1.0\r\nHost: {}:{}\r\nAccept: application/json\r\n",
                                   ask_.method, ask_.url.path, ask_.url.host, ask_.url.port);
    for (const auto& [name, value] : ask_.headers) text += fmt::format("{}: {}\r\n", name, value);
    if (!ask_.body.empty())
      text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", ask_.body.size());
    text += "\r\n" + ask_.body;
    for (std::string_view rest = text; !rest.empty();) {
      const ssize_t n = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return silent("closed the connection");
      rest.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

  // The next bytes; empty at the end. `forever`: silence is no error.
  Result<std::string> receive(bool forever) {
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    const int got = ::poll(&ready, 1, forever ? -1 : static_cast<int>(ask_.patience.count()));
    if (got < 0 && errno == EINTR) return std::string();
    if (got == 0) return silent(fmt::format("said nothing for {} ms", ask_.patience.count())).error();
    char part[65536];
    const ssize_t n = ::recv(fd_, part, sizeof part, 0);
    if (n < 0) return silent(std::strerror(errno)).error();
    ended_ = n == 0;
    return std::string(part, static_cast<std::size_t>(n));
  }
  bool ended() const { return ended_; }

  Status silent(const std::string& how) const {
    return {Errc::unreachable, fmt::format("the server at {}:{} {}", ask_.url.host, ask_.url.port, how)};
  }

 private:
  const HttpAsk& ask_;
  int fd_ = -1;
  bool ended_ = false;
};

bool parse_head(std::string_view head, HttpAnswer& answer) {
  const auto line = head.substr(0, head.find("\r\n"));
  const auto space = line.find(' ');
  if (!line.starts_with("HTTP/1.") || space == line.npos) return false;
  answer.status = std::atoi(std::string(line.substr(space + 1, 3)).c_str());
  for (auto rest = head.substr(std::min(line.size() + 2, head.size())); !rest.empty();) {
    const auto one = rest.substr(0, rest.find("\r\n"));
    rest.remove_prefix(std::min(one.size() + 2, rest.size()));
    const auto colon = one.find(':');
    if (colon == one.npos) continue;
    std::string name(one.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    auto value = one.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    answer.headers.emplace_back(std::move(name), value);
  }
  return answer.status >= 100;
}

Result<HttpAnswer> exchange(const HttpAsk& ask, const std::function<bool(std::string_view)>* on_line) {
  Connection connection(ask);
  if (auto opened = connection.open(); !opened) return opened.error();
  if (auto sent = connection.send(); !sent) return sent.error();
  HttpAnswer answer;
  std::string& body = answer.body;
  bool head = true;
  while (!connection.ended()) {
    auto part = connection.receive(on_line && !head);
    if (!part) return part.error();
    body += *part;
    if (const auto end = head ? body.find("\r\n\r\n") : std::string::npos; end != std::string::npos) {
      if (!parse_head(std::string_view(body).substr(0, end), answer))
        return Error{Errc::broken,
                     fmt::format("what answers at {}:{} is no HTTP server", ask.url.host, ask.url.port)};
      body.erase(0, end + 4);
      head = false;
    }
    if (body.size() > (head ? head_bytes_max : body_bytes_max))
      return Error{Errc::broken, fmt::format("the answer of {}:{} has no end", ask.url.host, ask.url.port)};
    if (head || !on_line || answer.status != 200) continue;
    std::size_t from = 0;
    for (auto end = body.find('\n'); end != body.npos; from = end + 1, end = body.find('\n', from))
      if (!(*on_line)(std::string_view(body).substr(from, end - from))) return answer;
    body.erase(0, from);
  }
  if (head) return connection.silent("closed the connection without an answer").error();
  return answer;
}

}  // namespace

std::string HttpAnswer::header(std::string_view name) const {
  for (const auto& [known, value] : headers)
    if (known == name) return value;
  return {};
}

std::string url_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    escaped += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return escaped;
}

Result<HttpUrl> parse_url(std::string_view text) {
  constexpr std::string_view scheme = "http://";
  if (!text.starts_with(scheme))
    return {Errc::invalid, fmt::format("{}: only http:// URLs can be asked from here", text)};
  text.remove_prefix(scheme.size());
  const auto slash = std::min(text.find('/'), text.size());
  std::string_view place = text.substr(0, slash);
  HttpUrl url{.port = "80", .path = std::string(text.substr(slash))};
  if (url.path.empty()) url.path = "/";
  if (const auto colon = place.rfind(':'); colon != place.npos && place.find(']', colon) == place.npos) {
    url.port = place.substr(colon + 1);
    place = place.substr(0, colon);
  }
  if (place.starts_with('[') && place.ends_with(']')) place = place.substr(1, place.size() - 2);
  url.host = place;
  if (url.host.empty() || url.port.empty())
    return {Errc::invalid, fmt::format("http://{}: a host is missing", text)};
  return url;
}

Result<HttpAnswer> http_call(const HttpAsk& ask) { return exchange(ask, nullptr); }

Result<HttpAnswer> http_lines(const HttpAsk& ask, const std::function<bool(std::string_view)>& on_line) {
  return exchange(ask, &on_line);
}

}  // namespace reprise::cli
