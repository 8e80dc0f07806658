// Any bytes at the HTTP server's socket: well-formed answers or a closed connection, and then the next one.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "controlplane/api/http_server.h"
#include "controlplane/api/json.h"
#include "controlplane/api/router.h"

using namespace reprise;
using namespace reprise::api;

namespace {

[[noreturn]] void fail(const char* why) {
  std::perror(why);
  std::abort();
}

class Reading final : public Handler {
 public:
  BodyPlan plan(const Request& head) override { return {head.method == Method::put, 4096}; }
  void handle(Request request, Responder responder) override {
    if (!request.upload) {
      const auto document = JsonDocument::parse(request.body);
      return responder(Response(document ? 200 : 400, "text/plain", request.path));
    }
    drain(request.upload, std::make_shared<Responder>(std::move(responder)));
  }
  Response refuse(const Request&, int status, std::string text) override {
    return Response(status, "text/plain", std::move(text));
  }

 private:
  static void drain(std::shared_ptr<Upload> upload, std::shared_ptr<Responder> responder) {
    upload->next([=](Result<std::string> piece) {
      if (!piece || piece->empty()) return (*responder)(Response(piece ? 200 : 400, "text/plain", "end"));
      drain(upload, responder);
    });
  }
};

std::uint16_t port() {
  static Reading handler;
  static const auto server = [] {
    ServerConfig config;
    config.port = 0;
    config.linger_ms_max = 100;
    auto started = HttpServer::start(config, handler);
    if (!started) std::abort();
    return std::move(*started);
  }();
  return server->port();
}

std::string ask(const std::uint8_t* data, std::size_t size) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("connect");
  (void)!::send(fd, data, size, MSG_NOSIGNAL);
  ::shutdown(fd, SHUT_WR);
  std::string answer;
  char piece[4096];
  for (;;) {
    pollfd ready{fd, POLLIN, 0};
    if (::poll(&ready, 1, 60'000) <= 0) fail("it hangs");
    const auto read = ::recv(fd, piece, sizeof piece, 0);
    if (read <= 0) break;
    answer.append(piece, static_cast<std::size_t>(read));
  }
  ::close(fd);
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 16384) return 0;  // what one send takes
  const auto answer = ask(data, size);
  if (!answer.empty() && !answer.starts_with("HTTP/1.1 ")) fail(answer.c_str());
  Request request;
  (void)request.set_target(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
