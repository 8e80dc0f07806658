#include <fcntl.h>
#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "controlplane/api/http_server.h"
#include "controlplane/api/utf8.h"
#include "tests/unit/api_client.h"

using namespace reprise;
using namespace reprise::api;

namespace {

// Lines that the test hands over; tells what the server did with it.
class TestLines : public LineSource {
 public:
  void next(Then then) override {
    std::unique_lock lock(mutex_);
    then_ = std::move(then);
    ++asked;
    changed_.notify_all();
  }
  void gone() override {
    std::unique_lock lock(mutex_);
    is_gone = true;
    changed_.notify_all();
  }
  void give(std::string lines, bool end = false) {
    Then then;
    {
      std::unique_lock lock(mutex_);
      REQUIRE(changed_.wait_for(lock, std::chrono::seconds(10), [&] { return then_ != nullptr; }));
      then = std::exchange(then_, nullptr);
    }
    then(std::move(lines), end);
  }
  void wait_gone() {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(10), [&] { return is_gone; }));
  }
  std::atomic<int> asked = 0;
  bool is_gone = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Then then_;
};

struct UploadRun {  // what became of a streamed body; the Responder is kept alive by the callback
  std::uint64_t bytes = 0;
  std::size_t largest = 0;
  std::optional<Error> error;
};

void take_all(std::shared_ptr<Upload> upload, std::shared_ptr<Responder> responder,
              std::shared_ptr<UploadRun> run) {
  upload->next([=](Result<std::string> piece) {
    if (!piece) {
      run->error = piece.error();
      return (*responder)(
          Response(400, "text/plain", std::string(errc_name(run->error->code)) + ": " + run->error->text));
    }
    if (piece->empty()) return (*responder)(Response(200, "text/plain", std::to_string(run->bytes)));
    run->bytes += piece->size();
    run->largest = std::max(run->largest, piece->size());
    take_all(upload, responder, run);
  });
}

class TestHandler : public Handler {
 public:
  std::optional<Response> before_body(const Request& head) override {
    return head.path == "/stranger" ? std::optional(Response(401, "text/plain", "who are you?")) : std::nullopt;
  }
  BodyPlan plan(const Request& head) override {
    if (head.path == "/upload") return {true, 64 << 20};
    if (head.path == "/refuse-upload") return {true, 64 << 20};
    return {};
  }
  void handle(Request request, Responder responder) override {
    if (request.path == "/later") {
      threads.emplace_back([r = std::make_shared<Responder>(std::move(responder))] {
        (*r)(Response(200, "text/plain", "late"));
      });
    } else if (request.path == "/held") {
      std::unique_lock lock(mutex);
      held.emplace(std::move(responder));
      changed.notify_all();
    } else if (request.path == "/dropped") {
    } else if (request.path == "/throws") {
      throw std::runtime_error("on purpose");
    } else if (request.path == "/file") {
      Response response(200);
      response.header("Content-Type", "application/octet-stream");
      response.file.emplace(::open(file.c_str(), O_RDONLY | O_CLOEXEC), 3, file_size);
      responder(std::move(response));
    } else if (request.path == "/lines") {
      Response response(200);
      response.lines = lines;
      responder(std::move(response));
    } else if (request.path == "/upload") {
      run = std::make_shared<UploadRun>();
      take_all(request.upload, std::make_shared<Responder>(std::move(responder)), run);
    } else if (request.path == "/refuse-upload") {
      responder(Response(401, "text/plain", "no"));
    } else if (request.path == "/nothing") {
      responder(Response(204));
    } else {
      std::string seen = request.method_text;
      for (const auto& part : request.segments) seen += "|" + part;
      for (const auto& [key, value] : request.query) seen += "?" + key + "=" + value;
      seen += "#" + request.body;
      responder.header("X-Seen", std::string(request.header("x-marker")));
      responder(Response(200, "text/plain", seen));
    }
  }
  Response refuse(const Request&, int status, std::string text) override {
    return Response(status, "text/plain", text);
  }

