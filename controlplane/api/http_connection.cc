#include "controlplane/api/http_connection.h"

#include <fmt/format.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <exception>

#include "events/check.h"

namespace reprise::api {
namespace {

constexpr std::size_t buffer_bytes_least = 8 * 1024;
constexpr std::size_t buffer_bytes_body = 64 * 1024;
constexpr std::size_t piece_bytes = 256 * 1024;

class UploadStream final : public Upload {
 public:
  UploadStream(std::shared_ptr<Connection> connection, std::uint64_t exchange,
               std::optional<std::uint64_t> length)
      : connection_(std::move(connection)), exchange_(exchange), length_(length) {}

  void next(Then then) override {
    auto& loop = *connection_->loop();
    if (loop.over) return then(Error{Errc::unreachable, "the server has stopped"});
    asio::post(loop.io, [connection = connection_, exchange = exchange_, then = std::move(then)]() mutable {
      connection->upload_next(exchange, std::move(then));
    });
  }
  std::optional<std::uint64_t> length() const override { return length_; }

 private:
  const std::shared_ptr<Connection> connection_;
  const std::uint64_t exchange_;
  const std::optional<std::uint64_t> length_;
};

}  // namespace

// --- reading ---------------------------------------------------------------------------------------------

void Connection::start(bool busy) {
  loop_->connections.insert(this);
  parser_.emplace(loop_->config);
  if (busy) {
    ++loop_->counters->busy;
    unread_ = true;
    auto response = loop_->handler.refuse(
        parser_->request, 503,
        fmt::format("no more connections are taken (at most {} in all, {} of one address): close idle ones or try again in a "
                    "second",
                    loop_->config.connections_max, loop_->config.connections_a_source_max));
    response.header("Retry-After", "1");
    response.close = true;
    return send(std::move(response));
  }
  if (loop_->stopping) return close_now();
  set_deadline(loop_->config.head_ms_max);
  process();
}

void Connection::make_room(std::size_t least) {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ > 0 && input_.size() - end_ < least) {
    std::copy(input_.begin() + static_cast<std::ptrdiff_t>(begin_),
              input_.begin() + static_cast<std::ptrdiff_t>(end_), input_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  if (input_.size() - end_ < least) input_.resize(end_ + least);
}

void Connection::read_more() {
  if (reading_) return;
  reading_ = true;
  const bool in_body = state_ == State::body || state_ == State::handling || state_ == State::lingering;
  make_room(in_body ? buffer_bytes_body : buffer_bytes_least);
  socket_.async_read_some(asio::buffer(input_.data() + end_, input_.size() - end_),
                          [self = shared_from_this()](const error_code& ec, std::size_t count) {
                            self->reading_ = false;
                            self->on_read(ec, count);
                          });
}

void Connection::on_read(const error_code& ec, std::size_t count) {
  if (state_ == State::closed) return;
  if (state_ == State::lingering) {
    lingered_ += count;
    if (ec || lingered_ > loop_->config.linger_bytes_max) return close_now();
    return read_more();
  }
  end_ += count;
  if (ec) {
    if (state_ == State::handling && upload_then_)
      return upload_fail(
          Errc::unreachable,
          fmt::format("the upload was cut off after {} bytes: send it again", parser_->body_bytes));
    return close_now();
  }
  if (state_ == State::handling && upload_then_) return upload_pump();
  if (state_ == State::sending && lines_) {  // only watched for its end; what else comes is the next request
    if (end_ - begin_ < loop_->config.head_bytes_max) read_more();
    return;
  }
  process();
}

void Connection::process() {
  if (in_process_) return;
  in_process_ = true;
  const auto self = shared_from_this();  // a handler may let go of everything else
  while ((state_ == State::head && parse_head()) || (state_ == State::body && parse_body())) {
  }
  in_process_ = false;
}

// True when the state moved on; false when bytes are missing or the connection is busy answering.
bool Connection::parse_head() {
  while (!parser_->got_some() && begin_ < end_ && (input_[begin_] == '\r' || input_[begin_] == '\n'))
    ++begin_;
  if (begin_ == end_ && !parser_->got_some()) {
    if (input_.size() > buffer_bytes_least && !reading_) std::vector<char>().swap(input_), begin_ = end_ = 0;
    read_more();
    return false;
  }
  error_code ec;
  begin_ += put(ec);
  if (ec == http::error::need_more) {
    if (!slow_head_) set_deadline(loop_->config.head_ms_max);
    slow_head_ = true;
    read_more();
    return false;
  }
  if (ec) {
    std::string why;
    const int status = failure(ec, why);
    refuse(status, std::move(why));
    return false;
  }
  return parser_->is_header_done() ? head_done() : true;
}

// What stays unparsed is a line that has no end yet: of a chunk too, where Beast sets no limit.
std::size_t Connection::put(error_code& ec) {
  const auto count = parser_->put(asio::const_buffer(input_.data() + begin_, end_ - begin_), ec);
  if (ec == http::error::need_more && end_ - begin_ - count > loop_->config.head_bytes_max)
    ec = http::error::header_limit;
  return count;
}

int Connection::failure(const error_code& ec, std::string& why) const {
  if (parser_->refusal != 0) {
    why = parser_->why;
    return parser_->refusal;
  }
  if (ec == http::error::header_limit) {
    why = fmt::format("the request's {} longer than {} bytes: ask for less at once",
                      parser_->line_done ? "headers are" : "target is", loop_->config.head_bytes_max);
    return parser_->line_done ? 431 : 414;
  }
  if (ec == http::error::bad_version) {
    const std::string_view rest(input_.data() + begin_, end_ - begin_);
    const auto line = rest.substr(0, rest.find('\r'));
    const auto at = line.rfind(" HTTP/");
    if (at != std::string_view::npos && at + 7 < line.size() && line[at + 6] >= '2' && line[at + 6] <= '9') {
      why = "only HTTP/1.0 and HTTP/1.1 are spoken here";
      return 505;
    }
  }
  why = fmt::format("the request is not well-formed HTTP: {}", ec.message());
  return 400;
}

bool Connection::head_done() {
  slow_head_ = false;
  http_1_1_ = parser_->request.http_1_1;
  head_only_ = parser_->request.method == Method::head;
  keep_ = parser_->keep_alive() && !loop_->stopping;
  parser_->request.client = client_;
  parser_->request.served_at = served_at_;
  if (!parser_->check_head()) {
    refuse(parser_->refusal, parser_->why);
    return false;
  }
  if (parser_->is_done()) {
    dispatch(nullptr);
    return true;
  }
  if (auto answer = loop_->handler.before_body(parser_->request)) {
    refuse(std::move(*answer));
    return false;
  }
  parser_->eager(true);
  const auto plan = loop_->handler.plan(parser_->request);
  parser_->body_bytes_max = plan.limit != 0 ? plan.limit : loop_->config.body_bytes_max;
  const auto length = parser_->content_length();
  if (length && *length > parser_->body_bytes_max) {
    refuse(413, fmt::format("the request's body has {} bytes, at most {} are allowed: send less", *length,
                            parser_->body_bytes_max));
    return false;
  }
  continue_due_ = parser_->expects_continue && begin_ == end_;
  if (plan.stream) {
    std::optional<std::uint64_t> known;
    if (length) known = *length;
    dispatch(std::make_shared<UploadStream>(shared_from_this(), exchange_ + 1, known));
    return true;
  }
  send_continue();
  set_deadline(loop_->config.body_ms_max);
  state_ = State::body;
  return true;
}

bool Connection::parse_body() {
  while (begin_ < end_ && !parser_->is_done()) {
    error_code ec;
    begin_ += put(ec);
    if (ec == http::error::need_more) break;
    if (ec) {
      std::string why;
      const int status = failure(ec, why);
      refuse(status, std::move(why));
      return false;
    }
  }
  if (!parser_->is_done()) {
    read_more();
    return false;
  }
  parser_->request.body = std::move(parser_->body);
  dispatch(nullptr);
  return true;
}

void Connection::dispatch(std::shared_ptr<Upload> upload) {
  ++exchange_;
  ++loop_->counters->requests;
  state_ = State::handling;
  no_deadline();
  parser_->request.upload = std::move(upload);
  in_handler_ = true;
  try {
    loop_->handler.handle(std::move(parser_->request), Responder(shared_from_this(), exchange_));
  } catch (const std::exception& problem) {  // its Responder has answered 500 on the way out
    std::fprintf(stderr, "reprise: a request's handler threw: %s\n", problem.what());
  }
  in_handler_ = false;
  if (held_ && state_ == State::handling) {
    Response response = std::move(*held_);
    held_.reset();
    send(std::move(response));
  }
}

void Connection::refuse(int status, std::string text) {
  refuse(loop_->handler.refuse(parser_->request, status, std::move(text)));
}

void Connection::refuse(Response response) {
  ++loop_->counters->refused;
  ++exchange_;
  unread_ = true;
  response.close = true;
  send(std::move(response));
}

// --- answering -------------------------------------------------------------------------------------------

void Connection::answer(std::uint64_t exchange, Response response) {
  if (loop_->here()) {
    if (exchange != exchange_ || state_ != State::handling) return;  // the client is gone or was told 408
    if (in_handler_) {
      held_ = std::move(response);
      return;
    }
    return send(std::move(response));
  }
  if (loop_->over) return;
  asio::post(loop_->io, [self = shared_from_this(), exchange, response = std::move(response)]() mutable {
    self->answer(exchange, std::move(response));
  });
}

void Connection::send(Response response) {
  state_ = State::sending;
  if (!parser_->is_done()) keep_ = false, unread_ = true;
  if (response.close || loop_->stopping) keep_ = false;
  if (upload_then_) upload_fail(Errc::conflict, "the request was answered before its body had ended");
  const bool bodyless = response.status == 204 || response.status == 304;
  const std::uint64_t size = response.file ? response.file->size : response.body.size();
  lines_ = bodyless || head_only_ ? nullptr : response.lines;
  chunked_ = lines_ && http_1_1_;
  if (lines_ && !http_1_1_) keep_ = false;
  make_head(response, size);
  out_body_.clear();
  file_.reset();
  if (!bodyless && !head_only_ && !lines_) {
    if (response.file) file_.emplace(std::move(*response.file));
    else out_body_ = std::move(response.body);
  }
  sent_ = 0;
  write_more();
}

void Connection::make_head(const Response& response, std::uint64_t size) {
  out_head_.clear();
  fmt::format_to(std::back_inserter(out_head_), "HTTP/1.1 {} {}\r\n", response.status,
                 status_reason(response.status));
  out_head_.append(response.head());
  if (chunked_) {
    out_head_.append("Transfer-Encoding: chunked\r\n");
  } else if (!response.lines && response.status != 204 && response.status != 304) {
    fmt::format_to(std::back_inserter(out_head_), "Content-Length: {}\r\n", size);
  }
  out_head_.append(loop_->date_line());
  if (!keep_) out_head_.append("Connection: close\r\n");
  else if (!http_1_1_) out_head_.append("Connection: keep-alive\r\n");
  out_head_.append("\r\n");
}

template <class Next>
void Connection::when_writable(Next next) {
  set_deadline(loop_->config.write_ms_max);
  socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this(), next](const error_code& ec) {
    if (self->state_ != State::sending) return;
    if (ec) return self->close_now();
    ((*self).*next)();
  });
}

