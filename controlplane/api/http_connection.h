// Inside the HTTP server: the parser, one connection, one I/O thread. Only http_connection.cc and
// http_server.cc include this; Beast and Asio go no further.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <chrono>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "controlplane/api/http_server.h"

namespace reprise::api {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;

// How many connections each address has open.
class Sources {
 public:
  std::uint32_t enter(const std::string& address) {
    const std::lock_guard lock(mutex_);
    return ++open_[address];
  }
  void leave(const std::string& address) {
    const std::lock_guard lock(mutex_);
    const auto at = open_.find(address);
    if (at != open_.end() && --at->second == 0) open_.erase(at);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::uint32_t> open_;
};

struct Counters {
  std::atomic<std::uint64_t> accepted{0}, open{0}, busy{0}, requests{0}, refused{0}, too_slow{0};
  Sources sources;
};

// Beast's parser, filling our Request without a container in between.
class Parser final : public http::basic_parser<true> {
 public:
  explicit Parser(const ServerConfig& config);

  Request request;
  bool line_done = false;  // the request line was read
  bool expects_continue = false;
  int refusal = 0;  // the status, when one of our own limits was passed
  std::string why;
  std::string body;  // what arrived since it was taken last
  std::uint64_t body_bytes = 0;
  std::uint64_t body_bytes_max = 0;

  // What Beast lets pass and we do not, once all headers are known.
  bool check_head();

 private:
  using Text = boost::beast::string_view;

  bool fail(int status, std::string text);
  std::size_t take(Text bytes, error_code& ec);
  void on_request_impl(http::verb, Text method, Text target, int version, error_code& ec) override;
  void on_field_impl(http::field, Text name, Text value, error_code& ec) override;
  std::size_t on_body_impl(Text bytes, error_code& ec) override { return take(bytes, ec); }
  std::size_t on_chunk_body_impl(std::uint64_t, Text bytes, error_code& ec) override {
    return take(bytes, ec);
  }
  void on_response_impl(int, Text, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  void on_chunk_header_impl(std::uint64_t, Text, error_code&) override {}
  void on_finish_impl(error_code&) override {}

  const ServerConfig& config_;
  std::size_t head_bytes_ = 0;
  std::uint32_t headers_ = 0;
};

class Connection;

// One I/O thread with its connections. Nothing of it is locked: other threads post.
struct Loop {
  Loop(const ServerConfig& config, Handler& handler, std::shared_ptr<Counters> counters)
      : config(config), handler(handler), counters(std::move(counters)) {}

  const ServerConfig config;
  Handler& handler;
  const std::shared_ptr<Counters> counters;
  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::unordered_set<Connection*> connections;
  bool stopping = false;
  std::function<void()> last_gone;  // set while stopping
  std::atomic<bool> over{false};    // the thread has ended: late answers are dropped

  bool here() { return io.get_executor().running_in_this_thread(); }

  // The Date header's line, made once a second.
  const std::string& date_line();

 private:
  std::string date_;
  std::time_t date_at_ = 0;
};

//        head, body             answer              last byte
//   head ────────────▶ handling ───────▶ sending ──────────────▶ head, lingering or closed
class Connection final : public AnswerTarget, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Loop> loop, tcp::socket socket, std::string client, std::string served_at)
      : loop_(std::move(loop)),
        socket_(std::move(socket)),
        timer_(loop_->io),
        client_(std::move(client)),
        served_at_(std::move(served_at)) {
    ++loop_->counters->open;
  }
  ~Connection() override {
    --loop_->counters->open;
    loop_->counters->sources.leave(address_of(client_));
  }

  void start(bool busy);
  void stop_when_done();
  void close_now();
  void answer(std::uint64_t exchange, Response response) override;
  void upload_next(std::uint64_t exchange, Upload::Then then);
  const std::shared_ptr<Loop>& loop() const { return loop_; }

 private:
  enum class State { head, body, handling, sending, lingering, closed };

  void process();
  bool parse_head();
  std::size_t put(error_code& ec);
  bool head_done();
  bool parse_body();
  int failure(const error_code& ec, std::string& why) const;
  void dispatch(std::shared_ptr<Upload> upload);
  void refuse(int status, std::string text);
  void refuse(Response response);

  void read_more();
  void on_read(const error_code& ec, std::size_t count);
  void make_room(std::size_t least);

  void send(Response response);
  void make_head(const Response& response, std::uint64_t size);
  void write_more();
  void send_file();
  void ask_lines();
  void on_lines(std::uint64_t exchange, std::string lines, bool end);
  template <class Next>
  void when_writable(Next next);
  void finished();
  void send_continue();

  void upload_pump();
  void upload_deliver(Result<std::string> piece);
  void upload_fail(Errc code, std::string text);

  void set_deadline(std::uint32_t ms);
  void no_deadline() { deadline_ = Clock::time_point::max(); }
  void arm();
  void timed_out();

  const std::shared_ptr<Loop> loop_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  const std::string client_;
  const std::string served_at_;

  State state_ = State::head;
  bool in_process_ = false;
  bool in_handler_ = false;
  bool reading_ = false;
  bool keep_ = true;
  bool slow_head_ = false;      // the head's deadline is running
  bool unread_ = false;         // the client may still be sending what nobody will read
  std::uint64_t exchange_ = 0;  // counts requests: an answer for an earlier one is not taken
  std::optional<Parser> parser_;
  std::vector<char> input_;
  std::size_t begin_ = 0, end_ = 0;

  std::optional<Response> held_;  // answered from inside handle()
  std::string out_head_, out_body_;
  std::size_t sent_ = 0;
  bool head_only_ = false, chunked_ = false, http_1_1_ = true;
  std::optional<FilePart> file_;
  std::shared_ptr<LineSource> lines_;

  Upload::Then upload_then_;
  std::optional<Error> upload_error_;
  bool continue_due_ = false;
  std::uint64_t lingered_ = 0;

  Clock::time_point deadline_ = Clock::time_point::max();
  Clock::time_point armed_ = Clock::time_point::max();
};

}  // namespace reprise::api
