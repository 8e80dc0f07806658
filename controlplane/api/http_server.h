// The HTTP/1.0 and 1.1 server. The only translation unit that knows Beast and Asio is its .cc.
//
// Promises:
// - Every limit has its own answer: 400 malformed, 408 too slow, 413 body, 414 target, 417 expectation,
//   431 headers, 501 transfer coding, 505 version; 503 with Retry-After when too many connections are open.
//   The words come from Handler::refuse. A refused request costs one bounded buffer and no call of handle().
// - Whole bodies are bounded (1 MiB unless the plan says otherwise); streamed ones come at the pace of their
//   reader; files and lines go out at the pace of the client.
// - A request is answered once, in order, on its connection; an upload that breaks off is told as an error.
// - stop() lets running requests end within the grace, tells line sources that it is over, then cuts.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "controlplane/api/http_message.h"
#include "events/result.h"

namespace reprise::api {

struct ServerConfig {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8700;  // 0: any free one
  int threads = 2;            // I/O threads
  std::uint32_t connections_max = 4096;
  std::uint32_t connections_a_source_max = 3072;  // of one address: others get in beside it
  std::uint32_t target_bytes_max = 8 * 1024;
  std::uint32_t head_bytes_max = 32 * 1024;  // request line and headers together
  std::uint32_t headers_max = 100;
  std::uint64_t body_bytes_max = 1024 * 1024;
  std::uint32_t idle_ms_max = 75'000;   // between requests
  std::uint32_t head_ms_max = 10'000;   // from a request's first byte to the end of its head
  std::uint32_t body_ms_max = 60'000;   // a whole body; a streamed one: without a single byte
  std::uint32_t write_ms_max = 60'000;  // without the client taking a single byte
  std::uint32_t linger_ms_max = 3'000;  // after a refusal, so that the client can read it
  std::uint64_t linger_bytes_max = 64 * 1024 * 1024;
};

struct ServerCounts {
  std::uint64_t accepted = 0;
  std::uint64_t open = 0;
  std::uint64_t busy = 0;      // turned away with 503
  std::uint64_t requests = 0;  // given to the handler
  std::uint64_t refused = 0;   // answered by refuse()
  std::uint64_t too_slow = 0;
};

class HttpServer {
 public:
  // Listens, then serves on threads of its own. `handler` must live until the server is destroyed.
  static Result<std::unique_ptr<HttpServer>> start(const ServerConfig& config, Handler& handler);

  virtual ~HttpServer() = default;  // stops without grace
  virtual std::uint16_t port() const = 0;
  virtual void stop(std::chrono::milliseconds grace) = 0;
  virtual ServerCounts counts() const = 0;
};

}  // namespace reprise::api
