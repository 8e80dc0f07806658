// Random and mutated bytes at the HTTP server: whatever comes, it answers or closes, and goes on serving.

#include <random>

#include "controlplane/api/http_server.h"
#include "tests/unit/api_client.h"

using namespace reprise;
using namespace reprise::api;

namespace {

class EchoHandler : public Handler {
 public:
  BodyPlan plan(const Request& head) override { return {head.method == Method::put, 4096}; }
  void handle(Request request, Responder responder) override {
    if (!request.upload) return responder(Response(200, "text/plain", "ok"));
    drain(request.upload, std::make_shared<Responder>(std::move(responder)));
  }
  Response refuse(const Request&, int status, std::string text) override {
    return Response(status, "text/plain", text);
  }

 private:
  static void drain(std::shared_ptr<Upload> upload, std::shared_ptr<Responder> responder) {
    upload->next([=](Result<std::string> piece) {
      if (!piece || piece->empty()) return (*responder)(Response(piece ? 200 : 400, "text/plain", "end"));
      drain(upload, responder);
    });
  }
};

const std::vector<std::string> seeds = {
    "GET /a/b?c=d HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /v HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /v HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "DELETE http://h/%41%42?%43=%44&e HTTP/1.1\r\nHost: x\r\nX: \r\n y\r\n\r\n",
};

std::string mutate(std::mt19937_64& random) {
  std::string text;
  if (random() % 8 == 0) {
    text.resize(random() % 300);
    for (auto& c : text) c = static_cast<char>(random());
    return text;
  }
  for (auto n = 1 + random() % 3; n > 0; --n) text += seeds[random() % seeds.size()];
  for (auto n = random() % 6; n > 0; --n) {
    const auto at = random() % text.size();
    switch (random() % 4) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, 1 + random() % 10);
        break;
      case 2:
        text.insert(at, 1 + random() % 40, static_cast<char>(random()));
        break;
      default:
        text.insert(at, text.substr(random() % text.size(), random() % 40));
        break;
    }
    if (text.empty()) text = "x";
  }
  return text;
}

}  // namespace

TEST_CASE("http fuzz: every stream of bytes ends in well-formed answers or a closed connection") {
  EchoHandler handler;
  ServerConfig config;
  config.port = 0;
  config.linger_ms_max = 100;
  auto server = HttpServer::start(config, handler);
  REQUIRE(server.ok());
  std::mt19937_64 random(20260101);
  int answers = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto text = mutate(random);
    INFO("round " << round << ": " << text);
    Client client((*server)->port());
    client.send(text);
    client.end_sending();
    while (client.more()) {
    }
    for (std::string_view rest = client.in; !rest.empty();) {
      REQUIRE(rest.substr(0, 9) == "HTTP/1.1 ");
      ++answers;
      const auto next = rest.find("HTTP/1.1 ", 9);
      rest = next == std::string_view::npos ? std::string_view() : rest.substr(next);
    }
  }
  CHECK(answers > 1000);
  Client good((*server)->port());
  CHECK(good.get("/a").status == 200);
}
