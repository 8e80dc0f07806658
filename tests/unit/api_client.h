// A plain socket with deadlines, for tests of the HTTP server: sends what it is told, bytes malformed or not,
// and reads whole answers. Every wait ends after ten seconds with a failed test, never in silence.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <string_view>

#include "controlplane/api/http_message.h"
#include "tests/unit/api_catch.h"

namespace reprise::api {

struct Answer {
  int status = 0;
  std::string head;
  std::string body;
  std::string header(std::string_view name) const {
    for (std::size_t at = head.find("\r\n"); at != std::string::npos && at + 2 < head.size();) {
      const auto end = head.find("\r\n", at + 2);
      const auto line = std::string_view(head).substr(at + 2, end - at - 2);
      const auto colon = line.find(": ");
      if (colon != std::string_view::npos && same_ignoring_case(line.substr(0, colon), name))
        return std::string(line.substr(colon + 2));
      at = end;
    }
    return {};
  }
};

class Client {
 public:
  static constexpr int wait_ms = 10'000;

  explicit Client(std::uint16_t port, const char* from = "127.0.0.1") : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    REQUIRE(inet_pton(AF_INET, from, &address.sin_addr) == 1);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const int one = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  Client(const Client&) = delete;
  ~Client() { ::close(fd_); }

  // False when the other side does not want it any more.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      pollfd p{fd_, POLLOUT, 0};
      if (::poll(&p, 1, wait_ms) <= 0) FAIL("the server takes no more bytes");
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void end_sending() { ::shutdown(fd_, SHUT_WR); }

  // More bytes into `in`; false at the end of the stream.
  bool more() {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, wait_ms) <= 0) FAIL("the server says nothing; so far: " << in);
    char bytes[65536];
    const auto n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) return false;
    in.append(bytes, static_cast<std::size_t>(n));
    return true;
  }
  bool closed() {
    while (in.empty())
      if (!more()) return true;
    return false;
  }
  std::string until(std::string_view mark) {
    std::size_t at;
    while ((at = in.find(mark)) == std::string::npos) REQUIRE(more());
    return cut(at + mark.size());
  }
  std::string bytes(std::size_t count) {
    while (in.size() < count) REQUIRE(more());
    return cut(count);
  }
  std::string line_chunk() {  // one chunk of a chunked body
    const auto head = until("\r\n");
    std::size_t size = 0;
    std::from_chars(head.data(), head.data() + head.size(), size, 16);
    auto body = bytes(size);
    REQUIRE(bytes(2) == "\r\n");
    return body;
  }
  Answer answer(bool with_body = true) {
    Answer a;
    a.head = until("\r\n\r\n");
    REQUIRE(a.head.substr(0, 9) == "HTTP/1.1 ");
    a.status = std::stoi(a.head.substr(9, 3));
    const auto length = a.header("Content-Length");
    if (with_body && !length.empty()) a.body = bytes(std::stoul(length));
    return a;
  }
  Answer ask(std::string_view request, bool with_body = true) {
    send(request);
    return answer(with_body);
  }
  Answer get(std::string_view target) {
    return ask("GET " + std::string(target) + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }

  std::string in;

 private:
  std::string cut(std::size_t count) {
    auto piece = in.substr(0, count);
    in.erase(0, count);
    return piece;
  }
  int fd_;
};

}  // namespace reprise::api
