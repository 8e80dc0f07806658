#include "controlplane/api/http_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <limits>
#include <thread>

#include "controlplane/api/http_connection.h"

namespace reprise::api {

// --- the parser ------------------------------------------------------------------------------------------

Parser::Parser(const ServerConfig& config) : config_(config) {
  header_limit(config.head_bytes_max);
  body_limit(
      std::numeric_limits<std::uint64_t>::max());  // ours depends on the plan, which depends on the head
}

bool Parser::fail(int status, std::string text) {
  refusal = status;
  why = std::move(text);
  return false;
}

bool Parser::check_head() {
  if (request.http_1_1 && request.header_count("Host") != 1)
    return fail(400, "an HTTP/1.1 request must have exactly one Host header");
  if (request.has_header("Transfer-Encoding") &&
      !same_ignoring_case(request.header("Transfer-Encoding"), "chunked"))
    return fail(501, "Transfer-Encoding may only be 'chunked': send the body plain or chunked");
  if (const auto expect = request.header("Expect"); !expect.empty()) {
    if (!same_ignoring_case(expect, "100-continue"))
      return fail(417, "Expect may only be '100-continue': leave the header out");
    expects_continue = request.http_1_1;
  }
  return true;
}

void Parser::on_request_impl(http::verb, Text method, Text target, int version, error_code& ec) {
  line_done = true;
  head_bytes_ = method.size() + target.size();
  request.method_text.assign(method.data(), method.size());
  request.method = api::parse_method(request.method_text);
  request.http_1_1 = version == 11;
  if (target.size() > config_.target_bytes_max) {
    fail(414, fmt::format("the request's target has {} bytes, at most {} are allowed: ask for less at once",
                          target.size(), config_.target_bytes_max));
  } else if (auto status = request.set_target({target.data(), target.size()}); !status) {
    fail(400, status.error().text);
  }
  if (refusal != 0) ec = http::error::bad_target;
}

void Parser::on_field_impl(http::field, Text name, Text value, error_code& ec) {
  head_bytes_ += name.size() + value.size() + 4;
  if (++headers_ > config_.headers_max || head_bytes_ > config_.head_bytes_max) {
    fail(431, fmt::format("the request has too many or too large headers: at most {}, of {} bytes together",
                          config_.headers_max, config_.head_bytes_max));
    ec = http::error::header_limit;
    return;
  }
  request.add_header({name.data(), name.size()}, {value.data(), value.size()});
}

std::size_t Parser::take(Text bytes, error_code& ec) {
  body_bytes += bytes.size();
  if (body_bytes > body_bytes_max) {
    fail(413, fmt::format("the request's body is larger than {} bytes: send less", body_bytes_max));
    ec = http::error::body_limit;
  } else {
    body.append(bytes.data(), bytes.size());
  }
  return bytes.size();
}

const std::string& Loop::date_line() {
  const auto now = std::time(nullptr);
  if (now != date_at_) {
    std::tm parts{};
    gmtime_r(&now, &parts);
    std::array<char, 48> text{};
    std::strftime(text.data(), text.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
    date_ = text.data();
    date_at_ = now;
  }
  return date_;
}

// --- listening -------------------------------------------------------------------------------------------

namespace {

// As it stands in a URL (RFC 3986, 3.2).
std::string authority_of(const tcp::endpoint& endpoint) {
  const auto address = endpoint.address();
  return fmt::format(fmt::runtime(address.is_v6() ? "[{}]:{}" : "{}:{}"), address.to_string(), endpoint.port());
}

class Server final : public HttpServer {
 public:
  Server(const ServerConfig& config, Handler& handler) : counters_(std::make_shared<Counters>()) {
    for (int i = 0; i < config.threads; ++i)
      loops_.push_back(std::make_shared<Loop>(config, handler, counters_));
    acceptor_.emplace(loops_[0]->io);
  }

  ~Server() override {
    stop(std::chrono::milliseconds(0));
    if (spare_ >= 0) ::close(spare_);
  }

  Status listen(const ServerConfig& config) {
    error_code ec;
    const auto address = asio::ip::make_address(config.address, ec);
    if (ec)
      return {Errc::invalid,
              fmt::format("'{}' is not an IP address to listen on: use 127.0.0.1, or this host's own",
                          config.address)};
    const tcp::endpoint endpoint(address, config.port);
    acceptor_->open(endpoint.protocol(), ec);
    if (!ec) acceptor_->set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor_->bind(endpoint, ec);
    if (!ec) acceptor_->listen(1024, ec);
    if (ec)
      return {ec == asio::error::address_in_use ? Errc::exists : Errc::denied,
              fmt::format("cannot listen on {}:{}: {}; stop what listens there or choose another port",
                          config.address, config.port, ec.message())};
    port_ = acceptor_->local_endpoint().port();
    spare_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return {};
  }

  void run() {
    accept();
    for (const auto& loop : loops_) threads_.emplace_back([loop] { loop->io.run(); });
  }

  std::uint16_t port() const override { return port_; }

  ServerCounts counts() const override {
    const auto& c = *counters_;
    return {c.accepted, c.open, c.busy, c.requests, c.refused, c.too_slow};
  }

  void stop(std::chrono::milliseconds grace) override {
    if (threads_.empty()) return;
    asio::post(loops_[0]->io, [this] {
      error_code ignored;
      acceptor_->close(ignored);
    });
    std::vector<asio::steady_timer> cuts;
    for (const auto& loop : loops_) cuts.emplace_back(loop->io);
    for (std::size_t i = 0; i < loops_.size(); ++i)
      asio::post(loops_[i]->io, [this, i, grace, &cut = cuts[i]] { begin_stop(*loops_[i], cut, grace); });
    for (auto& thread : threads_) thread.join();
    threads_.clear();
    for (const auto& loop : loops_) {
      loop->over = true;
      loop->io.restart();
      loop->io.poll();  // what was posted meanwhile holds connections
      loop->last_gone = nullptr;
    }
  }

 private:
  static void begin_stop(Loop& loop, asio::steady_timer& cut, std::chrono::milliseconds grace) {
    loop.stopping = true;
    loop.last_gone = [&loop, &cut] {
      cut.cancel();
      loop.work.reset();
    };
    const std::vector<Connection*> now(loop.connections.begin(), loop.connections.end());
    for (auto* connection : now)
      if (loop.connections.contains(connection)) connection->stop_when_done();
    if (loop.connections.empty()) return loop.last_gone();
    cut.expires_after(grace);
    cut.async_wait([&loop](const error_code& ec) {
      if (ec) return;
      const std::vector<Connection*> late(loop.connections.begin(), loop.connections.end());
      for (auto* connection : late)
        if (loop.connections.contains(connection)) connection->close_now();
    });
  }

  void accept() {
    auto loop = loops_[next_++ % loops_.size()];
    acceptor_->async_accept(loop->io, [this, loop](const error_code& ec, tcp::socket socket) {
      if (ec == asio::error::operation_aborted || !acceptor_->is_open()) return;
      if (ec) {
        if (ec == asio::error::no_descriptors) shed();
      } else {
        take(loop, std::move(socket));
      }
      accept();
    });
  }

  // Out of descriptors: without this the same connection would wake the acceptor for ever. The spare one is
  // given up to take it and close it.
  void shed() {
    if (spare_ < 0) return;
    ::close(spare_);
    error_code ec;
    tcp::socket socket(loops_[0]->io);
    acceptor_->accept(socket, ec);
    socket.close(ec);
    spare_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ++counters_->busy;
  }

  void take(const std::shared_ptr<Loop>& loop, tcp::socket socket) {
    error_code ec;
    const auto peer = socket.remote_endpoint(ec);
    const auto own = ec ? tcp::endpoint() : socket.local_endpoint(ec);
    if (!ec) socket.non_blocking(true, ec);
    if (!ec) socket.set_option(tcp::no_delay(true), ec);
    if (!ec) socket.set_option(asio::socket_base::keep_alive(true), ec);
    if (ec) return;  // it is gone already
    ++counters_->accepted;
    const auto open = counters_->open.load();
    const auto most = loop->config.connections_max, most_of_one = loop->config.connections_a_source_max;
    const auto address = peer.address().to_string();
    const auto its_own = counters_->sources.enter(address);
    if (open >= most + 64 || its_own > most_of_one + 64) {  // beyond telling: closed without a word
      counters_->sources.leave(address);
      return void(++counters_->busy);
    }
    auto connection = std::make_shared<Connection>(loop, std::move(socket), fmt::format("{}:{}", address, peer.port()), authority_of(own));
    asio::post(loop->io, [connection, busy = open >= most || its_own > most_of_one] { connection->start(busy); });
  }

  const std::shared_ptr<Counters> counters_;
  std::vector<std::shared_ptr<Loop>> loops_;
  std::optional<tcp::acceptor> acceptor_;
  std::vector<std::thread> threads_;
  std::size_t next_ = 0;
  std::uint16_t port_ = 0;
  int spare_ = -1;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::start(const ServerConfig& config, Handler& handler) {
  if (config.threads < 1 || config.threads > 64)
    return {Errc::invalid, fmt::format("api threads is {}, it must be 1 to 64", config.threads)};
  auto server = std::make_unique<Server>(config, handler);
  if (auto status = server->listen(config); !status) return status.error();
  server->run();
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace reprise::api
