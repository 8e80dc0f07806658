// What a handler sees of HTTP: requests, answers, and bodies that are too large for memory. No Beast,
// no Asio, no socket.
//
// Promises: a Request was checked before anyone sees it: its target is decoded, is valid UTF-8 without
// NUL, has no "." or ".." segment, and its headers are tokens and visible text (RFC 9110, RFC 3986), in valid
// UTF-8.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/result.h"

namespace reprise::api {

enum class Method : std::uint8_t { get, head, post, put, patch, del, options, other };
const char* method_name(Method method);
Method parse_method(std::string_view name);

// "Not Found" for 404; "Unknown" for what RFC 9110 does not know.
const char* status_reason(int status);

bool same_ignoring_case(std::string_view a, std::string_view b);

// A body that is taken piece by piece while it arrives. The client is held back until the next piece is
// asked for, so that memory holds one piece (about 256 KiB) of it.
class Upload {
 public:
  // Some bytes; nothing at the end; an error when it was cut off, came too slowly or is too large.
  using Then = std::function<void(Result<std::string>)>;

  virtual ~Upload() = default;
  // Asks for the next piece. `then` is called once, on the server's I/O thread, maybe before next()
  // returns. Only one may be asked for at a time; after the end or an error the same comes again.
  virtual void next(Then then) = 0;
  // What Content-Length said, if it was there.
  virtual std::optional<std::uint64_t> length() const = 0;
};

class Request {
 public:
  Method method = Method::other;
  std::string method_text;                                 // as sent
  std::string path;                                        // as sent, without the query
  std::vector<std::string> segments;                       // of the path, decoded, empty ones left out
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in order; a key may come twice
  std::string client;                                      // address:port
  std::string served_at;                                   // the same of ours: where the client reached this server
  bool http_1_1 = true;
  std::string body;                // whole, unless the plan said stream
  std::shared_ptr<Upload> upload;  // only then

  // The first header of that name (case does not matter); empty when there is none.
  std::string_view header(std::string_view name) const;
  bool has_header(std::string_view name) const;
  std::size_t header_count(std::string_view name) const;
  // The first value of that key.
  std::optional<std::string_view> query_value(std::string_view key) const;

  // Takes "/path?query", "http://host/path" or "*" apart; an error says what is wrong with it.
  Status set_target(std::string_view target);
  void add_header(std::string_view name, std::string_view value);

 private:
  struct Slot {
    std::uint32_t name, name_size, value, value_size;
  };
  std::string text_;  // all headers' bytes: offsets survive a move, views would not
  std::vector<Slot> headers_;
};

// Without the port.
inline std::string address_of(std::string_view client) { return std::string(client.substr(0, client.rfind(':'))); }

// Percent-decoding of one path segment or query part; nothing when it is malformed, not UTF-8, or holds
// a control character.
std::optional<std::string> decode_percent(std::string_view text, bool plus_is_space);

// A part of an open file. Owns the descriptor.
class FilePart {
 public:
  FilePart(int fd, std::uint64_t offset, std::uint64_t size) : fd_(fd), offset(offset), size(size) {}
  FilePart(FilePart&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), offset(other.offset), size(other.size) {}
  FilePart& operator=(FilePart&& other) noexcept;
  ~FilePart();
  int fd() const { return fd_; }

 private:
  int fd_;

 public:
  std::uint64_t offset;
  std::uint64_t size;
};

// An endless answer, made of lines. It is asked for more only when what it gave is with the kernel: a slow
// client holds its source back, and nothing piles up.
class LineSource {
 public:
  // `lines` are whole lines with their newline (none: the source is only saying that it is still there);
  // after `end` nothing follows. May be called from any thread, once per next().
  using Then = std::function<void(std::string lines, bool end)>;

  virtual ~LineSource() = default;
  virtual void next(Then then) = 0;
  // The client is gone or the server stops: the outstanding `then` need not be called any more. Called at
  // most once, on the I/O thread.
  virtual void gone() = 0;
};

class Response {
 public:
  int status = 200;
  std::string body;
  std::optional<FilePart> file;       // instead of body
  std::shared_ptr<LineSource> lines;  // instead of body
  bool close = false;                 // end the connection after it

  Response() = default;
  explicit Response(int status) : status(status) {}
  Response(int status, std::string_view type, std::string body);

  // Name and value must be fit for a header line: a value with a line break stops the process.
  Response& header(std::string_view name, std::string_view value);
  // Ready-made lines, each "Name: value\r\n".
  void add_head(std::string_view lines) { head_.append(lines); }
  // All headers so far, "Name: value\r\n" each.
  const std::string& head() const { return head_; }
  std::optional<std::string> header_value(std::string_view name) const;

 private:
  std::string head_;
};

// Where an answer goes. The server makes it; tests make their own.
class AnswerTarget {
 public:
  virtual ~AnswerTarget() = default;
  virtual void answer(std::uint64_t exchange, Response response) = 0;
};

// The duty to answer one request: exactly once, now or later, from any thread. One that is dropped without
// an answer says 500 by itself, so that no client waits for ever.
class Responder {
 public:
  Responder(std::shared_ptr<AnswerTarget> target, std::uint64_t exchange)
      : target_(std::move(target)), exchange_(exchange) {}
  Responder(Responder&& other) noexcept = default;
  Responder& operator=(Responder&& other) noexcept;
  ~Responder();

  // Goes with whichever answer comes.
  void header(std::string_view name, std::string_view value);
  void operator()(Response response);
  explicit operator bool() const { return target_ != nullptr; }

 private:
  std::shared_ptr<AnswerTarget> target_;
  std::uint64_t exchange_ = 0;
  std::string head_;
};

// How a request's body is to be taken.
struct BodyPlan {
  bool stream = false;
  std::uint64_t limit = 0;  // bytes; 0 means the server's own limit
};

// What answers. Both calls come on an I/O thread and must not block; what takes longer keeps the Responder
// and answers from elsewhere.
class Handler {
 public:
  virtual ~Handler() = default;
  // Called when the head is in and a body follows. An answer: no byte of the body is kept, and the connection ends.
  virtual std::optional<Response> before_body(const Request& /*head*/) { return std::nullopt; }
  // Called then.
  virtual BodyPlan plan(const Request& head) = 0;
  // Called when the body is in (or, if streamed, when it can be asked for).
  virtual void handle(Request request, Responder responder) = 0;
  // An answer to what never became a request: 400, 408, 413, 414, 417, 431, 501, 503, 505. `head` is what is
  // known of it, possibly nothing but an empty path.
  virtual Response refuse(const Request& head, int status, std::string text) = 0;
};

}  // namespace reprise::api
