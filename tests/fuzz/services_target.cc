// Requests of any kind, through the HTTP server and the api's frame into the handlers of every service, on a
// small busy cloud and with a good token: no crash and no broken invariant, no 5xx but "not implemented" and
// "not that version"; every answer has sane headers, is of bounded length, well-formed if it is JSON, and a
// refusal is one in the service's own format.
//
// Input: up to eight requests, each "METHOD TARGET", then headers, an empty line and the body; a line "%%%"
// between two. Of @server3, @volume, @project … stands the id in the cloud (small_cloud.h) there, of @new
// that in the answer before, of @token and @member_token a token.
#include <sodium.h>

#include <algorithm>
#include <boost/json.hpp>
#include <vector>

#include "controlplane/api/actor.h"
#include "controlplane/api/http_server.h"
#include "controlplane/api/service.h"
#include "controlplane/story/routes.h"
#include "tests/fuzz/http_ask.h"
#include "tests/fuzz/small_cloud.h"

using namespace reprise;
using namespace reprise::api;

namespace {

constexpr std::size_t requests_max = 8, answer_bytes_max = 4u << 20;

[[noreturn]] void found(const char* what, const std::string& request, const std::string& answer) {
  std::fprintf(stderr, "%s\n--- asked\n%s\n--- answered\n%.4000s\n", what, request.c_str(), answer.c_str());
  std::abort();
}

struct World {
  fuzz::SmallCloud cloud;
  std::unique_ptr<Keyring> keyring;
  PasswordPool passwords{1, 64, {.passes = 1, .memory_bytes = 8192}};
  RateLimit rate{{.per_second = 1e9, .burst = 1e9}};
  Metrics metrics;
  WorkerPool workers{1, 4096};
  Router router;
  std::unique_ptr<Api> api;
  std::unique_ptr<HttpServer> server;
  std::string token, member_token;