// Writes what the socket takes at once (nearly always all of it), waits for room with the rest.
void Connection::write_more() {
  while (sent_ < out_head_.size() + out_body_.size()) {
    std::array<iovec, 2> parts{};
    std::size_t count = 0;
    if (sent_ < out_head_.size()) parts[count++] = {out_head_.data() + sent_, out_head_.size() - sent_};
    const std::size_t into = sent_ > out_head_.size() ? sent_ - out_head_.size() : 0;
    if (into < out_body_.size()) parts[count++] = {out_body_.data() + into, out_body_.size() - into};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const auto n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | (file_ ? MSG_MORE : 0));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return when_writable(&Connection::write_more);
    if (n < 0) return close_now();
    sent_ += static_cast<std::size_t>(n);
  }
  if (file_) return send_file();
  if (lines_) return ask_lines();
  finished();
}

// A file goes out in pieces, so that one download does not keep the thread from the other connections.
void Connection::send_file() {
  while (file_->size > 0) {
    auto offset = static_cast<off_t>(file_->offset);
    const auto n = ::sendfile(socket_.native_handle(), file_->fd(), &offset,
                              std::min<std::uint64_t>(file_->size, piece_bytes));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return when_writable(&Connection::send_file);
    if (n <= 0) return close_now();  // unreadable, or shorter than was promised: the client sees a cut
    file_->offset += static_cast<std::uint64_t>(n);
    file_->size -= static_cast<std::uint64_t>(n);
    if (file_->size > 0) return when_writable(&Connection::send_file);
  }
  file_.reset();
  finished();
}