  ~TestHandler() override {
    for (auto& thread : threads) thread.join();
  }
  std::vector<std::thread> threads;
  std::shared_ptr<TestLines> lines = std::make_shared<TestLines>();
  std::shared_ptr<UploadRun> run;
  std::string file;
  std::uint64_t file_size = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Responder> held;
};

struct World {
  explicit World(const std::function<void(ServerConfig&)>& set = {}) {
    ServerConfig config;
    config.port = 0;
    if (set) set(config);
    auto started = HttpServer::start(config, handler);
    REQUIRE(started.ok());
    server = std::move(*started);
  }
  std::uint16_t port() const { return server->port(); }
  TestHandler handler;
  std::unique_ptr<HttpServer> server;
};

std::string post(std::string_view path, std::string_view body) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", path, body.size(), body);
}

}  // namespace

TEST_CASE("http: targets are decoded, queries keep their order, bodies come whole") {
  World world;
  Client client(world.port());
  CHECK(client.get("/a/b%20c//d?x=1&y=a%2Bb+c&x=2&z").body == "GET|a|b c|d?x=1?y=a+b c?x=2?z=#");
  CHECK(client.ask(post("/a", "hello")).body == "POST|a#hello");
  CHECK(client
            .ask("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n")
            .body == "POST|a#abcde");
  CHECK(client.get("http://elsewhere/a").body == "GET|a#");
  const auto marked = client.ask("\r\nGET /a HTTP/1.1\r\nHost: x\r\nX-Marker:  m 1 \r\n\r\n");
  CHECK(marked.header("X-Seen") == "m 1");
  CHECK(marked.header("Date").size() == 29);
  const auto seen = [&](const std::string& value) {
    return client.ask("GET /a HTTP/1.1\r\nHost: x\r\nX-Marker: " + value + "\r\n\r\n").header("X-Seen");
  };
  CHECK(seen("M\xc3\xbcller") == "M\xc3\xbcller");
  CHECK(seen("2.\xb5\xff") == "2.\xc2\xb5\xc3\xbf");  // Latin-1
}

TEST_CASE("http: bytes arriving one by one are the same request") {
  World world;
  Client client(world.port());
  for (const char c : post("/slow/path?q=%41", "body")) REQUIRE(client.send({&c, 1}));
  CHECK(client.answer().body == "POST|slow|path?q=A#body");
}

TEST_CASE("http: pipelined requests are answered in order, whoever answers them") {
  World world;
  Client client(world.port());
  client.send(
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: "
      "x\r\n\r\n" +
      post("/4", "four"));
  CHECK(client.answer().body == "GET|1#");
  CHECK(client.answer().body == "late");
  CHECK(client.answer().body == "GET|3#");
  CHECK(client.answer().body == "POST|4#four");
}

TEST_CASE("http: keep-alive as the version says") {
  World world;
  SECTION("1.0 closes") {
    Client client(world.port());
    CHECK(client.ask("GET /a HTTP/1.0\r\n\r\n").header("Connection") == "close");
    CHECK(client.closed());
  }
  SECTION("1.0 with keep-alive stays") {
    Client client(world.port());
    CHECK(client.ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").header("Connection") ==
          "keep-alive");
    CHECK(client.ask("GET /b HTTP/1.0\r\n\r\n").body == "GET|b#");
  }
  SECTION("1.1 with close closes") {
    Client client(world.port());
    CHECK(client.ask("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").status == 200);
    CHECK(client.closed());
  }
}

TEST_CASE("http: HEAD and 204 have no body") {
  World world;
  Client client(world.port());
  const auto head = client.ask("HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n", false);
  CHECK(head.header("Content-Length") == "9");
  const auto nothing = client.get("/nothing");
  CHECK(nothing.status == 204);
  CHECK(nothing.header("Content-Length").empty());
  CHECK(client.get("/x").body == "GET|x#");
}

