#include "controlplane/api/http_message.h"

#include <unistd.h>

#include <array>

#include "controlplane/api/utf8.h"
#include "events/check.h"

namespace reprise::api {
namespace {

constexpr std::array<const char*, 8> method_names = {"GET",   "HEAD",   "POST",    "PUT",
                                                     "PATCH", "DELETE", "OPTIONS", "OTHER"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

const char* method_name(Method method) { return method_names[static_cast<std::size_t>(method)]; }

Method parse_method(std::string_view name) {
  for (std::size_t i = 0; i + 1 < method_names.size(); ++i)
    if (name == method_names[i]) return static_cast<Method>(i);
  return Method::other;
}

const char* status_reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 203:
      return "Non-Authoritative Information";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 300:
      return "Multiple Choices";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 417:
      return "Expectation Failed";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

std::optional<std::string> decode_percent(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_value(text[i + 1]);
      const int low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high << 4 | low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
    decoded.push_back(c);
  }
  if (!valid_utf8(decoded)) return std::nullopt;
  return decoded;
}

std::string_view Request::header(std::string_view name) const {
  const std::string_view text = text_;
  for (const auto& slot : headers_)
    if (same_ignoring_case(text.substr(slot.name, slot.name_size), name))
      return text.substr(slot.value, slot.value_size);
  return {};
}

bool Request::has_header(std::string_view name) const { return header_count(name) != 0; }

std::size_t Request::header_count(std::string_view name) const {
  std::size_t count = 0;
  const std::string_view text = text_;
  for (const auto& slot : headers_) count += same_ignoring_case(text.substr(slot.name, slot.name_size), name);
  return count;
}

std::optional<std::string_view> Request::query_value(std::string_view key) const {
  for (const auto& [name, value] : query)
    if (name == key) return value;
  return std::nullopt;
}

// What is no UTF-8 was Latin-1 in HTTP once (RFC 9110, section 5.5): whoever repeats it writes UTF-8.
void Request::add_header(std::string_view name, std::string_view value) {
  if (!valid_utf8(value)) {
    std::string text;
    for (const char c : value) {
      const auto point = static_cast<unsigned char>(c);
      if (point >= 0x80) text.push_back(static_cast<char>(0xc0 | point >> 6));
      text.push_back(point >= 0x80 ? static_cast<char>(0x80 | (point & 0x3f)) : c);
    }
    return add_header(name, text);
  }
  const auto at = static_cast<std::uint32_t>(text_.size());
  text_.append(name).append(value);
  headers_.push_back({at, static_cast<std::uint32_t>(name.size()),
                      at + static_cast<std::uint32_t>(name.size()),
                      static_cast<std::uint32_t>(value.size())});
}

Status Request::set_target(std::string_view target) {
  segments.clear();
  query.clear();
  if (target.starts_with("http://") || target.starts_with("https://")) {  // absolute form: what a proxy sends
    target.remove_prefix(target.find("//") + 2);
    const auto slash = target.find_first_of("/?");
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  if (const auto hash = target.find('#'); hash != std::string_view::npos) target = target.substr(0, hash);
  const auto mark = target.find('?');
  path = target.substr(0, mark);
  if (path == "*") return {};
  if (path.empty() || path[0] != '/') return {Errc::invalid, "the request's target must begin with '/'"};

  for (std::string_view rest = path; !rest.empty();) {
    rest.remove_prefix(1);
    const auto part = rest.substr(0, rest.find('/'));
    rest.remove_prefix(part.size());
    if (part.empty()) continue;
    auto decoded = decode_percent(part, false);
    if (!decoded) return {Errc::invalid, "the path is not percent-encoded UTF-8 without control characters"};
    if (*decoded == "." || *decoded == "..")
      return {Errc::invalid, "the path must not hold '.' or '..' segments"};
    segments.push_back(std::move(*decoded));
  }
  if (mark == std::string_view::npos) return {};

  for (std::string_view rest = target.substr(mark + 1); !rest.empty();) {
    const auto part = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    if (part.empty()) continue;
    const auto equals = part.find('=');
    auto key = decode_percent(part.substr(0, equals), true);
    auto value = decode_percent(equals == std::string_view::npos ? "" : part.substr(equals + 1), true);
    if (!key || !value)
      return {Errc::invalid, "the query is not percent-encoded UTF-8 without control characters"};
    query.emplace_back(std::move(*key), std::move(*value));
  }
  return {};
}

FilePart& FilePart::operator=(FilePart&& other) noexcept {
  std::swap(fd_, other.fd_);
  offset = other.offset;
  size = other.size;
  return *this;
}

FilePart::~FilePart() {
  if (fd_ >= 0) ::close(fd_);
}

Response::Response(int status, std::string_view type, std::string body)
    : status(status), body(std::move(body)) {
  header("Content-Type", type);
}

Response& Response::header(std::string_view name, std::string_view value) {
  CHECK(name.find_first_of(":\r\n ") == std::string_view::npos);
  CHECK(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  head_.reserve(head_.size() + name.size() + value.size() + 4);
  head_.append(name).append(": ").append(value).append("\r\n");
  return *this;
}

std::optional<std::string> Response::header_value(std::string_view name) const {
  for (std::string_view rest = head_; !rest.empty();) {
    const auto line = rest.substr(0, rest.find("\r\n"));
    rest.remove_prefix(line.size() + 2);
    const auto colon = line.find(": ");
    if (same_ignoring_case(line.substr(0, colon), name)) return std::string(line.substr(colon + 2));
  }
  return std::nullopt;
}

Responder& Responder::operator=(Responder&& other) noexcept {
  std::swap(target_, other.target_);
  std::swap(exchange_, other.exchange_);
  std::swap(head_, other.head_);
  return *this;
}

Responder::~Responder() {
  if (!target_) return;
  (*this)(Response(500, "text/plain; charset=utf-8",
                   "The request was dropped without an answer: see the server's log.\n"));
}

void Responder::header(std::string_view name, std::string_view value) {
  CHECK(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
  head_.append(name).append(": ").append(value).append("\r\n");
}

void Responder::operator()(Response response) {
  CHECK(target_);  // answered twice
  const auto target = std::move(target_);
  target_.reset();
  response.add_head(head_);
  target->answer(exchange_, std::move(response));
}

}  // namespace reprise::api
