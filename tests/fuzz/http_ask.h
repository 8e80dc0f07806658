// One connection to an HTTP server of this process: bytes in, all that it answers out.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace reprise::fuzz {

// What one send takes without waiting.
inline constexpr std::size_t request_bytes_max = 16384;

[[noreturn]] inline void fail(const char* why) {
  std::perror(why);
  std::abort();
}

inline std::string ask(std::uint16_t port, std::string_view bytes) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // libFuzzer's own clock interrupts; the connection is made nevertheless, and what waits for it below sees it.
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno != EINTR) fail("connect");
  pollfd made{fd, POLLOUT, 0};
  while (::poll(&made, 1, 60'000) < 0)
    if (errno != EINTR) fail("poll");
  (void)!::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  ::shutdown(fd, SHUT_WR);
  std::string answer;
  char piece[4096];
  for (;;) {
    pollfd ready{fd, POLLIN, 0};
    const int said = ::poll(&ready, 1, 60'000);
    if (said < 0 && errno == EINTR) continue;
    if (said <= 0) fail("it hangs");
    const auto read = ::recv(fd, piece, sizeof piece, 0);
    if (read <= 0) break;
    answer.append(piece, static_cast<std::size_t>(read));
  }
  ::close(fd);
  return answer;
}

}  // namespace reprise::fuzz