void Connection::ask_lines() {
  out_head_.clear();
  out_body_.clear();
  sent_ = 0;
  no_deadline();
  if (loop_->stopping) {
    lines_->gone();
    return on_lines(exchange_, {}, true);
  }
  read_more();  // to see the client go
  lines_->next([self = weak_from_this(), loop = loop_, exchange = exchange_](std::string lines, bool end) {
    if (loop->over) return;
    asio::post(loop->io, [self, exchange, lines = std::move(lines), end]() mutable {
      if (const auto connection = self.lock()) connection->on_lines(exchange, std::move(lines), end);
    });
  });
}

void Connection::on_lines(std::uint64_t exchange, std::string lines, bool end) {
  if (exchange != exchange_ || state_ != State::sending || !lines_) return;
  if (chunked_ && !lines.empty()) {
    out_head_ = fmt::format("{:x}\r\n", lines.size());
    lines.append("\r\n");
  }
  out_body_ = std::move(lines);
  if (end) {
    lines_ = nullptr;
    if (chunked_) out_body_.append("0\r\n\r\n");
  }
  sent_ = 0;
  write_more();
}

void Connection::finished() {
  ++exchange_;
  if (!keep_) {
    if (!unread_ && begin_ == end_) return close_now();
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    state_ = State::lingering;
    set_deadline(loop_->config.linger_ms_max);
    return read_more();
  }
  parser_.emplace(loop_->config);
  upload_error_.reset();
  continue_due_ = false;
  state_ = State::head;
  set_deadline(loop_->config.idle_ms_max);
  process();
}

