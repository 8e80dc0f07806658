// reprise_hello PORT [BYTES]: the least that Boost.Beast can do with a request, for the api to be measured against:
// two threads, keep-alive, one constant answer of so many bytes (without: of a server's size).
#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

namespace {

namespace http = boost::beast::http;
using boost::asio::ip::tcp;

std::size_t answer_bytes = 1800;  // what GET of one server answers

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : stream_(std::move(socket)) {
    answer_.result(http::status::ok);
    answer_.set(http::field::content_type, "application/json");
    answer_.body() = std::string(answer_bytes, 'x');
    answer_.prepare_payload();
  }
  void read() {
    request_ = {};
    http::async_read(stream_, buffer_, request_, [self = shared_from_this()](auto error, std::size_t) {
      if (!error) self->write();
    });
  }

 private:
  void write() {
    http::async_write(stream_, answer_, [self = shared_from_this()](auto error, std::size_t) {
      if (!error) self->read();
    });
  }
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response<http::string_body> answer_;
};

void accept(tcp::acceptor& acceptor) {
  acceptor.async_accept(boost::asio::make_strand(acceptor.get_executor()),
                        [&](auto error, tcp::socket socket) {
                          if (error) return;
                          socket.set_option(tcp::no_delay(true));
                          std::make_shared<Session>(std::move(socket))->read();
                          accept(acceptor);
                        });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) return std::fputs("usage: reprise_hello PORT [BYTES]\n", stderr), 2;
  if (argc == 3) answer_bytes = std::strtoull(argv[2], nullptr, 10);
  boost::asio::io_context context;
  tcp::acceptor acceptor(
      context, {boost::asio::ip::make_address("127.0.0.1"), static_cast<unsigned short>(std::atoi(argv[1]))});
  accept(acceptor);
  std::puts("listening");
  std::fflush(stdout);
  std::thread second([&] { context.run(); });
  context.run();
  second.join();
}