  World() {
    if (sodium_init() < 0 || !Keyring::create(cloud.folder("keyring"), cloud.cloud)) fuzz::fail("keyring");
    keyring = std::move(*Keyring::open(cloud.folder("keyring")));
    if (!keyring->add_project(cloud.project)) fuzz::fail("project's key");
    api = std::make_unique<Api>(Api::Parts{.router = &router,
                                           .backend = &cloud,
                                           .keyring = keyring.get(),
                                           .passwords = &passwords,
                                           .rate = &rate,
                                           .workers = &workers,
                                           .metrics = &metrics},
                                ApiConfig{.image_dir = cloud.folder("images"), .image_bytes_max = 1u << 20});
    register_all(*api);
    story::register_routes(*api);
    ServerConfig config;
    config.port = 0;
    config.threads = 1;
    config.linger_ms_max = 100;
    auto started = HttpServer::start(config, router);
    if (!started) fuzz::fail(started.error().text.c_str());
    server = std::move(*started);
    token = token_of(cloud.admin), member_token = token_of(cloud.member);
  }
  std::string token_of(UserId user) const {
    const auto now = static_cast<std::uint64_t>(wall_ms());
    return make_token(*keyring, {.user = user,
                                 .project = cloud.project,
                                 .issued_ms = now,
                                 .credentials = credentials_of(*cloud.view().find<User>(user)),
                                 .expires_ms = now + 10ull * 365 * 24 * 3'600'000,
                                 .audit = {0x70, user.lo}});
  }
};

// Made anew when its history has become long: what tells of all of it would take ever longer.
constexpr Seq seqs_max = 3000;
std::unique_ptr<World>& world() {
  static auto made = std::make_unique<World>();  // before it is held: what RocksDB holds goes after it
  return made;
}

bool visible(char c) { return c > ' ' && c < 0x7f; }

std::string_view cut(std::string_view& text, std::string_view mark) {
  const auto at = text.find(mark);
  const auto piece = text.substr(0, at);
  text.remove_prefix(at == text.npos ? text.size() : at + mark.size());
  return piece;
}

// What stands for "word" and a digit, if anything does.
std::string meaning(std::string_view word, std::size_t number, const std::string& made) {
  if (word == "new") return made;
  if (word == "token") return world()->token;
  if (word == "member_token") return world()->member_token;
  const auto& ids = world()->cloud.ids(word);
  return ids.empty() ? std::string() : ids[number % ids.size()];
}

std::string filled_in(std::string_view text, const std::string& made) {
  std::string out;
  while (!text.empty()) {
    out += cut(text, "@");
    std::size_t size = 0;
    while (size < text.size() && ((text[size] >= 'a' && text[size] <= 'z') || text[size] == '_')) ++size;
    const auto word = text.substr(0, size);
    const bool numbered = size < text.size() && text[size] >= '0' && text[size] <= '9';
    const auto means = meaning(word, numbered ? static_cast<std::size_t>(text[size] - '0') : 0, made);
    if (!means.empty()) text.remove_prefix(size + (numbered ? 1 : 0));
    out += means;
  }
  return out;
}

struct Asked {
  std::string bytes;
  bool head_only = false;
  std::vector<std::string>
      segments;  // of the path, as the server reads them; none: it may not know what is asked
};

Asked compose(std::string_view text, const std::string& made) {
  auto head = filled_in(cut(text, "\n\n"), made);
  const auto body = filled_in(text, made);
  std::erase(head, '\r');
  std::string_view rest = head;
  const auto line = cut(rest, "\n");
  Asked asked{.bytes = std::string(line) + " HTTP/1.1\r\nHost: cloud:8700\r\n"};
  asked.head_only = line.starts_with("HEAD ");
  const auto method = line.substr(0, line.find(' ')),
             path = line.substr(std::min(method.size() + 1, line.size()));
  Request target;
  if (parse_method(method) != Method::other && std::all_of(path.begin(), path.end(), visible) &&
      target.set_target(path))
    asked.segments = std::move(target.segments);
  bool has_token = false, has_length = false;
  while (!rest.empty()) {
    const auto field = cut(rest, "\n");
    const auto name = field.substr(0, field.find(':'));
    has_token = has_token || same_ignoring_case(name, "X-Auth-Token");
    has_length = has_length || same_ignoring_case(name, "Content-Length") ||
                 same_ignoring_case(name, "Transfer-Encoding");
    asked.bytes.append(field).append("\r\n");
  }
  if (!has_token) asked.bytes.append("X-Auth-Token: ").append(world()->token).append("\r\n");
  if (!has_length && !body.empty())
    asked.bytes.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  asked.bytes.append("\r\n").append(body);
  return asked;
}

struct Answer {
  int status = 0;
  std::string body;
  std::string type;
};

// The first answer of what came back, its head checked.
Answer read_answer(const Asked& asked, const std::string& bytes) {
  std::string_view rest = bytes;
  auto head = cut(rest, "\r\n\r\n");
  if (head == "HTTP/1.1 100 Continue") head = cut(rest, "\r\n\r\n");
  const auto line = cut(head, "\r\n");
  Answer answer;
  if (!line.starts_with("HTTP/1.1 ") || line.size() < 13) found("no status line", asked.bytes, bytes);
  answer.status = std::atoi(std::string(line.substr(9, 3)).c_str());
  std::size_t length = std::string::npos;
  bool chunked = false, has_id = false, has_date = false;
  while (!head.empty()) {
    auto value = cut(head, "\r\n");
    const auto name = cut(value, ": ");
    if (name.empty() || !std::all_of(name.begin(), name.end(), [](char c) {
          return c == '-' || std::isalnum(static_cast<unsigned char>(c));
        }))
      found("a header's name", asked.bytes, bytes);
    if (std::any_of(value.begin(), value.end(),
                    [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }))
      found("a header's value", asked.bytes, bytes);
    if (name == "Content-Length") length = std::stoul(std::string(value));
    if (name == "Content-Type") answer.type = value;
    chunked = chunked || name == "Transfer-Encoding";
    has_id = has_id || name == "x-openstack-request-id";
    has_date = has_date || name == "Date";
  }
  if (!has_id || !has_date) found("no request id, or no date", asked.bytes, bytes);
  const bool bodyless = answer.status == 204 || answer.status == 304;
  if (chunked == (length != std::string::npos) && !bodyless && !asked.head_only)
    found("its length is not told once", asked.bytes, bytes);
  if (asked.head_only || bodyless) return answer;
  if (!chunked && rest.size() < length) found("its body is cut off", asked.bytes, bytes);
  answer.body = chunked ? "" : rest.substr(0, length);
  return answer;
}

bool is_text(const boost::json::value& value, const char* name) {
  const auto* object = value.if_object();
  const auto* field = object ? object->if_contains(name) : nullptr;
  return field && field->is_string();
}

// A refusal as that service's clients read it (errors.h).
bool well_refused(const std::string& service, const Answer& answer, const boost::json::value& json) {
  if (service == "image")
    return json.is_null() ? answer.body.find(std::to_string(answer.status)) != std::string::npos
                          : is_text(json, "message");
  const auto* object = json.if_object();
  if (!object || object->size() != 1) return false;
  const auto& [key, inner] = *object->begin();
  if (service == "network")
    return key == "NeutronError" && is_text(inner, "message") && is_text(inner, "type") &&
           is_text(inner, "detail");
  if (!is_text(inner, "message") || inner.at("code").to_number<int>() != answer.status) return false;
  return service == "compute" || service == "volume" || (key == "error" && is_text(inner, "title"));
}

void check(const Asked& asked, const Answer& answer, const std::string& bytes) {
  if (answer.status >= 500 && answer.status != 501 && answer.status != 505)
    found("it fails", asked.bytes, bytes);
  if (answer.body.size() > answer_bytes_max) found("too long", asked.bytes, bytes);
  boost::json::value json;
  if (answer.type.starts_with("application/json") && !answer.body.empty()) {
    boost::json::error_code failed;
    json = boost::json::parse(answer.body, failed);
    if (failed) found("not JSON", asked.bytes, bytes);
  }
  // 414, 431: before it was read what is asked.
  const auto& segments = asked.segments;
  if (answer.status < 400 || answer.status == 414 || answer.status == 431 || asked.head_only ||
      segments.empty())
    return;
  const std::size_t first = segments.size() >= 2 && segments[0] == "at" ? 2 : 0;
  if (first < segments.size() && !well_refused(segments[first], answer, json))
    found("a refusal of another kind", asked.bytes, bytes);
}

// What @new stands for from now on.
std::string made_by(const Answer& answer) {
  std::string_view rest = answer.body;
  cut(rest, R"("id":")");
  return std::string(cut(rest, "\""));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (world()->cloud.status().head.seq > seqs_max) world() = std::make_unique<World>();
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::string made;
  for (std::size_t i = 0; i < requests_max && !rest.empty(); ++i) {
    const auto asked = compose(cut(rest, "\n%%%\n"), made);
    if (asked.bytes.size() > fuzz::request_bytes_max) break;
    const auto bytes = fuzz::ask(world()->server->port(), asked.bytes);
    if (bytes.empty()) continue;  // no whole request
    const auto answer = read_answer(asked, bytes);
    check(asked, answer, bytes);
    if (auto id = made_by(answer); !id.empty()) made = std::move(id);
  }
  if (const auto wrong = world()->cloud.back(); !wrong.empty()) found("the counters differ", wrong, "");
  return 0;
}
