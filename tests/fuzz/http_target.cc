// Any bytes at the HTTP server's socket: well-formed answers or a closed connection, and then the next one.
#include "controlplane/api/http_server.h"
#include "controlplane/api/json.h"
#include "controlplane/api/router.h"
#include "tests/fuzz/http_ask.h"

using namespace reprise;
using namespace reprise::api;

namespace {

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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > fuzz::request_bytes_max) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto answer = fuzz::ask(port(), bytes);
  if (!answer.empty() && !answer.starts_with("HTTP/1.1 ")) fuzz::fail(answer.c_str());
  Request request;
  (void)request.set_target(bytes);
  return 0;
}