// --- uploads ---------------------------------------------------------------------------------------------

// 25 bytes into an empty socket buffer: when even these do not fit, the connection is no use.
void Connection::send_continue() {
  if (!std::exchange(continue_due_, false)) return;
  constexpr std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
  if (::send(socket_.native_handle(), text.data(), text.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(text.size()))
    close_now();
}

void Connection::upload_next(std::uint64_t exchange, Upload::Then then) {
  if (exchange != exchange_ || state_ != State::handling) {
    if (!upload_error_) upload_error_ = Error{Errc::unreachable, "the upload's connection has ended"};
    return then(*upload_error_);
  }
  CHECK(!upload_then_);  // one piece at a time
  upload_then_ = std::move(then);
  send_continue();
  if (state_ == State::handling) upload_pump();
}

void Connection::upload_pump() {
  while (state_ == State::handling && upload_then_) {
    if (upload_error_) return upload_deliver(*upload_error_);
    while (begin_ < end_ && !parser_->is_done() && parser_->body.size() < piece_bytes) {
      error_code ec;
      begin_ += put(ec);
      if (ec == http::error::need_more) break;
      if (ec) {
        std::string why;
        const int status = failure(ec, why);
        return upload_fail(status == 413 ? Errc::no_space : Errc::invalid, std::move(why));
      }
    }
    if (parser_->is_done() || parser_->body.size() >= piece_bytes)
      return upload_deliver(std::exchange(parser_->body, {}));
    make_room(buffer_bytes_body);
    error_code ec;
    const auto count = socket_.read_some(asio::buffer(input_.data() + end_, input_.size() - end_), ec);
    if (ec == asio::error::would_block) {
      if (!parser_->body.empty()) return upload_deliver(std::exchange(parser_->body, {}));
      set_deadline(loop_->config.body_ms_max);
      return read_more();
    }
    if (ec) return on_read(ec, 0);
    end_ += count;
  }
}

void Connection::upload_deliver(Result<std::string> piece) {
  no_deadline();
  const auto then = std::exchange(upload_then_, nullptr);
  then(std::move(piece));
}

void Connection::upload_fail(Errc code, std::string text) {
  keep_ = false;
  unread_ = true;
  if (!upload_error_) upload_error_ = Error{code, std::move(text)};
  if (upload_then_) upload_deliver(*upload_error_);
}

// --- time and ends ---------------------------------------------------------------------------------------

// The timer is left alone when it would fire too early: it looks at the deadline again then. So a request
// that is answered at once costs no timer at all.
void Connection::set_deadline(std::uint32_t ms) {
  deadline_ = Clock::now() + std::chrono::milliseconds(ms);
  if (deadline_ < armed_) arm();
}

void Connection::arm() {
  armed_ = deadline_;
  timer_.expires_at(armed_);
  timer_.async_wait([self = shared_from_this(), at = armed_](const error_code& ec) {
    if (ec || self->armed_ != at || self->state_ == State::closed) return;
    self->armed_ = Clock::time_point::max();
    if (self->deadline_ == Clock::time_point::max()) return;
    if (Clock::now() < self->deadline_) return self->arm();
    self->no_deadline();
    self->timed_out();
  });
}

void Connection::timed_out() {
  const auto& config = loop_->config;
  switch (state_) {
    case State::head:
      if (!parser_->got_some()) return close_now();
      ++loop_->counters->too_slow;
      return refuse(408, fmt::format("the request's head did not arrive within {} ms: send it in one go",
                                     config.head_ms_max));
    case State::body:
      ++loop_->counters->too_slow;
      return refuse(408, fmt::format("the request's body did not arrive within {} ms: send it faster",
                                     config.body_ms_max));
    case State::handling:
      ++loop_->counters->too_slow;
      return upload_fail(
          Errc::timed_out,
          fmt::format("no byte of the upload arrived for {} ms: send it again", config.body_ms_max));
    case State::sending:
    case State::lingering:
      return close_now();
    case State::closed:
      return;
  }
}

void Connection::stop_when_done() {
  keep_ = false;
  if (state_ == State::head && !parser_->got_some()) return close_now();
  if (state_ == State::sending && lines_ && sent_ == out_head_.size() + out_body_.size()) {
    lines_->gone();
    on_lines(exchange_, {}, true);
  }
}

void Connection::close_now() {
  if (state_ == State::closed) return;
  const auto self = shared_from_this();
  const bool in_lines = state_ == State::sending && lines_;
  state_ = State::closed;
  ++exchange_;
  loop_->connections.erase(this);
  if (loop_->last_gone && loop_->connections.empty()) loop_->last_gone();
  error_code ignored;
  timer_.cancel();
  socket_.close(ignored);
  file_.reset();
  if (in_lines) lines_->gone();
  lines_ = nullptr;
  if (upload_then_) upload_fail(Errc::unreachable, "the upload's connection was closed");
}

}  // namespace reprise::api