TEST_CASE("http: what is malformed or too large gets its own answer, and the connection ends") {
  World world([](ServerConfig& c) { c.body_bytes_max = 100; });
  const std::string host = "Host: x\r\n";
  struct Case {
    std::string request;
    int status;
  };
  const std::vector<Case> cases = {
      {"hello\r\n\r\n", 400},
      {"GET\r\n\r\n", 400},
      {"GET / FOO\r\n" + host + "\r\n", 400},
      {"GET /a HTTP/1.1\r\n\r\n", 400},
      {"GET /a HTTP/1.1\r\n" + host + host + "\r\n", 400},
      {"GET a HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /a%zz HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /a%00 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /a%ff HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /a/../b HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /a/%2e%2E/b HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /a?x=%1 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"GET /a HTTP/1.1\r\n" + host + "bad header: 1\r\n\r\n", 400},
      {"GET /a HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", 400},
      {"GET /a HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
      {"POST /a HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, identity\r\n\r\n", 501},
      {"POST /a HTTP/1.1\r\n" + host + "Expect: tea\r\nContent-Length: 1\r\n\r\n", 417},
      {"GET /a HTTP/2.0\r\n" + host + "\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n" + host + "\r\n", 414},
      {"GET /" + std::string(60000, 'a'), 414},
      {"GET /a HTTP/1.1\r\n" + host + "X: " + std::string(40000, 'a') + "\r\n\r\n", 431},
      {"GET /a HTTP/1.1\r\n" + host + "X: " + std::string(60000, 'a'), 431},
      {post("/a", std::string(101, 'x')), 413},
      {"POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n65\r\n" + std::string(101, 'x') +
           "\r\n0\r\n\r\n",
       413},
      {"POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3;" + std::string(200'000, 'x'),
       431},
      {"POST /upload HTTP/1.1\r\n" + host + "Content-Length: 99999999999\r\n\r\n", 413},
  };
  std::string many = "GET /a HTTP/1.1\r\n" + host;
  for (int i = 0; i < 101; ++i) many += "X: y\r\n";
  auto all = cases;
  all.push_back({many + "\r\n", 431});
  for (const auto& one : all) {
    INFO(one.request.substr(0, 200));
    Client client(world.port());
    client.send(one.request);
    const auto answer = client.answer();
    CHECK(answer.status == one.status);
    CHECK(answer.body.size() > 10);
    CHECK(answer.header("Connection") == "close");
    CHECK(client.closed());
  }
  CHECK(world.server->counts().refused == all.size());
  CHECK(world.server->counts().requests == 0);
}

TEST_CASE("http: slow clients are told 408, silent ones are let go") {
  World world([](ServerConfig& c) { c.head_ms_max = c.body_ms_max = c.idle_ms_max = 30; });
  Client head(world.port());
  CHECK(head.ask("GET /a HT").status == 408);
  CHECK(head.closed());
  Client body(world.port());
  CHECK(body.ask("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").status == 408);
  Client upload(world.port());
  CHECK(upload.ask("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            .body.find("timed_out") == 0);
  Client silent(world.port());
  CHECK(silent.closed());
  Client idle(world.port());
  CHECK(idle.get("/a").status == 200);
  CHECK(idle.closed());
  CHECK(world.server->counts().too_slow == 3);
}

TEST_CASE("http: more connections than allowed are told 503 with Retry-After") {
  World world([](ServerConfig& c) { c.connections_max = 2; });
  auto one = std::make_unique<Client>(world.port());
  CHECK(one->get("/a").status == 200);
  Client two(world.port());
  CHECK(two.get("/a").status == 200);
  Client three(world.port());
  const auto answer = three.get("/a");
  CHECK(answer.status == 503);
  CHECK(answer.header("Retry-After") == "1");
  CHECK(three.closed());
}

TEST_CASE("http: one address takes not all connections") {
  World world([](ServerConfig& c) { c.connections_max = 3, c.connections_a_source_max = 1; });
  Client one(world.port());
  CHECK(one.get("/a").status == 200);
  Client two(world.port());
  CHECK(two.get("/a").status == 503);
  Client other(world.port(), "127.0.0.2");
  CHECK(other.get("/a").status == 200);
}

TEST_CASE("http: what the head answers takes nothing of the body") {
  World world;
  for (const char* body : {"Content-Length: 1000000\r\n\r\n", "Content-Length: 5\r\n\r\nabcde",
                           "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"}) {
    Client client(world.port());
    const auto answer = client.ask(std::string("POST /stranger HTTP/1.1\r\nHost: x\r\n") + body);
    CHECK(answer.status == 401);
    CHECK(answer.header("Connection") == "close");
  }
  CHECK(world.server->counts().requests == 0);
}

TEST_CASE("http: Expect: 100-continue is honoured only when the body is wanted") {
  World world;
  const std::string expect = "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n";
  Client whole(world.port());
  whole.send("POST /a HTTP/1.1\r\nHost: x\r\n" + expect);
  CHECK(whole.until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(whole.ask("abc").body == "POST|a#abc");
  Client stream(world.port());
  stream.send("POST /upload HTTP/1.1\r\nHost: x\r\n" + expect);
  CHECK(stream.until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(stream.ask("abc").body == "3");
  Client refused(world.port());
  refused.send("POST /refuse-upload HTTP/1.1\r\nHost: x\r\n" + expect);
  CHECK(refused.answer().status == 401);
  CHECK(refused.closed());
}

TEST_CASE("http: an upload streams in bounded pieces, plain or chunked") {
  World world;
  Client client(world.port());
  const std::string data(5'000'000, 'd');
  const auto plain = client.ask(post("/upload", data));
  CHECK(plain.body == "5000000");
  CHECK(world.handler.run->largest < 600'000);
  CHECK(plain.header("Connection").empty());
  client.send("POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 10; ++i) client.send("30d40\r\n" + std::string(200'000, 'e') + "\r\n");
  CHECK(client.ask("0\r\n\r\n").body == "2000000");
  CHECK(client.get("/again").body == "GET|again#");
}

TEST_CASE("http: an upload that is cut off is told so") {
  World world;
  Client client(world.port());
  client.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + std::string(300, 'x'));
  client.end_sending();
  CHECK(client.answer().body.find("unreachable: the upload was cut off after 300 bytes") == 0);
  Client broken(world.port());
  broken.send("POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n");
  CHECK(broken.answer().body.find("invalid: ") == 0);
}

TEST_CASE("http: an upload that is refused early still reads the refusal") {
  World world;
  Client client(world.port());
  client.send("POST /refuse-upload HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n");
  client.send(std::string(20'000'000, 'x'));
  CHECK(client.answer().status == 401);
}

TEST_CASE("http: a file goes out as it is, and a cut is seen") {
  World world;
  char name[] = "/tmp/api_http_test_XXXXXX";
  const int fd = ::mkstemp(name);
  std::string data;
  for (int i = 0; i < 700'000; ++i) data += fmt::format("{:07d}\n", i % 9999999);
  REQUIRE(::write(fd, data.data(), data.size()) == static_cast<ssize_t>(data.size()));
  ::close(fd);
  world.handler.file = name;
  world.handler.file_size = data.size() - 3;
  Client client(world.port());
  CHECK((client.get("/file").body == data.substr(3)));
  CHECK(client.ask("HEAD /file HTTP/1.1\r\nHost: x\r\n\r\n", false).header("Content-Length") ==
        std::to_string(data.size() - 3));
  CHECK(client.get("/a").body == "GET|a#");
  world.handler.file_size = data.size() + 10;
  client.send("GET /file HTTP/1.1\r\nHost: x\r\n\r\n");
  client.until("\r\n\r\n");
  while (client.more()) {
  }
  CHECK(client.in.size() == data.size() - 3);
  ::unlink(name);
}

TEST_CASE("http: lines flow until their source ends, and the source is told when the client goes") {
  World world;
  {
    Client client(world.port());
    client.send("GET /lines HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(client.answer(false).header("Transfer-Encoding") == "chunked");
    world.handler.lines->give("one\n");
    CHECK(client.line_chunk() == "one\n");
    world.handler.lines->give("");
    world.handler.lines->give("two\nthree\n");
    CHECK(client.line_chunk() == "two\nthree\n");
    world.handler.lines->give("last\n", true);
    CHECK(client.line_chunk() == "last\n");
    CHECK(client.line_chunk().empty());
    CHECK(client.get("/a").body == "GET|a#");
  }
  CHECK_FALSE(world.handler.lines->is_gone);
  {
    Client client(world.port());
    client.send("GET /lines HTTP/1.0\r\n\r\n");
    CHECK(client.answer(false).header("Transfer-Encoding").empty());
    world.handler.lines->give("one\n");
    CHECK(client.until("\n") == "one\n");
  }
  world.handler.lines->wait_gone();
}

TEST_CASE("http: a slow reader of lines holds its source back") {
  World world;
  Client client(world.port());
  client.send("GET /lines HTTP/1.1\r\nHost: x\r\n\r\n");
  client.answer(false);
  const std::string block(1 << 20, 'x');
  world.handler.lines->give(block + "\n");  // far more than the sockets' buffers take, and nobody reads
  for (int i = 0; i < 64 && world.handler.lines->asked == i + 1; ++i) {
    Client other(world.port());  // a round trip on each I/O thread lets the server do what it can
    other.get("/a");
  }
  std::size_t received = 0;
  for (int i = 0; i < 20; ++i) {
    received += client.line_chunk().size();
    world.handler.lines->give(block + "\n");
  }
  CHECK(received == 20 * (block.size() + 1));
  CHECK(world.handler.lines->asked <= 22);
}

TEST_CASE("http: a request that nobody answers gets a 500") {
  World world;
  Client client(world.port());
  CHECK(client.get("/dropped").status == 500);
  CHECK(client.get("/throws").status == 500);
  CHECK(client.get("/a").status == 200);
}

TEST_CASE("http: stop lets a running request end, and closes the idle") {
  World world;
  Client idle(world.port());
  CHECK(idle.get("/a").status == 200);
  Client lines(world.port());
  lines.send("GET /lines HTTP/1.1\r\nHost: x\r\n\r\n");
  lines.answer(false);
  world.handler.lines->give("one\n");
  CHECK(lines.line_chunk() == "one\n");
  Client busy(world.port());
  busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  {
    std::unique_lock lock(world.handler.mutex);
    REQUIRE(world.handler.changed.wait_for(lock, std::chrono::seconds(10),
                                           [&] { return world.handler.held.has_value(); }));
  }
  std::thread stopper([&] { world.server->stop(std::chrono::seconds(10)); });
  CHECK(idle.closed());
  CHECK(lines.line_chunk().empty());
  CHECK(world.handler.lines->is_gone);
  (*world.handler.held)(Response(200, "text/plain", "done"));
  const auto answer = busy.answer();
  CHECK(answer.body == "done");
  CHECK(answer.header("Connection") == "close");
  stopper.join();
}

TEST_CASE("http: stop cuts what does not end, and a late answer goes nowhere") {
  World world;
  Client busy(world.port());
  busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  {
    std::unique_lock lock(world.handler.mutex);
    REQUIRE(world.handler.changed.wait_for(lock, std::chrono::seconds(10),
                                           [&] { return world.handler.held.has_value(); }));
  }
  world.server->stop(std::chrono::milliseconds(1));
  CHECK(busy.closed());
  (*world.handler.held)(Response(200));
  world.handler.held.reset();
}

TEST_CASE("http: a port that is taken is refused with the remedy") {
  World world;
  ServerConfig config;
  config.port = world.port();
  auto second = HttpServer::start(config, world.handler);
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code == Errc::exists);
  config.address = "localhost";
  CHECK(HttpServer::start(config, world.handler).error().code == Errc::invalid);
}

TEST_CASE("http: UTF-8 is checked as RFC 3629 says") {
  for (const auto* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"})
    CHECK(valid_utf8(good));
  for (const auto* bad : {"\x80", "\xc0\x80", "\xc3", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                          "\xf8\x88\x80\x80\x80", "\xe0\x80\x80"})
    CHECK_FALSE(valid_utf8(bad));
}

TEST_CASE("http: what was sent is shown up to a whole character") {
  CHECK(shown("no such verb") == "no such verb");
  std::string accents = "a";
  for (int i = 0; i < 40; ++i) accents += "é";
  CHECK(shown(accents).size() == 59 + std::string_view("…").size());
  CHECK(valid_utf8(shown(accents)));
}
